"""Which names of classes a mirror exchanges."""

import pytest

from evax.data.checks import check_mirror
from evax.data.sides import sided

WORDS = ("left lung", "lung_right", "Left", "RIGHT", "left_lung", "clavicle-left", "LeftLung", "leftLung", "leftlung")
SHORT = ("left1", "Lung_R", "lung L", "RLung", "rt lung", "LUL")
OTHERS = ("cleft", "bright spot", "heart", "lung", "upright", "rib", "lesion_large", "Pleural_Effusion")
LETTERS = ("L1", "vertebra_L1", "T12_L1", "R")


def test_sides_are_whole_words_of_a_name():
    names = ["left lung", "lung_right", "Left", "cleft", "bright spot", "heart"]
    assert sided(names) == ["left lung", "lung_right", "Left"]


@pytest.mark.parametrize("name", [*WORDS, *SHORT])
def test_sides_are_told_in_full_and_in_short(name):
    assert sided(["heart", name]) == [name]


def test_other_words_are_no_sides():
    assert sided([*OTHERS, *LETTERS]) == []


def test_training_mirrors_no_sides():
    check_mirror(0.0, ["left"])
    check_mirror(0.5, ["lung"])
    with pytest.raises(ValueError, match=r"^data\.crop\.flip=0\.5: a mirror makes another side of left; set .*flip=0$"):
        check_mirror(0.5, ["lung", "left"])
