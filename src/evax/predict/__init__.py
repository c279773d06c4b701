"""Trained models in use: `evax.load_classifier`, `evax.load_segmenter`, and `python -m evax.predict` for folders."""
