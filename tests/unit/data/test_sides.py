"""Which classes a mirror would exchange."""

import pytest

from evax.data.checks import check_mirror
from evax.data.sides import sided


@pytest.mark.parametrize(
    "name",
    [
        "left",
        "RIGHT",
        "left_lung",
        "clavicle-left",
        "LeftLung",
        "leftLung",
        "leftlung",
        "left1",
        "Lung_R",
        "lung L",
        "RLung",
        "rt lung",
        "LUL",
    ],
)
def test_sides_are_told_by_words(name):
    assert sided(["heart", name]) == [name]


def test_other_words_are_no_sides():
    assert (
        sided(
            ["lung", "heart", "upright", "L1", "vertebra_L1", "T12_L1", "R", "rib", "lesion_large", "Pleural_Effusion"]
        )
        == []
    )


def test_training_mirrors_no_sides():
    check_mirror(0.0, ["left"])
    check_mirror(0.5, ["lung"])
    with pytest.raises(ValueError, match=r"^data\.crop\.flip=0\.5: a mirror makes another side of left; set .*flip=0$"):
        check_mirror(0.5, ["lung", "left"])
