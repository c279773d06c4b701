"""Decode the films of a source in child processes, so that one bad file cannot end a run."""

import contextlib
import hashlib
import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np
from jaxtyping import UInt8

from evax.data.film import BadFilmError, Film, Pixels, Refusal
from evax.data.framing import Fit, fit_pixels, frame_film
from evax.data.likeness import likeness
from evax.data.mask_files import BAD_MASK
from evax.data.reading import time_limit
from evax.data.sources.base import Source

T = TypeVar("T")
CHUNK = 16  # films per task: long enough to hide the hand-over, short enough to keep all workers busy
SECONDS_PER_FILM = 60.0


class FilmDecoder(ABC, Generic[T]):
    """Makes something of films; travels to the child processes."""

    def __call__(self, films: Sequence[Film]) -> list[T | Refusal]:
        """Decode films in their order."""
        return [self.decode(film) for film in films]

    def decode(self, film: Film) -> T | Refusal:
        """Decode one film within SECONDS_PER_FILM, or say why not."""
        try:
            with time_limit(SECONDS_PER_FILM):
                return self.read(film)
        except BadFilmError as error:
            return Refusal(film.image_id, error.reason, error.detail)
        except (OSError, MemoryError) as error:
            return Refusal(film.image_id, "unreadable", type(error).__name__)
        except Exception as error:  # a decoder's own fault must not end the work on all other files
            return Refusal(film.image_id, "undecodable", f"{type(error).__name__}: {error}")

    @abstractmethod
    def read(self, film: Film) -> T:
        """What to make of a film; raises BadFilmError."""


class Decoded(NamedTuple):
    """A film in the pack's frame; width, height and digests are those of the original, the likeness is the frame's."""

    pixels: Pixels
    width: int
    height: int
    file_sha256: str
    pixel_sha256: str
    likeness: bytes


@dataclass(frozen=True)
class Decoder(FilmDecoder[Decoded]):
    """Reads films of `source` into squares of `size` pixels."""

    source: Source
    size: int
    fit: Fit

    def read(self, film: Film) -> Decoded:
        """The film in the pack's frame."""
        pixels = self.source.read(film)
        file_sha256 = hashlib.sha256(film.path.read_bytes()).hexdigest() if film.path else ""
        for name, mask in pixels.masks.items():
            check_mask(name, mask, pixels.image)
        height, width = pixels.image.shape
        fitted = fit_pixels(pixels, frame_film(width, height, self.size, self.fit))
        return Decoded(fitted, width, height, file_sha256, digest_pixels(pixels.image), likeness(fitted.image))


def check_mask(name: str, mask: UInt8[np.ndarray, "h w"], image: UInt8[np.ndarray, "H W"]) -> None:
    """Refuse a mask of another size than its image, and one that covers all of it."""
    if mask.shape != image.shape:
        raise BadFilmError(
            "mask_size",
            f"mask {name} is {mask.shape[1]}x{mask.shape[0]}, and its image {image.shape[1]}x{image.shape[0]}: save "
            "both at one size",
        )
    if mask.min() == mask.max() > 0:
        raise BadFilmError(
            BAD_MASK,
            f"mask {name} has the value {mask.max()} on all pixels, so that it shows no shape: save it as grey, 0 "
            "background",
        )


def digest_pixels(image: UInt8[np.ndarray, "H W"]) -> str:
    """The sha256 of a film's shape and pixels; equal for two files of the same picture."""
    digest = hashlib.sha256(f"{image.shape[0]}x{image.shape[1]}:".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


class DecodingPool(Generic[T]):
    """Child processes that share the decoding of films; `workers=0` decodes in this process.

    A film that kills its process (a decoder's crash, no memory) is refused as "crash"; the rest goes on.
    """

    def __init__(self, decoder: FilmDecoder[T], workers: int) -> None:
        self._decoder = decoder
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> "DecodingPool[T]":
        if self._workers:
            self._executor = _start_executor(self._workers)
            try:
                self._executor.submit(int).result()
            except BrokenProcessPool:
                self._executor.shutdown()
                raise RuntimeError(
                    "worker processes cannot start: call prepare() from a module or under "
                    'if __name__ == "__main__":, or pass workers=0'
                ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def decode(self, films: Sequence[Film]) -> Iterator[T | Refusal]:
        """Decode films in their order, a bounded number ahead of the consumer."""
        if self._executor is None:
            yield from map(self._decoder.decode, films)
            return
        waiting = deque(films[start : start + CHUNK] for start in range(0, len(films), CHUNK))
        running: deque[tuple[Sequence[Film], Future[list[T | Refusal]]]] = deque()
        while waiting or running:
            while waiting and len(running) < 4 * self._workers:
                chunk = waiting.popleft()
                running.append((chunk, self._submit(chunk)))
            chunk, future = running.popleft()
            try:
                decoded = future.result()
            except BrokenProcessPool:
                decoded = _decode_apart(self._decoder, chunk)
            yield from decoded

    def _submit(self, films: Sequence[Film]) -> "Future[list[T | Refusal]]":
        assert self._executor is not None
        with contextlib.suppress(BrokenProcessPool):
            return self._executor.submit(self._decoder, films)
        self._executor.shutdown()
        self._executor = _start_executor(self._workers)
        return self._executor.submit(self._decoder, films)


def _decode_apart(decoder: FilmDecoder[T], films: Sequence[Film]) -> list[T | Refusal]:
    """Decode one film at a time, to find the one that kills its process."""
    decoded: list[T | Refusal] = []
    executor = _start_executor(1)
    for film in films:
        try:
            decoded.append(executor.submit(decoder.decode, film).result())
        except BrokenProcessPool:
            decoded.append(Refusal(film.image_id, "crash", "the decoding process died"))
            executor.shutdown()
            executor = _start_executor(1)
    executor.shutdown()
    return decoded


def _start_executor(workers: int) -> ProcessPoolExecutor:
    # spawn: the parent may hold threads (progress bar, Arrow) that a fork would freeze
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()  # returns when the parent was killed, which an idle worker would not notice
        os._exit(1)
