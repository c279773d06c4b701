"""Which names of classes a mirror exchanges."""

from evax.data.sides import sided


def test_sides_are_whole_words_of_a_name():
    names = ["left lung", "lung_right", "Left", "cleft", "bright spot", "heart"]
    assert sided(names) == ["left lung", "lung_right", "Left"]
