import numpy as np
import pytest
import torch
from tiny import tiny_backbone

from evax.data.pixels import normalise, to_unit
from evax.evaluation.features import extract_features, pooled

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return tiny_backbone().eval()


@pytest.fixture(scope="module")
def films():
    return torch.randint(0, 256, (5, 1, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def inputs_of(backbone, films):
    return normalise(to_unit(films), backbone.pretrained_cfg["mean"], backbone.pretrained_cfg["std"])


def test_features_come_in_the_order_of_pack_rows(films):
    batches = [{"image": films[[3, 0]], "row": torch.tensor([9, 2])}, {"image": films[[1]], "row": torch.tensor([4])}]
    features = extract_features(lambda images: images.mean((2, 3)), batches, CPU, num_images=3)
    assert features.rows.tolist() == [2, 4, 9]
    expected = films[[0, 1, 3]].float().mean((1, 2, 3)) / 255
    assert features.values[:, 0] == pytest.approx(expected.numpy(), abs=1e-5)
    assert features.values.dtype == np.float32


def test_batching_changes_nothing(backbone, films):
    whole = extract_features(pooled(backbone), [{"image": films, "row": torch.arange(5)}], CPU, num_images=5)
    parts = [{"image": films[i : i + 1], "row": torch.tensor([i])} for i in range(5)]
    assert extract_features(pooled(backbone), parts, CPU, num_images=5).values == pytest.approx(whole.values, abs=1e-5)


@torch.no_grad()
def test_pooled_is_the_backbones_output_of_normalised_images(backbone, films):
    assert torch.allclose(pooled(backbone)(to_unit(films)), backbone(inputs_of(backbone, films)))
