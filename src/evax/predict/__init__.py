"""Trained classifiers in use: `evax.load_classifier`, and `python -m evax.predict` for folders of films."""
