"""What every command knows of a run: its settings, parts, ranks, directory, weights, results, and whom it has seen."""
