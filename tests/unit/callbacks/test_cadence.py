from inspect import unwrap
from types import SimpleNamespace

import pytest

from evax.callbacks import FeatureProbe, Pictures
from evax.callbacks.cadence import EveryFewEpochs


def due(every, validated_every, last):
    """Epochs, counted from 1, at whose validation the callback acts."""
    cadence = EveryFewEpochs(every, "callbacks.pictures.every_n_epochs")
    is_due = unwrap(EveryFewEpochs.is_due)  # the type checker of the test run would ask for a whole trainer
    epochs = range(validated_every, last + 1, validated_every)
    settings = {"check_val_every_n_epoch": validated_every, "max_epochs": last, "sanity_checking": False}
    return [epoch for epoch in epochs if is_due(cadence, SimpleNamespace(current_epoch=epoch - 1, **settings))]


@pytest.mark.parametrize(
    ("every", "validated_every", "last", "expected"),
    [
        (2, 1, 5, [2, 4, 5]),
        (1, 1, 3, [1, 2, 3]),
        (4, 3, 12, [6, 9, 12]),  # after epochs 4, 8 and 12, each at the next validation
        (2, 5, 10, [5, 10]),
    ],
)
def test_no_turn_is_lost_between_validations(every, validated_every, last, expected):
    assert due(every, validated_every, last) == expected


@pytest.mark.parametrize(("callback", "name"), [(Pictures, "pictures"), (FeatureProbe, "feature_probe")])
def test_never_is_said_otherwise(callback, name):
    with pytest.raises(ValueError, match=f"{name}.every_n_epochs=0 must be at least 1; ~callbacks.{name} turns"):
        callback(every_n_epochs=0)
