"""How a backbone wants its images normalised: `pretrained_cfg`, whoever built it."""

from typing import Any

from evax.data.normalisation import Normalisation


def normalisation_of(model: Any) -> Normalisation:
    """Mean and standard deviation of unit images, as the model's weights ask."""
    return Normalisation(tuple(model.pretrained_cfg["mean"]), tuple(model.pretrained_cfg["std"]))


def normalise_as(model: Any, normalisation: Normalisation) -> None:
    """Let the model be fed so; its other settings stay."""
    mean, std = normalisation
    model.pretrained_cfg = {**model.pretrained_cfg, "mean": tuple(mean), "std": tuple(std)}
