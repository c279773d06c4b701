"""A writer of metrics for tests that kill it."""

from pathlib import Path

from evax.callbacks.metrics_csv import MetricsCsv


def write_forever(folder: Path) -> None:
    """Train and val metrics of step after step; a new column every 50 steps."""
    table = MetricsCsv(folder)
    table.rewind(10**9)
    step = int(rows[-1]["step"]) + 1 if (rows := table.rows()) else 1
    while True:
        table.log_metrics({"train/loss": float(step), "train/lr": 0.5}, step)
        table.log_metrics({f"val/metric_{step // 50 % 20}": float(step)}, step)
        step += 1
