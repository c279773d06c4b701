"""`train.py`: plan a run, train it here or on a cluster, and do what follows."""
