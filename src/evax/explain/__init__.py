"""Maps and pictures of what a model sees; takes any module, trains nothing."""
