"""EVA-X's pre-training set: several packs, each with a weight."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from evax.data.leakage import Cohort
from evax.data.module import PackDataModule
from evax.data.near import NearDuplicates
from evax.data.union import UnionPack


class Merged520kData(PackDataModule):
    """ChestX-ray14, CheXpert and MIMIC-CXR, frontal films without the patients of `test_sets` (EVA-X, section 2).

    `pack` is the folder of the packs that `sources` chooses from; a source's films come `weights` times an epoch.
    `test_sets` name downstream tests as PACK/SCHEME/SPLIT; `val_share` of the patients monitor;
    `near_duplicates="exclude"` keeps out patients with a film that looks like a test film, too. With all three sources
    and `fit_on=("train", "val")` these are the paper's 520,885 films. Other settings are those of every pack.
    """

    def __init__(
        self,
        *,
        pack: str | Path,
        sources: Sequence[str],
        weights: Mapping[str, float],
        test_sets: Sequence[str] = (),
        val_share: float = 0.01,
        near_duplicates: NearDuplicates = "report",
        **settings: Any,
    ) -> None:
        for source in sources:
            if not weights.get(source, 0) > 0:
                raise ValueError(f"data.weights.{source} must be above 0; to leave {source} out, change data.sources")
        self.weights = {source: float(weights[source]) for source in sources}
        self.union = UnionPack(pack, sources, test_sets, val_share, near_duplicates)
        super().__init__(pack=self.union, **settings)
        if self.sampling != "uniform" or (settings.get("keep_epoch") and self.fraction < 1):
            raise ValueError("data.sampling, data.keep_epoch: leave both; data.weights says how often these films come")
        self.groups = [_places(self.train_rows, self.union.rows_of(source)) for source in sources]
        for source, group in zip(sources, self.groups, strict=True):
            if not len(group):
                raise ValueError(f"data.sources: {source} has no training films under these settings; leave it out")
        self.group_weights = list(self.weights.values())

    def test_sets(self) -> list[Cohort]:
        """The declared downstream test sets."""
        return self.union.tests

    def state_dict(self) -> dict[str, Any]:
        """What decides the order of samples, the weights among it."""
        return {**super().state_dict(), "weights": self.weights}


def _places(rows: Int[np.ndarray, "R"], part: slice) -> Int[np.ndarray, "_"]:
    """The places in ascending `rows` of those that lie in `part`."""
    return np.arange(*np.searchsorted(rows, [part.start, part.stop]))
