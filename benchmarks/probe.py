"""The frozen probe: `python benchmarks/probe.py [--images 86524 --test-images 25596 --width 384]`.

Extraction of images and their mirrors by EVA-X-Ti runs in turns with two plain float32 forwards of the same batches.
The study is that of `evaluate.py run=…` with its defaults: four readouts, seven penalties, five folds, three repeats
and 14 findings, on synthetic features as wide as the readouts of a backbone, then scores and 1,000 resamples of test.
"""

import argparse
import logging
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch
from jaxtyping import Float32, Int8
from torch import nn

from evax.backbones import create_backbone
from evax.data.findings import CXR14
from evax.data.module import PhantomData
from evax.data.pixels import normalise, to_unit
from evax.data.prepare import prepare
from evax.data.sources.phantom import PhantomSource
from evax.evaluation.knn import Vote
from evax.evaluation.readouts import READOUTS, encode_rows
from evax.evaluation.study import GRID, Candidate, LabelledFilms, probe_study

PARTS = {"pooled": 1, "last_block": 2, "four_block_means": 4, "four_blocks": 8}  # widths of the readouts
SHARES = (0.11, 0.025, 0.12, 0.18, 0.052, 0.056, 0.012, 0.047, 0.042, 0.02, 0.022, 0.015, 0.03, 0.002)  # of positives
VOTES = [Vote(count, temperature) for count in (5, 10, 20, 50, 100, 200) for temperature in (0.02, 0.07, 0.2)]
PIXELS, BATCH, RATIO = 128, 64, 1.3
SMALL, MINUTES, MEMORY = 6385, (3, 60), 6.0  # images of the short study; goals of both sizes, and GiB


def main() -> None:
    """Print the ratio of extraction, seconds of the study and the peak of memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=SMALL, help="of train and val")
    parser.add_argument("--test-images", type=int, default=2145)
    parser.add_argument("--width", type=int, default=192, help="of the backbone; the widest readout has 8 times that")
    parser.add_argument("--rounds", type=int, default=3, help="of extraction; 0 leaves it out")
    parser.add_argument("--knn", action="store_true", help="nearest images in place of linear probes")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="  %(message)s")
    if args.rounds:
        compare_extraction(args.rounds)
    study(args.images, args.test_images, args.width, VOTES if args.knn else GRID)
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {gigabytes:.2f} GiB, goal {MEMORY:.0f}")


def compare_extraction(rounds: int) -> None:
    """Extraction from a pack against two forwards of images that are in memory and normalised."""
    backbone = create_backbone("eva_x_tiny", image_size=PIXELS).eval()
    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder, "pack")
        prepare(PhantomSource(num_films=2 * BATCH, size=PIXELS), pack, size=PIXELS, workers=0)
        data = PhantomData(pack=pack, image_size=PIXELS, batch_size=BATCH, seed=0, num_workers=0)
        rows = np.arange(2 * BATCH)
        works = {
            "forwards": lambda: two_forwards(backbone, data, rows),
            "extraction": lambda: encode_rows(backbone, READOUTS, data, rows),
        }
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(rounds + 1):
            for name, work in works.items():
                with timed(times[name].append):
                    work()
    found = {name: median(each[1:]) for name, each in times.items()}
    ratio = median(a / b for a, b in zip(times["extraction"][1:], times["forwards"][1:], strict=True))
    per_image = {name: 1e3 * seconds / (2 * BATCH) for name, seconds in found.items()}
    print(", ".join(f"{name} {each:.1f} ms of one core per image" for name, each in per_image.items()))
    print(f"extraction of an image and its mirror against two forwards: ratio {ratio:.2f}, goal at most {RATIO}")


@torch.inference_mode()
def two_forwards(backbone: nn.Module, data: PhantomData, rows: np.ndarray) -> None:
    """The least that an image and its mirror cost."""
    config = backbone.pretrained_cfg
    for first in range(0, len(rows), BATCH):
        pixels = torch.from_numpy(np.stack([data.pack.image(int(row)) for row in rows[first : first + BATCH]]))[:, None]
        images = normalise(to_unit(pixels), config["mean"], config["std"])
        backbone(images)
        backbone(images.flip(-1))


@contextmanager
def timed(report: Callable[[float], object]) -> Iterator[None]:
    """Report the seconds of CPU that something takes: other work on the machine does not count."""
    start = time.process_time()
    yield
    report(time.process_time() - start)


def study(num_images: int, num_test: int, width: int, grid: list[Vote] | tuple[float, ...]) -> None:
    """Choose and score on synthetic features, and print how long it takes."""
    generator = np.random.default_rng(0)
    widths = {name: part * width for name, part in PARTS.items()}
    hidden = min(256, width)
    mixing = generator.standard_normal((hidden, sum(widths.values())), np.float32)
    mixing /= np.arange(1, hidden + 1, dtype=np.float32)[:, None] ** 0.5
    effects = generator.standard_normal((hidden, len(CXR14)), np.float32) / hidden**0.5
    sides = [images(generator, count, mixing, effects) for count in (num_images, num_test)]
    edges = np.cumsum(list(widths.values()))[:-1]
    parts = zip(*(np.split(features, edges, axis=1) for features, _ in sides), strict=True)
    candidates = {name: Candidate(*part) for name, part in zip(widths, parts, strict=True)}
    films = []
    for (_, targets), first in zip(sides, (0, num_images), strict=True):
        ids = np.arange(first, first + len(targets))
        films.append(LabelledFilms(ids, ids // 3 + first, targets))
    kind = "nearest images" if isinstance(grid[0], Vote) else "linear probes"
    print(f"{num_images:,} images, {num_test:,} of test, readouts of {', '.join(map(str, widths.values()))}: {kind}")
    start, start_cpu = time.perf_counter(), time.process_time()
    result = probe_study(candidates, *films, CXR14, CXR14, grid=grid, num_repeats=3)
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    goal = MINUTES[num_images > SMALL]
    print(f"study {seconds / 60:.1f} min, {cpu / 60:.1f} min of one core, goal {goal} min; {result.chosen}")


def images(
    generator: np.random.Generator, count: int, mixing: Float32[np.ndarray, "H D"], effects: Float32[np.ndarray, "H C"]
) -> tuple[Float32[np.ndarray, "N D"], Int8[np.ndarray, "N C"]]:
    """Correlated features, and findings at their prevalence that they tell a part of."""
    features = np.empty((count, mixing.shape[1]), np.float32)
    targets = np.empty((count, len(CXR14)), np.int8)
    limits = np.log(1 / np.array(SHARES) - 1) * 1.2
    for first in range(0, count, 4096):
        hidden = generator.standard_normal((min(4096, count - first), len(mixing)), np.float32)
        rows = slice(first, first + len(hidden))
        features[rows] = hidden @ mixing + 0.1 * generator.standard_normal((len(hidden), mixing.shape[1]), np.float32)
        targets[rows] = hidden @ effects + generator.logistic(size=(len(hidden), len(CXR14))) > limits
    return features, targets


if __name__ == "__main__":
    main()
