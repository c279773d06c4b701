"""The commands: `prepare.py`, `train.py`, `evaluate.py` and `explain.py`: from a configuration to results."""
