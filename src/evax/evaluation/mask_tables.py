"""Counts of masks by film as a table, and two methods compared from such tables alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Int64, Shaped

from evax.evaluation.comparison import Comparison, Table, pairs
from evax.evaluation.metric import metric_of
from evax.evaluation.patient_draws import group_by_patient, resample
from evax.evaluation.predictions import ids_digest
from evax.evaluation.segmentation import dice, jaccard
from evax.evaluation.segmentation_card import Segmented
from evax.evaluation.segmentation_scores import per_patient

COUNTS = ("tp", "fp", "fn", "tn")


def write_mask_table(path: Path, films: Segmented, rows: Int[np.ndarray, "N"], classes: Sequence[str]) -> None:
    """A parquet table with a line for each film and class: counts, Dice, Jaccard (empty: NaN) and HD95 in pixels."""
    counts = films.counts.counts[:, 1:]
    num_films, num_classes = counts.shape[:2]
    table = pd.DataFrame(
        {
            "image_id": np.repeat(films.image_ids, num_classes),
            "patient_id": np.repeat(films.patient_ids, num_classes),
            "row": np.repeat(rows, num_classes),
            "class": np.tile(np.array(classes, dtype=object), num_films),
            **dict(zip(COUNTS, counts.reshape(-1, 4).T, strict=True)),
            "dice": dice(counts).ravel(),
            "jaccard": jaccard(counts).ravel(),
            "hd95": films.counts.hd95.ravel(),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path, index=False)


def read_mask_table(
    path: Path, classes: Sequence[str]
) -> tuple[Shaped[np.ndarray, "N"], Shaped[np.ndarray, "N"], Int64[np.ndarray, "N K 4"]]:
    """Image ids in ascending order, their patients, and the counts of some classes."""
    table = pd.read_parquet(path).sort_values("image_id", kind="stable")
    parts = [table[table["class"] == name] for name in classes]
    if missing := [name for name, part in zip(classes, parts, strict=True) if not len(part)]:
        raise ValueError(f"{path} has no class {missing[0]}")
    counts = np.stack([part[list(COUNTS)].to_numpy(np.int64) for part in parts], axis=1)
    return parts[0]["image_id"].to_numpy(), parts[0]["patient_id"].to_numpy(), counts


def compare_mask_tables(
    first: Table, second: Table, classes: Sequence[str], *, num_draws: int = 1000, seed: int = 0
) -> Comparison:
    """The comparison of two methods by their tables; refuses other films, other masks and unequal protocols."""
    if (first.protocol, first.recipe) != (second.protocol, second.recipe):
        settings = " and ".join(f"{each.name} is {each.protocol} {each.recipe}".rstrip() for each in (first, second))
        raise ValueError(f"{settings}: numbers of different protocols do not compare")
    ids, patient_ids, known = read_mask_table(first.paths[0], classes)
    counts: list[Int64[np.ndarray, "R N K 4"]] = []
    for method in (first, second):
        runs = []
        for path in method.paths:
            theirs, _, found = read_mask_table(path, classes)
            if not np.array_equal(theirs, ids):
                raise ValueError(f"{path} scored other films than {first.paths[0]}")
            if fault := other_truth(known, found, ids, classes):
                raise ValueError(f"{path} was scored on other masks than {first.paths[0]}: {fault}")
            runs.append(found)
        counts.append(np.stack(runs))
    names = (first.name, second.name)
    return compare_masks(counts[0], counts[1], ids, patient_ids, classes, names=names, num_draws=num_draws, seed=seed)


def other_truth(
    counts: Int64[np.ndarray, "N K 4"],
    others: Int64[np.ndarray, "N K 4"],
    image_ids: Shaped[np.ndarray, "N"],
    classes: Sequence[str],
) -> str | None:
    """Where the truth behind two tables differs first, in pixels, and what to compare instead; None where it agrees."""
    tp, _, fn, _ = range(len(COUNTS))
    sizes = [each.sum(-1) for each in (counts, others)]
    truths = [each[..., tp] + each[..., fn] for each in (counts, others)]
    for (one, other), what, fix in (
        (sizes, "pixels", "runs on packs of one size"),
        (truths, "true pixels", "runs of one data.masks.mask"),
    ):
        if differing := np.argwhere(one != other).tolist():
            film, name = differing[0]
            return (
                f"film {image_ids[film]} has {other[film, name]} {what} of {classes[name]} in place of "
                f"{one[film, name]}; compare {fix}"
            )
    return None


# Shapes: R, S runs, N films, K classes, P patients, D draws
def compare_masks(
    counts: Int64[np.ndarray, "R N K 4"],
    rival_counts: Int64[np.ndarray, "S N K 4"],
    image_ids: Shaped[np.ndarray, "N"],
    patient_ids: Shaped[np.ndarray, "N"],
    classes: Sequence[str],
    *,
    names: tuple[str, str] = ("first", "second"),
    num_draws: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Pooled Dice of two methods, each the mean over its runs, on the same resamples of patients."""
    patients = group_by_patient(patient_ids)
    tables = [
        np.stack([per_patient(films.astype(np.float64), patients) for films in each]) for each in (counts, rival_counts)
    ]

    def both(drawn: Float[np.ndarray, "P D"]) -> Float[np.ndarray, "D 2 K"]:
        return np.stack([dice(np.einsum("pd,rpkc->rdkc", drawn, table)).mean(0) for table in tables], axis=1)

    value, draws = resample(both, patients, num_draws=num_draws, seed=seed)
    return Comparison(
        name=names[0],
        rival=names[1],
        num_runs=(len(counts), len(rival_counts)),
        difference=metric_of(value[0] - value[1], draws[:, 0] - draws[:, 1], classes),
        scores=pairs(value, classes),
        delong={},
        p_holm={},
        test_ids_digest=ids_digest(image_ids),
        num_draws=num_draws,
        seed=seed,
    )
