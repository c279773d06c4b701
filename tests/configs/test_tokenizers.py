"""The tokenizers of `conf/tokenizer`: what each file says, what it builds, and what it says without weights."""

import pytest
import timm
import torch
from composing import composed
from teachers import teacher

from evax.checkpoints.published import PUBLISHED
from evax.config import instantiate
from evax.tokenizers import EvaXTokenizer

WIDTHS = {"mgca_vit_b": 768, "eva_clip_b": 512, "eva_clip_l": 768, "eva_clip_g": 1024, "biomedclip": 512}


def node(name, *overrides):
    return composed(f"tokenizer={name}", *overrides).tokenizer


@pytest.mark.parametrize("name", WIDTHS)
def test_without_weights_one_line_says_how_to_get_them(name):
    with pytest.raises(Exception, match=r"\w") as refusal:  # Hydra wraps it
        instantiate(node(name, "tokenizer.weights=null"))
    said = str(refusal.value.__cause__ or refusal.value)
    assert said.startswith("tokenizer.weights is not given; it should be ")
    assert f"`python -m evax.checkpoints fetch {name}`" in said
    assert "\n" not in said


@pytest.mark.parametrize("name", WIDTHS)
def test_it_gives_the_grid_of_224_pixels_and_the_published_width(name, tmp_path):
    config = node(name)
    settings = {"embed_dim": timm.create_model(config.model, device="meta").embed_dim, "depth": 1}
    settings |= {"num_heads": timm.create_model(config.model, device="meta").blocks[0].attn.num_heads}
    vit = teacher(config.model, num_classes=WIDTHS[name], **settings)
    torch.save({key: tensor.half() for key, tensor in vit.state_dict().items()}, tmp_path / "teacher.pt")
    config.weights = str(tmp_path / "teacher.pt")
    config.model_kwargs = {**config.model_kwargs, "depth": 1}
    tokenizer = instantiate(config)
    assert tokenizer.dim == WIDTHS[name]
    assert tokenizer(torch.rand(1, 3, 224, 224)).shape == (1, 196, WIDTHS[name])


@pytest.mark.parametrize("name", WIDTHS)
def test_its_facts_are_those_of_the_published_file(name):
    published, config = next(each for each in PUBLISHED if each.name == name), node(name)
    assert (config.model, config.image_size) == (published.backbone, published.image_size)
    assert (tuple(config.mean), tuple(config.std)) == tuple(published.normalisation)
    assert published.file in config.origin


def test_an_earlier_student_has_the_new_ones_size_by_default():
    config = node("eva_x", "backbone=eva_x_tiny", "image_size=160")
    assert (config.name, config.image_size) == ("eva_x_tiny", 160)
    assert config._target_.endswith(EvaXTokenizer.__name__)
