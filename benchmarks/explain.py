"""What maps cost: `python benchmarks/explain.py [--films 200] [--backbone eva_x_small] [--few 16]`.

An untrained classifier of ChestX-ray14's findings at 224 pixels, on noise. Goal: `explain.py` with Grad-CAM of 200
films within three minutes on two cores, from the start of Python to the figures; boxes and checks are left out. Every
method is timed on a few films, as a ratio to the logits of the same films.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch

from evax.backbones import create_backbone
from evax.checkpoints.classifiers import classifier_facts
from evax.checkpoints.weights import export_weights
from evax.data.film_view import FilmView
from evax.data.findings import CXR14
from evax.explain import METHODS, Explainable
from evax.heads import LinearClassifier
from evax.predict.classifier import FilmClassifier

SIZE, GOAL = 224, 180.0  # pixels, seconds
COMMAND = Path(__file__).parents[1] / "explain.py"


def main() -> None:
    """Time every method over a few films, Grad-CAM over all, and the command that makes it of files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=200)
    parser.add_argument("--few", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--backbone", default="eva_x_small")
    args = parser.parse_args()
    torch.manual_seed(0)
    backbone: Any = create_backbone(args.backbone, image_size=SIZE)
    head = LinearClassifier(backbone.num_features, len(CXR14))
    explainable = Explainable(FilmClassifier(backbone, head, CXR14, FilmView(SIZE), is_exclusive=False))
    print(f"{args.backbone} at {SIZE} pixels, {torch.get_num_threads()} threads, batches of {args.batch_size}")

    def over(count: int, work: Callable[[torch.Tensor, torch.Tensor], Any]) -> float:
        start = time.perf_counter()
        for first in range(0, count, args.batch_size):
            images = torch.randn(min(args.batch_size, count - first), 3, SIZE, SIZE)
            work(images, torch.zeros(len(images), dtype=torch.long))
        return time.perf_counter() - start

    @torch.no_grad()
    def logits(images: torch.Tensor, classes: torch.Tensor) -> None:
        explainable.chosen_logits(images, classes)

    over(args.batch_size, logits)  # warms up
    plain = over(args.few, logits)
    for method in METHODS.values():
        if method.of_model and (explainable.has_attention or not method.of_attention):
            seconds = over(args.few, lambda images, classes, method=method: method(explainable, images, classes))
            print(f"  {method.name:20} {seconds / args.few:7.3f} s a film, ratio {seconds / plain:.1f}", flush=True)
    seconds = over(args.films, lambda images, classes: METHODS["grad_cam"](explainable, images, classes))
    print(f"  grad_cam of {args.films} films: {seconds:.1f} s, {args.films / seconds:.1f} films/s")
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB", flush=True)
    with TemporaryDirectory() as folder:
        seconds = command(Path(folder), args, backbone, head)
    print(f"  explain.py of {args.films} films, Grad-CAM and figures: {seconds:.1f} s, goal {GOAL:.0f} s")


def command(folder: Path, args: argparse.Namespace, backbone: Any, head: LinearClassifier) -> float:
    """Seconds of `explain.py` on as many films in files, with its figures and without the checks of a few maps."""
    facts = {"architecture": {"name": args.backbone}, "preprocessing": {"image_size": SIZE}}
    weights = folder / "weights.safetensors"
    export_weights(backbone, weights, facts | classifier_facts(CXR14, "binary", None), head.state_dict())
    films = folder / "films"
    films.mkdir()
    generator = np.random.default_rng(0)
    for number in range(args.films):
        coarse = generator.integers(0, 256, (32, 32), dtype=np.uint8)
        cv2.imwrite(str(films / f"{number:03d}.png"), cv2.resize(coarse, (512, 512)))
    words = [f"weights={weights}", f"images={films}", "methods=[grad_cam]", f"hydra.run.dir={folder / 'out'}"]
    words += ["faithfulness=false", "randomise=false"]
    start = time.perf_counter()
    subprocess.run([sys.executable, str(COMMAND), *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
