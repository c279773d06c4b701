"""Scores of masks by the names of their conventions, each from sums over films: so is every resample of patients.

Published numbers of one task differ by convention alone. See docs/segmentation.md for the formulas and who uses which.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Shaped

from evax.evaluation.metric import Metric, metric_of
from evax.evaluation.patient_draws import Patients, Resampled, group_by_patient, resample
from evax.evaluation.segmentation import SetCounts, dice, jaccard, ratio

BACKGROUND = "background"
WITH_BACKGROUND = {"dice_with_background": "dice_pooled", "jaccard_with_background": "jaccard_pooled"}
SUMS = (  # of the quantities of films, in the order of `quantities`
    *("tp", "fp", "fn", "tn", "films", "dice", "jaccard", "positives", "positive_dice", "positive_jaccard"),
    *("hd95", "measured", "found", "hit", "left_empty"),
)
RATIOS = {  # a score is a sum over films divided by another
    "dice_per_image": ("dice", "films"),
    "jaccard_per_image": ("jaccard", "films"),
    "dice_positives": ("positive_dice", "positives"),
    "jaccard_positives": ("positive_jaccard", "positives"),
    "hd95_px": ("hd95", "measured"),
    "film_sensitivity": ("found", "positives"),
    "film_hit_rate": ("hit", "positives"),
}
SCORES = ("dice_pooled", "jaccard_pooled", *RATIOS, "film_specificity")


# Shapes: N films, C classes (the background first), Q quantities, P patients, D draws, M scores
def quantities(films: SetCounts) -> Float64[np.ndarray, "N C Q"]:
    """What each film adds to SUMS; a film without a class that is left without it has a Dice of 1."""
    tp, fp, fn, tn = np.moveaxis(films.counts.astype(np.float64), -1, 0)
    overlap, index = (np.nan_to_num(of(films.counts), nan=1.0) for of in (dice, jaccard))
    is_positive, is_predicted = tp + fn > 0, tp + fp > 0
    distance = np.concatenate([np.full((len(tp), 1), np.nan), films.hd95], axis=1)  # the background has none
    parts = (
        *(tp, fp, fn, tn, np.ones_like(tp), overlap, index),
        *(is_positive, overlap * is_positive, index * is_positive),
        *(np.nan_to_num(distance), ~np.isnan(distance)),
        *(is_positive & is_predicted, tp > 0, ~is_positive & ~is_predicted),
    )
    return np.stack([part.astype(np.float64) for part in parts], axis=-1)


def scores_of(sums: Float64[np.ndarray, "D C Q"]) -> Float64[np.ndarray, "D M C"]:
    """The SCORES of sums over films; NaN where none could be scored."""
    of = {name: sums[..., place] for place, name in enumerate(SUMS)}
    pixels = sums[..., :4]
    rows = [dice(pixels), jaccard(pixels), *(ratio(of[part], of[whole]) for part, whole in RATIOS.values())]
    return np.stack([*rows, ratio(of["left_empty"], of["films"] - of["positives"])], axis=1)


def resampled_scores(
    films: SetCounts, patient_ids: Shaped[np.ndarray, "N"], *, num_draws: int = 1000, seed: int = 0
) -> Resampled:
    """SCORES (M, C) of the films as they are, and of resamples of their patients."""
    patients = group_by_patient(patient_ids)
    table = per_patient(quantities(films), patients)

    def statistic(counts: Float[np.ndarray, "P D"]) -> Float[np.ndarray, "D M C"]:
        return scores_of(np.tensordot(counts.T, table, 1))

    return resample(statistic, patients, num_draws=num_draws, seed=seed)


def per_patient(films: Float64[np.ndarray, "N C Q"], patients: Patients) -> Float64[np.ndarray, "P C Q"]:
    """Sums over the films of each patient."""
    sums = np.zeros((len(patients.names), *films.shape[1:]))
    np.add.at(sums, patients.of_film, films)
    return sums


def metrics_of_masks(
    films: SetCounts, patient_ids: Shaped[np.ndarray, "N"], classes: Sequence[str], *, num_draws: int, seed: int
) -> dict[str, Metric]:
    """SCORES of the classes and their means; WITH_BACKGROUND has the background among the classes, as mmseg's do."""
    value, draws = resampled_scores(films, patient_ids, num_draws=num_draws, seed=seed)
    metrics = {name: metric_of(value[row, 1:], draws[:, row, 1:], classes) for row, name in enumerate(SCORES)}
    for name, plain in WITH_BACKGROUND.items():
        row = SCORES.index(plain)
        metrics[name] = metric_of(value[row], draws[:, row], (BACKGROUND, *classes))
    return metrics


def numbers_of_films(films: SetCounts, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many films each class's scores are of: positive, empty, and those where a distance could be measured.

    `missed` are positives left empty, `false_alarms` empty films that were not; neither has a distance.
    """
    of = dict(zip(SUMS, np.moveaxis(quantities(films)[:, 1:].sum(0).astype(int), -1, 0).tolist(), strict=True))
    return {
        name: {
            "films": of["films"][k],
            "positive": of["positives"][k],
            "empty": of["films"][k] - of["positives"][k],
            "measured": of["measured"][k],
            "missed": of["positives"][k] - of["found"][k],
            "false_alarms": of["films"][k] - of["positives"][k] - of["left_empty"][k],
        }
        for k, name in enumerate(classes)
    }
