"""train.py with a fault planted in rank 1 at the fourth micro-batch."""

import os
from pathlib import Path

from evax.tasks.mim import MaskedImageModeling

healthy = MaskedImageModeling.training_step


def faulty(self: MaskedImageModeling, batch: dict, batch_idx: int):
    if os.environ.get("LOCAL_RANK") == "1" and self.global_step == 2:
        raise RuntimeError("rank 1 was told to fail")
    return healthy(self, batch, batch_idx)


MaskedImageModeling.training_step = faulty  # type: ignore[method-assign]
entry = Path(__file__).parents[2] / "train.py"
# not runpy: it would hand train.py itself to the ranks that are started
exec(compile(entry.read_text(), str(entry), "exec"), {"__name__": "__main__", "__file__": str(entry)})
