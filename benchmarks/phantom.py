"""Films per second that the chest phantom renders: `python benchmarks/phantom.py [--processes 2]`."""

import argparse
import time
from multiprocessing import get_context

import cv2

from evax.data.film import Film
from evax.data.sources.phantom import PhantomSource


def one_thread() -> None:
    """Keep OpenCV from starting threads of its own."""
    cv2.setNumThreads(1)


def main() -> None:
    """Render every film once through a pool of processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=2000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    source = PhantomSource(num_films=args.films, size=args.size)
    start = time.perf_counter()
    films, _ = source.films()
    print(f"table: {args.films / (time.perf_counter() - start):,.0f} films/s, one process")
    with get_context("spawn").Pool(args.processes, one_thread) as pool:
        pool.map(source.read, films[: 8 * args.processes])
        start = time.perf_counter()
        for _ in pool.imap_unordered(Reader(source), films, chunksize=32):
            pass
        seconds = time.perf_counter() - start
    print(f"pixels: {args.films / seconds:,.0f} films/s at {args.size} px, {args.processes} processes")


class Reader:
    """Renders a film and drops the pixels, so that the figure is not about pipes."""

    def __init__(self, source: PhantomSource) -> None:
        self.source = source

    def __call__(self, film: Film) -> int:
        """One pixel of the film."""
        return int(self.source.read(film).image[0, 0])


if __name__ == "__main__":
    main()
