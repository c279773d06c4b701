"""`evaluate.py`: frozen features, classifiers and segmenters on test films, and the difference of two methods."""
