"""Who and what is the same in any pack: 64-bit keys of patients and films, and the families that they make.

Keys are the first 8 bytes of a sha256: two different things among a million have one key with probability 3e-8, and
then one patient too many is kept out. 0 stands for nothing, such as the file of a film that has none.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int, UInt64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def qualified(patient: str, source: str) -> str:
    """A patient id that means the same in every pack ("cxr14:150").

    A source that re-publishes films of another set qualifies its patient ids itself.
    """
    return patient if ":" in patient else f"{source}:{patient}"


def patient_key(patient: str, source: str) -> int:
    """The key of a patient in every pack."""
    return digest_key(hashlib.sha256(qualified(patient, source).encode()).hexdigest())


def digest_key(sha256: str) -> int:
    """The key of a hexadecimal digest; 0 of an empty one."""
    return int(sha256[:16] or "0", 16)


def families(
    keys: Mapping[str, UInt64[np.ndarray, "N"]], pairs: Int[np.ndarray, "P 2"] | None = None
) -> Int[np.ndarray, "N"]:
    """The family of each row: patients who are linked by a film that is in the data twice, over any number of links.

    `keys` are of each row's "patient", "file" and "pixel"; `pairs` are rows that are to be taken for one film, too.
    Families count from 0.
    """
    unique, persons = np.unique(keys["patient"], return_inverse=True)
    rows = [_repeated(keys["file"]), _repeated(keys["pixel"])] + ([] if pairs is None else [pairs.T])
    links = persons[np.concatenate(rows, axis=1)]
    if not links.shape[1]:
        return persons
    graph = coo_array((np.ones(links.shape[1], bool), tuple(links)), shape=(len(unique),) * 2)
    return connected_components(graph, directed=False)[1][persons]


def sorted_unique(keys: UInt64[np.ndarray, "N"]) -> UInt64[np.ndarray, "U"]:
    """The different keys but 0, ascending; ten times as fast as np.unique."""
    ordered = np.sort(keys)
    is_first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    return ordered[is_first & (ordered > 0)]


def num_shared(keys: Sequence[UInt64[np.ndarray, "_"]]) -> int:
    """How many keys two lists of different keys have in common."""
    ordered = np.sort(np.concatenate(keys))
    return int(np.count_nonzero(ordered[1:] == ordered[:-1]))


def _repeated(keys: UInt64[np.ndarray, "N"]) -> Int[np.ndarray, "2 L"]:
    """Pairs of rows that chain all rows of one key."""
    order = np.argsort(keys)
    ordered = keys[order]
    same = np.flatnonzero((ordered[1:] == ordered[:-1]) & (ordered[1:] > 0))
    return np.stack([order[same], order[same + 1]])
