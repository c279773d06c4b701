"""One step of masked image modelling against what the machine's matrix units can do: `python benchmarks/step.py`.

EVA-X-S predicts the tokens of a ViT-B/16 of MGCA's shape, both with random weights, on random films; on a GPU where
there is one (--batch 256 fills an H100).
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from evax.backbones import create_backbone
from evax.optim import AdamWCosine
from evax.tasks import MaskedImageModeling
from evax.tokenizers import VitTokenizer

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIDE = 8192 if DEVICE.type == "cuda" else 2048  # of the square matrices whose product is the machine's peak
TEACHER = "vit_base_patch16_224"


def main() -> None:
    """Time everything in turns, so that a slow minute of the machine falls on all alike, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="where the time of the bf16 student goes")
    args = parser.parse_args()
    images = torch.rand(args.batch, 3, 224, 224, device=DEVICE)
    is_masked = torch.rand(args.batch, 196, device=DEVICE).argsort(1) < 59
    fast, exact = (Step(precision, images, is_masked) for precision in ("bf16", "fp32"))
    difference = abs(fast.loss().item() / exact.loss().item() - 1)
    works = {
        "GEMM fp32": product(torch.float32),
        "GEMM bf16": product(torch.bfloat16),
        "tokenizer bf16": fast.encode,
        "student step bf16": fast.learn,
        "full step bf16": fast,
        "full step fp32": exact,
    }
    work = {name: flops(call) for name, call in works.items()}
    seconds = {name: median(times) for name, times in in_turns(works, args.rounds).items()}
    peak = work["GEMM bf16"] / seconds["GEMM bf16"]
    for name, taken in seconds.items():
        speed, rate = work[name] / taken, "" if "GEMM" in name else f"{args.batch / taken:6.1f} images/s"
        print(f"{name:18} {speed / 1e9:6.0f} GFLOP/s, {speed / peak:4.0%} of the bf16 peak  {rate}")
    print(f"full step: {work['full step bf16'] / args.batch / 1e9:.1f} GFLOP per image; bf16 against fp32: ", end="")
    print(f"{seconds['full step fp32'] / seconds['full step bf16']:.1f} times as fast, ", end="")
    print(f"loss differs by {difference:.1e}")
    if args.profile:
        print(profiled(fast.learn))


class Step:
    """A student, its optimizer and its tokenizer, as `conf/experiment/pretrain_vit_s.yaml` puts them together."""

    def __init__(self, precision: Any, images: Tensor, is_masked: Tensor) -> None:
        torch.manual_seed(0)
        student = create_backbone("eva_x_small", mask_token=True, drop_path=0.1, initialise="pretraining")
        optim = AdamWCosine()
        task = MaskedImageModeling(backbone=student, tokenizer=teacher(precision), optim=optim, seed=0)
        self.task = task.to(DEVICE).train()
        self.task.tokenizer.to(DEVICE)  # no part of the task, whose checkpoints go without it
        self.optimizer = optim.build(self.task)
        self.images, self.is_masked, self.is_bf16 = images, is_masked, precision == "bf16"
        self.known = self.task.target(images)[is_masked]

    def encode(self) -> Tensor:
        """Targets of the batch."""
        return self.task.target(self.images)

    def loss(self, target: Tensor | None = None) -> Tensor:
        """Loss of the batch in the step's precision, on targets that are computed now where none are given."""
        target = self.encode()[self.is_masked] if target is None else target
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16) if self.is_bf16 else nullcontext():
            return self.task.loss(self.task.predict(self.images, self.is_masked), target)

    def learn(self) -> None:
        """The student's part of a step."""
        self._descend(self.loss(self.known))

    def __call__(self) -> None:
        """A whole step."""
        self._descend(self.loss())

    def _descend(self, loss: Tensor) -> None:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.task.parameters(), 3.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


def teacher(precision: Any) -> VitTokenizer:
    """A ViT-B/16 with random weights, through a file as every tokenizer."""
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "teacher.safetensors"
        save_file(timm.create_model(TEACHER, num_classes=0).state_dict(), file)
        return VitTokenizer(TEACHER, weights=file, precision=precision)


def product(dtype: torch.dtype) -> Callable[[], Tensor]:
    """A product of two square matrices."""
    left, right = torch.randn(2, SIDE, SIDE, device=DEVICE).to(dtype)
    return lambda: left @ right


def flops(call: Callable[[], Any]) -> int:
    """Floating point operations of the matrix products in a call."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def in_turns(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every work, `rounds` times after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, call in works.items():
            start = time.perf_counter()
            call()
            finish()
            seconds[name].append(time.perf_counter() - start)
    return {name: times[1:] for name, times in seconds.items()}


def finish() -> None:
    """Wait for what the device was given."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def profiled(call: Callable[[], Any]) -> str:
    """The twenty operators that take the most time."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        call()
    return record.key_averages().table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=40)


if __name__ == "__main__":
    main()
