import numpy as np
import pytest
import torch
from tiny import tiny_backbone, tiny_data

from evax.backbones import create_foreign
from evax.data.pixels import normalise
from evax.evaluation import readouts
from evax.evaluation.readouts import READOUTS, encode_rows, read


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return tiny_backbone(depth=8).eval()


@pytest.fixture
def films():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_every_readout_is_one_vector_a_film(backbone, films):
    widths = {name: values.shape for name, values in read(backbone, films).items()}
    assert widths == {"pooled": (2, 32), "last_block": (2, 64), "four_block_means": (2, 128), "four_blocks": (2, 256)}
    assert tuple(widths) == READOUTS


@torch.no_grad()
def test_readouts_are_statistics_of_patch_tokens(backbone, films):
    caught = []
    hooks = [
        backbone.blocks[block].register_forward_hook(lambda module, inputs, output: caught.append(output[:, 1:]))
        for block in (1, 3, 5, 7)
    ]
    pooled = backbone(normalise(films, backbone.pretrained_cfg["mean"], backbone.pretrained_cfg["std"]))
    for hook in hooks:
        hook.remove()
    means, deviations = [t.mean(1) for t in caught], [t.std(1) for t in caught]
    expected = {
        "pooled": pooled,
        "last_block": torch.cat([means[-1], deviations[-1]], 1),
        "four_block_means": torch.cat(means, 1),
        "four_blocks": torch.cat([*means, *deviations], 1),
    }
    for name, values in read(backbone, films).items():
        assert torch.allclose(values, expected[name], atol=1e-5), name


def test_a_film_and_its_mirror_image_have_one_vector(backbone, pack_folder, monkeypatch):
    data = tiny_data(pack_folder)
    rows = data.rows("val")[:3]
    values = encode_rows(backbone, ["pooled"], data, rows)["pooled"]
    monkeypatch.setattr(readouts, "read", lambda model, images: read(model, images.flip(-1)))
    np.testing.assert_allclose(encode_rows(backbone, ["pooled"], data, rows)["pooled"], values, atol=1e-5)


def test_vectors_follow_the_rows_and_names(backbone, pack_folder):
    data = tiny_data(pack_folder)
    rows = data.rows("train")[:6]
    several = encode_rows(backbone, ["pooled", "last_block"], data, rows)
    alone = encode_rows(backbone, ["last_block"], data, rows[4:5])
    np.testing.assert_allclose(several["last_block"][4:5], alone["last_block"], atol=1e-5)


def test_the_callers_autocast_changes_nothing(backbone, pack_folder):
    data = tiny_data(pack_folder)
    rows = data.rows("train")[:6]
    exact = encode_rows(backbone, READOUTS, data, rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = encode_rows(backbone, READOUTS, data, rows)
    for name in READOUTS:
        np.testing.assert_array_equal(again[name], exact[name])


def test_a_cnn_is_read_by_its_pooled_features_only(pack_folder):
    cnn = create_foreign("resnet50", model_kwargs={"layers": (1, 1, 1, 1), "channels": (8, 8, 8, 8)}).eval()
    data = tiny_data(pack_folder)
    rows = data.rows("val")[:2]
    assert encode_rows(cnn, ["pooled"], data, rows)["pooled"].shape == (2, 32)
    with pytest.raises(ValueError, match=r"ResNet has no blocks; set readouts=\[pooled\]"):
        encode_rows(cnn, READOUTS, data, rows)
