"""The command that follows `prepare.py`: a training that fits the pack."""

from collections.abc import Mapping
from typing import Any

from evax.data.checks import SPLITS, filling, fitting_batch
from evax.data.manifest import Manifest
from evax.data.splits import OFFICIAL

# By the source of a pack: the words of a training, and its global batch.
EXPERIMENTS = {
    "phantom": ("experiment=demo_pretrain", 16),
    "covid_masks": ("experiment=sample_segment", 4),
    **{name: (f"experiment=segment_{name}_vit_s", 16) for name in ("lung", "siim", "rsna", "shenzhen")},
    **{name: (f"data={name}", 64) for name in ("chexpert", "covidx3", "covidx4", "folder", "mimic")},
}
SAMPLE = 5000  # images of ChestX-ray14 below which it is a sample


def next_training(manifest: Manifest, pack: str | None) -> str | None:
    """The command of a training on a new pack; `pack` is its folder where the user chose it. None of one's own masks.

    Which of their own masks is to be learned, and what its values mean, is the user's to say. None, too, where
    splits lack images (`lacking`), or train has too few.
    """
    if lacking(manifest) is not None:
        return None
    splits: Mapping[str, Any] = manifest.counts["splits"]
    if manifest.source == "cxr14":
        is_sample = manifest.counts["films"] < SAMPLE
        words, batch = ("experiment=sample_pretrain", 64) if is_sample else ("data=cxr14", 64)
        words += f" data.split={OFFICIAL}" if is_sample and "sample" not in splits else ""
    elif manifest.source in EXPERIMENTS:
        words, batch = EXPERIMENTS[manifest.source]
    else:
        return None
    train = min((counts.get("train", 0) for counts in splits.values()), default=0)
    fitting = fitting_batch(train, 2 if "segment" in words else 1) if 0 < train < batch else batch
    if fitting is None:
        return None
    few = f" batch_size={fitting}" if fitting != batch else ""
    return f"python train.py {words}{f' data.pack={pack}' if pack is not None else ''}{few}"


def lacking(manifest: Manifest) -> str | None:
    """Which splits have no images, and how to come by some; None where a scheme has all that a training needs."""
    schemes = manifest.counts["splits"].values()
    lacks = [[split for split in SPLITS if not counts.get(split)] for counts in schemes]
    missing = min(lacks, key=len, default=list(SPLITS))
    if not missing:
        return None
    return f"no {' and no '.join(missing)} images: a training cannot start; {filling(manifest, missing)}"


def splits_told(manifest: Manifest) -> str:
    """How many images of a pack each scheme puts on each side, a line a scheme."""
    return "\n".join(
        f"data.split={scheme}: {', '.join(f'{counts[split]:,} {split}' for split in SPLITS if split in counts)}"
        for scheme, counts in manifest.counts["splits"].items()
    )
