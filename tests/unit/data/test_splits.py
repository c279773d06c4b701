import numpy as np
import pytest

from evax.data.film import Film
from evax.data.sources.cxr14_tables import SALT
from evax.data.splits import draw_families_together, patient_draw


def test_draws_are_spread_evenly():
    draws = [patient_draw("salt", str(patient)) for patient in range(2000)]
    assert all(0 <= draw < 1 for draw in draws)
    assert sum(draw < 0.13 for draw in draws) == pytest.approx(260, abs=50)


def test_salts_are_independent():
    assert patient_draw("a", "1") != patient_draw("b", "1")


def test_draws_of_the_official_validation_split_never_change():
    draws = [patient_draw(SALT, patient) for patient in ("1", "2", "10", "30805")]
    assert draws == pytest.approx([0.351975, 0.794766, 0.56839, 0.940778], abs=1e-6)


def test_a_family_has_the_split_of_its_first_patient_in_drawn_schemes_only():
    splits = [("train", "val"), ("val", "train"), ("val", "val"), ("test", "train"), ("", "val")]
    films = [Film("", "badce"[row], (), {"drawn": a, "listed": b}) for row, (a, b) in enumerate(splits)]
    united = draw_families_together(films, np.array([0, 0, 1, 0, 0]), {"drawn": ("train", "val")})
    assert [film.splits["drawn"] for film in united] == ["val", "val", "val", "test", ""]
    assert [film.splits["listed"] for film in united] == [b for _, b in splits]
    assert [film.splits["drawn"] for film in films] == [a for a, _ in splits]
