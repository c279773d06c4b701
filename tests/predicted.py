"""A classifier of random numbers, and what the command for folders makes with it."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import evax
from evax.checkpoints.weights import export_weights
from evax.heads import AttentiveClassifier, LinearClassifier
from evax.predict.__main__ import main

CLASSES = ["Mass", "Nodule, small"]


def exported(folder: Path, *, is_attentive: bool = False) -> Path:
    """A classifier of random numbers for films of 32 pixels, as an export."""
    torch.manual_seed(0)
    backbone = evax.create_backbone("eva_x_tiny", image_size=32)
    head = AttentiveClassifier(192, 2) if is_attentive else LinearClassifier(192, 2)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    meta = {
        "architecture": {"name": "eva_x_tiny"},
        "preprocessing": {"mean": [0.5] * 3, "std": [0.2] * 3, "image_size": 32, "frame": 48, "fit": "pad"},
        "classes": CLASSES,
        "num_heads": 8 if is_attentive else None,
    }
    export_weights(backbone, folder / "classifier.safetensors", meta, head.state_dict())
    return folder / "classifier.safetensors"


def picture(seed: int, shape: tuple[int, int] = (80, 100)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)


def predict(*words: object) -> int:
    """The exit code of the command."""
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def tables(output: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    with (output / "quarantine.csv").open(newline="") as file:
        refused = {row["image"]: row["reason"] for row in csv.DictReader(file)}
    return pd.read_csv(output / "probabilities.csv"), pd.read_parquet(output / "embeddings.parquet"), refused
