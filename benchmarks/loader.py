"""How fast films reach the student, beside its two limits: `python benchmarks/loader.py`.

The packed loader, in process and through workers, runs beside OpenCV that cuts and resizes the same memory-mapped
films and does nothing else, and beside Pillow that decodes 1024 x 1024 PNGs for the same crop. The speed of a machine
varies, so every round runs all of them in turn, and ratios are medians over rounds.
"""

import argparse
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from torch.utils.data import DataLoader

from evax.data.dataset import as_it_is
from evax.data.keyed_random import Stream, keyed_generator
from evax.data.module import PhantomData
from evax.data.prepare import prepare
from evax.data.sampler import Key, ResumableBatchSampler
from evax.data.sources.phantom import PhantomSource
from evax.data.transforms import INTERPOLATION, Crop, RandomCropFlip
from evax.masking import Masking, UniformMasking

SIZE, PACK_SIZE, PNG_SIZE = 224, 336, 1024  # pixels: the student's, the pack's (EVA-X) and the download's
BATCH, PREFETCH = 64, 2
GOALS = {
    "in process / cv2 limit": 0.70,
    "2 workers / cv2 limit of 2 cores": 0.35,
    "in process / PIL from PNG": 8.0,
}

Contender = Callable[[int], float]


def main() -> None:
    """Measure in rounds, and print images per second and ratios with their goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=512, help="of the pack; a sixteenth of them as PNGs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=2048, help="of a contender in a round")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        pack, pngs = Path(folder, "pack"), Path(folder, "pngs")
        prepare(PhantomSource(num_films=args.films, size=PACK_SIZE), pack, size=PACK_SIZE, workers=0)
        write_pngs(pngs, max(1, args.films // 16))
        speeds = measure(contenders(pack, pngs), args.rounds, args.images)
    report(speeds)


def write_pngs(folder: Path, num_films: int) -> None:
    """Phantom films as the files of a download."""
    folder.mkdir()
    source = PhantomSource(num_films=num_films, size=PNG_SIZE)
    for film in source.films()[0]:
        Image.fromarray(source.read(film).image).save(folder / f"{film.image_id}.png")


def contenders(pack: Path, pngs: Path) -> dict[str, Contender]:
    """Each takes a number of images and returns the seconds for them."""
    return {
        "cv2 limit": CvLimit(pack),
        "in process": Loader(pack, workers=0),
        "in process, with masks": Loader(pack, workers=0, masking=UniformMasking(0.3)),
        "2 workers": Loader(pack, workers=2),
        "PIL from PNG": PilFromPng(pngs),
    }


class CvLimit:
    """Cuts random windows from the memory-mapped films and resizes them; knows no keys, flips, samples or batches."""

    def __init__(self, pack: Path) -> None:
        self.films = np.load(next(pack.glob("pixels-*.npy")), mmap_mode="r")
        self.draw = random.Random(0)

    def __call__(self, num_images: int) -> float:
        """Seconds for `num_images` crops."""
        start = time.perf_counter()
        for _ in range(num_images):
            self.crop(self.films[self.draw.randrange(len(self.films))])
        return time.perf_counter() - start

    def crop(self, film: np.ndarray) -> np.ndarray:
        """One crop of the same areas and ratios as the loader's."""
        crop = Crop()
        area = self.draw.uniform(crop.min_area, crop.max_area) * film.size
        ratio = math.exp(self.draw.uniform(math.log(crop.min_ratio), math.log(crop.max_ratio)))
        width, height = (min(len(film), round(math.sqrt(each))) for each in (area * ratio, area / ratio))
        top, left = (int(self.draw.random() * (len(film) - side + 1)) for side in (height, width))
        window = film[top : top + height, left : left + width]
        return cv2.resize(window, (SIZE, SIZE), interpolation=INTERPOLATION[crop.interpolation])


class Loader:
    """The training films of `PackDataModule` as batches of uint8; workers stay between rounds."""

    def __init__(self, pack: Path, *, workers: int, masking: Masking | None = None) -> None:
        self.ahead = workers * PREFETCH  # batches that workers make before they are asked
        data = PhantomData(
            pack=pack, image_size=SIZE, batch_size=BATCH, seed=0, fit_on=("train", "val"), masking=masking
        )
        sampler = data.train_sampler(seed=0, global_batch=BATCH, micro_batch=BATCH)
        loader: DataLoader[Any] = DataLoader(
            data.dataset(data.train_rows, augment=True),
            batch_sampler=endless(sampler),
            collate_fn=as_it_is,
            num_workers=workers,
            prefetch_factor=PREFETCH if workers else None,
        )
        self.batches = iter(loader)

    def __call__(self, num_images: int) -> float:
        """Seconds for `num_images` images, in whole batches; what was made ahead does not count."""
        for _ in range(self.ahead):
            next(self.batches)
        start = time.perf_counter()
        for _ in range(num_images // BATCH):
            next(self.batches)
        seconds = time.perf_counter() - start
        time.sleep(0.2 if self.ahead else 0)  # workers come to rest before the next contender
        return seconds


def endless(sampler: ResumableBatchSampler) -> Iterator[list[Key]]:
    """The batches of one epoch after another."""
    for epoch in count():
        sampler.set_epoch(epoch)
        yield from sampler


class PilFromPng:
    """Decodes a PNG and takes the loader's crop of it."""

    def __init__(self, folder: Path) -> None:
        self.paths = cycle(sorted(folder.glob("*.png")))
        self.crop = RandomCropFlip(SIZE, Crop())

    def __call__(self, num_images: int) -> float:
        """Seconds for `num_images` crops, measured on a sixteenth of them."""
        start = time.perf_counter()
        for index in range(num_images // 16):
            film = np.asarray(Image.open(next(self.paths)).convert("L"))
            self.crop(film, keyed_generator(0, Stream.AUGMENT, index=index))
        return 16 * (time.perf_counter() - start)


def measure(contenders: dict[str, Contender], rounds: int, num_images: int) -> dict[str, list[float]]:
    """Images per second of each contender in each round; a first round is not counted."""
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, seconds_for in contenders.items():
            speeds[name].append(num_images / seconds_for(num_images))
    return {name: values[1:] for name, values in speeds.items()}


def ratios(speeds: dict[str, list[float]]) -> dict[str, float]:
    """Medians over rounds of the ratios within a round."""
    pairs = {
        "in process / cv2 limit": ("in process", "cv2 limit", 1),
        "in process, with masks / cv2 limit": ("in process, with masks", "cv2 limit", 1),
        "2 workers / cv2 limit of 2 cores": ("2 workers", "cv2 limit", 2),
        "in process / PIL from PNG": ("in process", "PIL from PNG", 1),
    }
    return {
        name: statistics.median(a / (cores * b) for a, b in zip(speeds[above], speeds[below], strict=True))
        for name, (above, below, cores) in pairs.items()
    }


def report(speeds: dict[str, list[float]]) -> None:
    """Print what was measured; a ratio below its goal is marked."""
    print(f"films to batches of uint8 at {SIZE} pixels, from packs of {PACK_SIZE} and PNGs of {PNG_SIZE}:")
    for name, values in speeds.items():
        print(f"  {name:36} {statistics.median(values):8,.0f} images/s  ({min(values):,.0f} to {max(values):,.0f})")
    for name, ratio in ratios(speeds).items():
        goal = GOALS.get(name)
        verdict = "" if goal is None else f"goal {goal:g}{'' if ratio >= goal else ', MISSED'}"
        print(f"  {name:36} {ratio:8.2f}  {verdict}")


if __name__ == "__main__":
    main()
