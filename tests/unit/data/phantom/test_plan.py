import cv2
import numpy as np
import pytest

from evax.data.findings import CXR14
from evax.data.phantom.plan import FINDINGS, MARGIN, PREVALENCE, draw_plan


@pytest.fixture(scope="module")
def plans():
    return [draw_plan(seed=11, index=index, films_per_patient=2) for index in range(1000)]


@pytest.fixture(scope="module")
def labels(plans):
    return np.array([plan.labels for plan in plans])


def correlations(table):
    return np.corrcoef(table, rowvar=False) - np.eye(table.shape[1])


def test_findings_follow_the_order_of_cxr14():
    assert FINDINGS == (
        "Atelectasis", "Infiltration", "Mass", "Nodule",
        "Pneumothorax", "Consolidation", "Emphysema", "Fibrosis",
    )  # fmt: skip
    assert sorted(FINDINGS, key=CXR14.index) == list(FINDINGS)


def test_a_plan_is_a_function_of_seed_and_index():
    assert draw_plan(3, 17, 2) == draw_plan(3, 17, 2)


@pytest.mark.parametrize("other", [draw_plan(4, 17, 2), draw_plan(3, 18, 2)])
def test_another_seed_or_index_is_another_plan(other):
    assert other.exposure != draw_plan(3, 17, 2).exposure


def test_films_of_a_patient_share_the_anatomy_and_not_the_exposure(plans):
    first, second, next_patient = plans[4:7]
    assert first.anatomy == second.anatomy
    assert first.exposure != second.exposure
    assert second.anatomy != next_patient.anatomy


def test_every_finding_has_the_same_prevalence(labels):
    assert np.abs(labels.mean(axis=0) - PREVALENCE).max() < 0.05


def test_findings_are_independent_of_each_other(labels):
    assert np.abs(correlations(labels)).max() < 0.12


def test_findings_are_independent_of_patient_and_exposure(plans, labels):
    covariates = np.array(
        [
            (
                p.exposure.view == "AP",
                p.anatomy.sex == "F",
                p.anatomy.age,
                p.exposure.gain,
                p.anatomy.heart_width,
            )
            for p in plans
        ],
        dtype=float,
    )
    both = correlations(np.hstack([labels, covariates]))
    assert np.abs(both[: len(FINDINGS), len(FINDINGS) :]).max() < 0.12


def test_lesions_lie_in_a_lung_away_from_its_border(plans):
    for plan in plans[:100]:
        contours = [outline.astype(np.float32) for outline in plan.lungs()]
        for lesion in plan.lesions:
            depth = max(cv2.pointPolygonTest(contour, (lesion.x, lesion.y), True) for contour in contours)
            assert depth > MARGIN


@pytest.mark.parametrize("finding", FINDINGS)
def test_no_finding_has_a_place_of_its_own(plans, finding):
    places = np.array([(le.x, le.y) for plan in plans for le in plan.lesions if le.finding == finding])
    everywhere = np.array([(le.x, le.y) for plan in plans for le in plan.lesions])
    error = everywhere.std(axis=0) / np.sqrt(len(places))
    assert (np.abs(places.mean(axis=0) - everywhere.mean(axis=0)) < 4 * error).all()
