"""`explain.py`: what a classifier looks at, scored on boxes, checked on the classifier, and drawn."""
