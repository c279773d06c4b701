"""Fine-tuned files in EVA-X's layout, evaluated without training, against independent code."""

from argparse import Namespace

import numpy as np
import pytest
import torch
from parity.eva02_reference import eva02
from parity.official_files import OFFICIAL, official_state
from PIL import Image
from torchvision.transforms import v2

import evax
from evax.data.findings import CXR14

MEAN, STD = 0.49185243, 0.28509309
NUM_CLASSES = 14


def finetuned(name: str) -> dict[str, torch.Tensor]:
    """The `model` of a published file: `fc_norm` in place of `norm`, no mask token, a head."""
    state = official_state(OFFICIAL[name])
    dropped = ("mask_token", "lm_head.")
    state = {n.replace("norm.", "fc_norm.") if n.startswith("norm.") else n: t for n, t in state.items()}
    state = {n: t for n, t in state.items() if not n.startswith(dropped)}
    generator = torch.Generator().manual_seed(3)
    width = OFFICIAL[name].width
    head = {"head.weight": (NUM_CLASSES, width), "head.bias": (NUM_CLASSES,)}
    return state | {n: torch.randn(shape, generator=generator) * 0.1 for n, shape in head.items()}


@pytest.fixture(scope="module", params=["eva_x_tiny", "eva_x_base"])
def published(request, tmp_path_factory):
    """Name, state and file of a fine-tuned size, with what the published code saves beside it."""
    state = finetuned(request.param)
    path = tmp_path_factory.mktemp("published") / f"{request.param}_cxr14_ft.pth"
    content = {"model": state, "optimizer": {"state": {}}, "epoch": 29, "scaler": {}, "args": Namespace(nb_classes=14)}
    torch.save(content, path)
    return request.param, state, path


def films() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 255, (2, 20, 20), dtype=np.uint8)
    return [np.asarray(Image.fromarray(each).resize((512, 512), Image.Resampling.BICUBIC)) for each in coarse]


def as_published(film: np.ndarray) -> torch.Tensor:
    steps = [v2.Resize(256, v2.InterpolationMode.BICUBIC), v2.CenterCrop(224), v2.ToImage()]
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize([MEAN] * 3, [STD] * 3)]
    return v2.Compose(steps)(Image.fromarray(film).convert("RGB"))


@torch.no_grad()
def test_logits_equal_an_independent_computation(published):
    name, state, path = published
    classifier = evax.load_classifier(path)
    assert classifier.classes == CXR14
    reference = {n.replace("fc_norm.", "norm."): t for n, t in state.items()}
    images = torch.stack([as_published(film) for film in films()])
    pooled = eva02(reference, images, OFFICIAL[name].heads).pooled
    expected = pooled @ state["head.weight"].T + state["head.bias"]
    ours = torch.stack([classifier.preprocess(film) for film in films()])
    assert (ours - images).abs().max() < 1e-6
    assert (classifier(ours) - expected).abs().max() < 1e-5
    assert (classifier.probabilities(ours) - expected.sigmoid()).abs().max() < 1e-5
    assert (expected[0] - expected[1]).abs().max() > 0.1  # the films, and so the comparison, mean something
