"""What maps cost: `python benchmarks/explain.py [--films 200] [--backbone eva_x_small] [--few 16]`.

An untrained classifier of ChestX-ray14's findings at 224 pixels, on noise. Goal: Grad-CAM of 200 films within three
minutes on two cores. Every other method is timed on a few films, as a ratio to the logits of the same films.
"""

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import torch

from evax.backbones import create_backbone
from evax.data.film_view import FilmView
from evax.data.findings import CXR14
from evax.explain import METHODS, Explainable
from evax.heads import LinearClassifier
from evax.predict.classifier import FilmClassifier

SIZE, GOAL = 224, 180.0  # pixels, seconds


def main() -> None:
    """Time Grad-CAM over all films, the others over a few, and the memory of the whole."""
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
    print(f"  grad_cam of {args.films} films: {seconds:.1f} s, goal {GOAL:.0f} s")
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
