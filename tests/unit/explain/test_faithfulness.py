import pytest
import torch
from explained import classes, images, toy

from evax.explain import Explainable, deletion, insertion
from evax.explain.faithfulness import without


class Corner(Explainable):
    """The probability is the share of the top left quarter that is still white; films are 0 or 1."""

    def __init__(self) -> None:
        super().__init__(toy().backbone)

    def probabilities(self, films):
        return films[:, 0, :8, :8].mean((1, 2))[:, None]


@pytest.fixture(scope="module")
def films():
    white = torch.zeros(2, 3, 16, 16)
    white[..., :8, :8] = 1
    return white


@pytest.fixture(scope="module")
def first():
    return torch.zeros(2, dtype=torch.long)


def truth():
    maps = torch.zeros(2, 16, 16)
    maps[:, :8, :8] = 1
    return maps


def test_the_true_map_makes_the_probability_fall_at_once(films, first):
    curve = deletion(Corner(), films, first, truth(), steps=4)
    assert curve.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    torch.testing.assert_close(curve.probabilities[0], torch.tensor([1, 0.25, 0.25, 0.25, 0.25]))
    torch.testing.assert_close(curve.area, torch.full((2,), 0.25 * 0.625 + 0.75 * 0.25))


def test_the_opposite_map_keeps_it_until_the_end(films, first):
    curve = deletion(Corner(), films, first, 1 - truth(), steps=4)
    assert curve.probabilities[1].tolist() == [1, 1, 1, 1, 0.25]


def test_insertion_goes_the_other_way(films, first):
    right = insertion(Corner(), films, first, truth(), steps=4, baseline="mean")
    wrong = insertion(Corner(), films, first, 1 - truth(), steps=4, baseline="mean")
    assert right.probabilities[0].tolist() == [0.25, 1, 1, 1, 1]
    assert (right.area > wrong.area).all()


def test_curves_start_and_end_with_the_films_themselves():
    explainable, films, chosen = toy(), images(), classes()
    maps = torch.rand(2, 64, 64)
    explainable.backbone.eval()
    whole = explainable.probabilities(films).gather(1, chosen[:, None])[:, 0].detach()
    torch.testing.assert_close(deletion(explainable, films, chosen, maps, steps=2).probabilities[:, 0], whole)
    torch.testing.assert_close(insertion(explainable, films, chosen, maps, steps=2).probabilities[:, -1], whole)


def test_a_blurred_film_keeps_its_mean_and_loses_its_detail():
    films = images()
    blurred = without(films, "blur")
    assert blurred.std() < 0.3 * films.std()
    torch.testing.assert_close(blurred.mean(), films.mean(), atol=0.02, rtol=0)


def test_what_does_not_fit_is_named(films, first):
    with pytest.raises(ValueError, match="steps=0 must be above 0"):
        deletion(Corner(), films, first, truth(), steps=0)
