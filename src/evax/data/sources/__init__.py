"""Public data sets in their official download layouts, as films."""
