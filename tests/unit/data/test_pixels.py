import pytest
import torch

from evax.data.pixels import normalise, to_unit


def test_bytes_become_three_equal_channels_from_zero_to_one():
    unit = to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3))
    assert unit.dtype == torch.float32
    assert torch.allclose(unit, torch.tensor([0.0, 0.2, 1.0]).expand(1, 3, 1, 3))


def test_double_precision_divides_in_double():
    unit = to_unit(torch.full((1, 1, 1, 1), 51, dtype=torch.uint8), torch.float64)
    assert unit[0, 0].item() == pytest.approx(0.2, abs=1e-15)


def test_each_channel_has_its_own_statistics():
    images = torch.full((1, 3, 2, 2), 0.5)
    out = normalise(images, (0.5, 0.0, 0.25), (1.0, 0.5, 0.1))
    assert out.mean((0, 2, 3)).tolist() == pytest.approx([0.0, 1.0, 2.5])


def test_normalising_keeps_the_precision():
    assert normalise(torch.zeros(1, 3, 1, 1, dtype=torch.float64), (0.1,) * 3, (0.3,) * 3).dtype == torch.float64
