"""What validation cannot score is said before the first step."""

from unittest.mock import Mock

import numpy as np
import pytest

from evax.commands.train.coverage import validation_coverage
from evax.data.labels import LabelPolicy
from evax.data.module import PackDataModule

FINDINGS = ("Mass", "Pneumonia", "Hernia")
POLICY = LabelPolicy()


def films(labels, *, select_on="val", policy=POLICY, masks=None):
    """What is asked of a data module: four images of four patients."""
    table = np.array(labels, np.int8)
    data = Mock(spec=PackDataModule, labels=policy, masks=masks, classes=FINDINGS, select_on=select_on)
    data.pack = Mock(findings=FINDINGS, labels=table, texts=lambda name, rows: [str(row) for row in rows])
    data.rows.return_value = np.arange(4)
    data.targets_of.side_effect = lambda rows: policy.targets(table[rows], FINDINGS, soft=False)
    return data


SOUND = [[1, 0, 1], [0, 1, 0], [1, 0, 1], [0, 1, 0]]
ONE_SIDED = [[1, 1, 0], [0, 1, 0], [1, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("labels", "settings", "expected"),
    [
        (SOUND, {}, ""),
        (
            ONE_SIDED,
            {},
            "over 1 of 3 findings; Pneumonia: no negative validation images; Hernia: no positive validation images",
        ),
        (ONE_SIDED, {"select_on": "test"}, "Pneumonia: no negative test images"),
        (ONE_SIDED, {"policy": None}, "over 1 of 3 findings; Pneumonia: no negative validation images"),
        ([[1, 0, -1], [0, 1, -1], [1, 0, -1], [0, 1, -1]], {}, "over 2 of 3 findings; Hernia: no known label"),
        (ONE_SIDED, {"masks": object()}, ""),
    ],
)
def test_findings_that_validation_cannot_score_are_named(labels, settings, expected):
    found = validation_coverage(films(labels, **settings))
    assert (expected in found) if expected else found == ""
