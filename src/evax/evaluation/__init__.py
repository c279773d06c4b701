"""Scores of models: AUROC with patient-bootstrap intervals, frozen probes, feature rank, and floors."""
