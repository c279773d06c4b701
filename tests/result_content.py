"""A sound results file, to be changed by tests."""

from typing import Any


def content(name: str, macro: float, **changes: Any) -> dict[str, Any]:
    """The fields of one results file."""
    interval = {"value": macro, "low": macro - 0.05, "high": macro + 0.05}
    return {
        "name": name,
        "method": f"method {name}",
        "data": "nih_cxr14_sample",
        "protocol": "clean",
        "recipe": "",
        "findings": ["Mass", "Pneumonia"],
        "auroc_macro": interval,
        "auroc": {"Mass": interval, "Pneumonia": interval},
        "chosen": {"features": "mean", "strength": 0.01, "auroc_macro": 0.72},
        "trials": [{"features": "mean", "strength": 0.01, "auroc_macro": 0.72}],
        "num_train": 634,
        "num_test": 2140,
        "num_test_patients": 140,
        "num_draws": 1000,
        "seed": 3,
        "train_ids_digest": "a" * 64,
        "test_ids_digest": "b" * 64,
        "config_hash": "c" * 64,
        "commit": "d" * 40,
        "command": "python tools/probe.py a|b",
        "comparisons": [],
        "notes": ["tried: two poolings"],
        **changes,
    }
