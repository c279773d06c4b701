from types import SimpleNamespace

import pytest
import torch
from explained import classes, images, toy
from torch import nn

from evax.explain import METHODS, Explainable
from evax.explain.occlusion import occlusion
from evax.heads import LinearClassifier


class Spot(nn.Module):
    """A "ViT" of one feature: what one region of the film holds."""

    num_features, blocks = 1, (nn.ModuleDict({"norm1": nn.Identity()}),)

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))
        self.patch_embed = SimpleNamespace(dynamic_feat_size=lambda size: (size[0] // 8, size[1] // 8))

    def forward(self, films):
        return self.one * films[:, 0, 24:32, 32:40].abs().sum((1, 2))[:, None]


@pytest.fixture(scope="module")
def spot():
    model = nn.Module()
    model.backbone, model.head = Spot(), LinearClassifier(1, 1)
    nn.init.ones_(model.head.projection.weight)
    return Explainable(model)


@pytest.mark.parametrize("window", [1, 2, 3])
def test_occlusion_finds_the_only_region_that_is_looked_at(spot, window):
    maps = occlusion(spot, images(3), torch.zeros(3, dtype=torch.long), window=window)
    assert maps.shape == (3, 8, 8)
    peaks = maps.flatten(1).argmax(1)
    assert peaks.tolist() == [3 * 8 + 4] * 3
    far = torch.ones(8, 8, dtype=torch.bool)
    far[max(0, 4 - window) : 3 + window, max(0, 5 - window) : 4 + window] = False
    assert (maps[:, far] == 0).all()


def test_a_cell_shows_the_fall_of_the_logit(spot):
    films = images(1)
    chosen = torch.zeros(1, dtype=torch.long)
    hidden = films.clone()
    hidden[..., 24:32, 32:40] = films.mean((2, 3), keepdim=True)
    fall = spot.logits(films) - spot.logits(hidden)
    torch.testing.assert_close(occlusion(spot, films, chosen, window=1)[0, 3, 4], fall[0, 0])


def test_a_place_that_speaks_against_the_class_is_no_evidence_for_it(spot):
    against = nn.Module()
    against.backbone, against.head = spot.backbone, LinearClassifier(1, 1)
    nn.init.constant_(against.head.projection.weight, -1)
    explainables = (spot, Explainable(against))
    of, other = (occlusion(each, images(1), torch.zeros(1, dtype=torch.long), window=1) for each in explainables)
    assert of[0, 3, 4] > 0
    assert (other == 0).all()


def test_cells_of_any_grid_cover_the_film(spot):
    maps = occlusion(spot, images(1), torch.zeros(1, dtype=torch.long), window=1, grid=(5, 7))
    assert maps.shape == (1, 5, 7)
    assert maps.argmax() == 2 * 7 + 3


def test_films_do_not_depend_on_their_batch():
    many = METHODS["occlusion"](toy(), images(3), classes(3))
    one = METHODS["occlusion"](toy(), images(3)[2:], classes(3)[2:])
    torch.testing.assert_close(many[2:], one, rtol=1e-4, atol=1e-4)


def test_a_window_larger_than_the_grid_is_named(spot):
    with pytest.raises(ValueError, match="window=9 cells of a 8 x 8 grid"):
        occlusion(spot, images(1), torch.zeros(1, dtype=torch.long), window=9)
