"""How images in [0, 1] are normalised before a network, per channel (RGB)."""

from typing import NamedTuple

Channels = tuple[float, float, float]


class Normalisation(NamedTuple):
    """Mean and standard deviation per channel."""

    mean: Channels
    std: Channels


MERGED520K = Normalisation((0.49185243,) * 3, (0.28509309,) * 3)  # EVA-X paper, section "Pre-training data"
CXR14 = Normalisation((0.5056,) * 3, (0.252,) * 3)  # Medical MAE, and EVA-X's baselines
HALF = Normalisation((0.5,) * 3, (0.5,) * 3)
UNIT = Normalisation((0.0,) * 3, (1.0,) * 3)  # images as they are
CLIP = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
RAD_DINO = Normalisation((0.5307,) * 3, (0.2583,) * 3)
SELFMEDMAE = Normalisation((0.5,) * 3, (0.225,) * 3)
TORCHXRAYVISION = Normalisation((0.5,) * 3, (1 / 2048,) * 3)  # grey values from -1024 to 1024
