"""What to do about films of different patients that look alike."""

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int, UInt64

from evax.data.likeness import look_alikes
from evax.data.links import families
from evax.data.pack import Pack

NearDuplicates = Literal["report", "exclude"]
KINDS = ("patient", "file", "pixel")


def check_near_duplicates(policy: str) -> None:
    """Raise ValueError for an unknown policy."""
    if policy not in get_args(NearDuplicates):
        raise ValueError(f"data.near_duplicates={policy} is unknown; use {' or '.join(get_args(NearDuplicates))}")


def keys_of(packs: Iterable[Pack]) -> dict[str, UInt64[np.ndarray, "N"]]:
    """Keys of the rows of several packs, one after another, by kind."""
    packs = tuple(packs)
    return {kind: np.concatenate([pack.keys(kind) for pack in packs]) for kind in KINDS}


def look_alikes_of(*packs: Pack) -> Int[np.ndarray, "P 2"]:
    """Pairs of rows, counted over all packs, of different patients whose films look alike."""
    coarse, fine = (np.concatenate([pack.column(name) for pack in packs]) for name in ("coarse", "fine"))
    return look_alikes(keys_of(packs), coarse, fine)


def families_of_look_alikes(*packs: Pack) -> Int[np.ndarray, "N"]:
    """The family of each row of all packs, in which films that look alike count as equal."""
    return families(keys_of(packs), look_alikes_of(*packs))
