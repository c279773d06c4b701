"""Names of files in a run directory."""

CHECKPOINTS, BEST, CONFIG = "checkpoints", "best.ckpt", "config.yaml"
METRICS = "metrics.csv"  # one row per optimizer step
