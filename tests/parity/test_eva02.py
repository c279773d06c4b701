"""EVA-X against an independent EVA-02 forward, from official-layout files, at three image sizes."""

from pathlib import Path

import pytest
import torch
from parity.eva02_reference import eva02
from parity.official_files import OFFICIAL, TARGET_WIDTH, official_state

from evax import create_backbone
from evax.checkpoints.weights import load_weights

NAMES = ("eva_x_tiny", "eva_x_base")  # one packed, one split with sub-LN
SIZES = (224, 480, (256, 192))
BRIEF = [("eva_x_base", 224), *(("eva_x_tiny", size) for size in SIZES)]
LONG = [pytest.param("eva_x_base", size, marks=pytest.mark.slow) for size in SIZES[1:]]
TOLERANCE = 1e-5
DIFFERENT = 1e-3


@pytest.fixture(scope="module", params=NAMES)
def official(request, tmp_path_factory):
    """Name, state dict and file of a size."""
    state = official_state(OFFICIAL[request.param])
    path = tmp_path_factory.mktemp("official") / f"{request.param}_patch16_merged520k_mim.pt"
    torch.save({"module": state}, path)
    return request.param, state, path


def evax_and_images(name: str, path: Path, image_size):
    model = create_backbone(name, image_size=image_size, mask_token=True).eval()
    load_weights(model, path)
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    images = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))
    num_patches = (height // 16) * (width // 16)
    is_masked = torch.rand(1, num_patches, generator=torch.Generator().manual_seed(2)) < 0.3
    return model, images, is_masked


def distance(a, b) -> float:
    return (a - b).abs().max().item()


@pytest.mark.parametrize(("official", "image_size"), [*BRIEF, *LONG], indirect=["official"])
@torch.no_grad()
def test_pooled_and_masked_tokens_equal_the_reference(official, image_size):
    name, state, path = official
    model, images, is_masked = evax_and_images(name, path, image_size)
    heads = OFFICIAL[name].heads
    assert distance(model(images), eva02(state, images, heads).pooled) < TOLERANCE
    tokens = model.forward_tokens(images, is_masked)
    assert distance(tokens, eva02(state, images, heads, is_masked=is_masked).tokens) < TOLERANCE


@pytest.mark.parametrize(("official", "image_size"), BRIEF, indirect=["official"])
@torch.no_grad()
def test_the_comparison_notices_another_rope_reference(official, image_size):
    name, state, path = official
    model, images, _ = evax_and_images(name, path, image_size)
    wrong = eva02(state, images, OFFICIAL[name].heads, rope_reference=16)
    assert distance(model(images), wrong.pooled) > DIFFERENT
    assert distance(model.forward_tokens(images), wrong.tokens) > DIFFERENT


@torch.no_grad()
def test_the_comparison_notices_swapped_gate_and_value(official):
    name, state, path = official
    model, images, _ = evax_and_images(name, path, 224)
    wrong = eva02(_with_swapped_gates(state), images, OFFICIAL[name].heads)
    assert distance(model(images), wrong.pooled) > DIFFERENT


def _with_swapped_gates(state):
    swapped = {n.replace("mlp.w1.", "mlp.w0."): t for n, t in state.items()}
    swapped = {n.replace("mlp.w2.", "mlp.w1.").replace("mlp.w0.", "mlp.w2."): t for n, t in swapped.items()}
    return {n: torch.cat(t.chunk(2)[::-1]) if "mlp.w12." in n else t for n, t in swapped.items()}


# EVA-X's published sizes: backbone with its final LayerNorm, no head, at 224, 480 and 512 pixels.
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("eva_x_tiny", {224: 5_525_184, 480: 5_660_352, 512: 5_684_160}),
        ("eva_x_small", {224: 21_667_200, 480: 21_937_536, 512: 21_985_152}),
        ("eva_x_base", {224: 85_850_880, 480: 86_391_552, 512: 86_486_784}),
    ],
)
def test_parameter_counts(name, counts):
    with torch.device("meta"):
        models = {size: create_backbone(name, image_size=size) for size in counts}
    assert {size: sum(p.numel() for p in model.parameters()) for size, model in models.items()} == counts


@pytest.mark.parametrize(
    ("name", "count"), [("eva_x_tiny", 5_673_600), ("eva_x_small", 21_963_264), ("eva_x_base", 86_442_240)]
)
def test_parameter_count_of_the_mim_model(name, count):
    with torch.device("meta"):
        backbone = create_backbone(name, mask_token=True)
        head = torch.nn.Linear(backbone.embed_dim, TARGET_WIDTH)
    assert sum(p.numel() for part in (backbone, head) for p in part.parameters()) == count
