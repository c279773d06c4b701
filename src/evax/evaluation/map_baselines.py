"""Maps that know no network, made of films and boxes: what the scores of a method have to be read beside."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8


def brightness_map(film: UInt8[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """The film itself."""
    return stretched(film.astype(np.float32))


def usual_places(
    regions: Sequence[Bool[np.ndarray, "H W"]],
    findings: Shaped[np.ndarray, "M"],
    patient_ids: Shaped[np.ndarray, "M"],
) -> Iterator[Float32[np.ndarray, "H W"]]:
    """For each region the share of regions of its finding, on films of other patients, that hold each pixel.

    0 everywhere where no other patient has the finding.
    """
    names = {str(name) for name in findings}
    totals = {name: np.sum([regions[i] for i in np.flatnonzero(findings == name).tolist()], axis=0) for name in names}
    for finding, patient in zip(findings, patient_ids, strict=True):
        own = np.flatnonzero((findings == finding) & (patient_ids == patient)).tolist()
        others = totals[str(finding)] - np.sum([regions[i] for i in own], axis=0)
        yield stretched(others.astype(np.float32))


def stretched(heat: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """From 0 at the lowest to 1 at the highest pixel; 0 everywhere where all are equal."""
    low, high = heat.min(), heat.max()
    return (heat - low) / (high - low) if high > low else np.zeros_like(heat)
