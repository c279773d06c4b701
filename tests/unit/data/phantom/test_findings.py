import numpy as np
import pytest

from evax.data.phantom.findings import lesion_bits, lesion_boxes, lesion_mask, lung_mask
from evax.data.phantom.plan import FINDINGS, draw_plan

SIZE = 160


@pytest.fixture(scope="module")
def plans():
    return [draw_plan(seed=2, index=index) for index in range(60)]


def test_the_right_lung_is_left_in_the_image(plans):
    for plan in plans[:10]:
        mask = lung_mask(plan, SIZE)
        right, left = (np.nonzero(mask == value)[1].mean() for value in (1, 2))
        assert right < SIZE / 2 < left


def test_lungs_have_a_plausible_share_of_the_film(plans):
    shares = [(lung_mask(plan, SIZE) == side).mean() for plan in plans for side in (1, 2)]
    assert min(shares) > 0.07
    assert max(shares) < 0.2


def test_lesions_stay_within_the_lungs(plans):
    for plan in plans:
        lungs = lung_mask(plan, SIZE)
        assert not lesion_bits(plan, lungs)[lungs == 0].any()


def test_a_lesion_covers_its_own_centre(plans):
    for plan in plans:
        lungs = lung_mask(plan, SIZE)
        for lesion in plan.lesions:
            assert lesion_mask(lesion, lungs)[int(lesion.y * SIZE), int(lesion.x * SIZE)]


def test_labels_are_the_bits_of_the_mask(plans):
    for plan in plans:
        bits = np.bitwise_or.reduce(lesion_bits(plan, lung_mask(plan, SIZE)), axis=None)
        assert plan.labels == tuple(int(bits >> k & 1) for k in range(len(FINDINGS)))


def test_boxes_are_tight_around_the_bits(plans):
    for plan in plans:
        bits = lesion_bits(plan, lung_mask(plan, SIZE))
        for box in lesion_boxes(plan, SIZE):
            rows, columns = np.nonzero(bits >> FINDINGS.index(box.finding) & 1)
            edges = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
            np.testing.assert_allclose(box[1:], np.array(edges) / SIZE)


def test_boxes_scale_with_the_film(plans):
    for plan in plans[:20]:
        for small, large in zip(lesion_boxes(plan, 128), lesion_boxes(plan, 512), strict=True):
            np.testing.assert_allclose(small[1:], large[1:], atol=2.5 / 128)
