"""Which values of a pack's masks mean which class."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import UInt8

from evax.data.mask_values import FEW, percent
from evax.data.pack import Pack
from evax.data.shards import NUM_VALUES

NUM_BITS = 8


@dataclass(frozen=True)
class MaskPolicy:
    """The classes of one of a pack's masks, in order: `classes` names the stored values (1..255) of each.

    With `bits` the numbers are of bits instead (0..7), as in the phantom's `lesions`, where findings may overlap; the
    first class that a pixel has is then its class, and other bits are background. Other values are background, too,
    but training wants them named, by `background`. Where no `mask` is named, `usual` is read, and under
    protocol=official the `published` one, which has a fault (`evax.runs.settings.settle_mask`).
    """

    mask: str | None
    classes: Mapping[str, Sequence[int]]
    bits: bool = False
    background: Sequence[int] = ()
    usual: str = ""
    published: str | None = None

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError(
                "data.masks.classes names no class; name some with their values, such as "
                "data.masks.mask=lungs '+data.masks.classes.lung=[1,2]', or set data.masks=null"
            )
        low, high = (0, NUM_BITS - 1) if self.bits else (1, NUM_VALUES - 1)
        seen: dict[int, str] = {}
        for name, values in self.classes.items():
            if not values:
                raise ValueError(f"data.masks.classes.{name} has no values; give some, or leave the class out")
            for value in values:
                if not low <= value <= high:
                    kind = "bits" if self.bits else "values, and 0 is background"
                    raise ValueError(
                        f"data.masks.classes.{name}={value} must be from {low} to {high}: those are {kind}"
                    )
                if value in seen:
                    raise ValueError(f"data.masks.classes: {value} is in {seen[value]} and in {name}; leave one out")
                seen[value] = name
        if self.bits and self.background:
            raise ValueError("data.masks.background is of values, and data.masks.bits=true has none; leave it out")
        if doubly := [value for value in self.background if value in seen]:
            raise ValueError(
                f"data.masks.background: {doubly[0]} is in data.masks.classes.{seen[doubly[0]]}, too; leave one out"
            )

    @property
    def name(self) -> str:
        """The mask that is read."""
        return self.usual if self.mask is None else self.mask

    def check(self, pack: Pack, *, is_learned: bool = True) -> None:
        """Refuse a mask that the pack does not have, and to learn a class of values that no film of it has."""
        if self.name not in pack.manifest.masks:
            known = ", ".join(pack.manifest.masks) or "none"
            raise ValueError(
                f"data.masks.mask={self.name}: the pack at {pack.folder} has no such mask; it has: {known}"
            )
        values = pack.manifest.mask_values.get(self.name)
        if values is None or self.bits or not is_learned:
            return
        for name, wanted in self.classes.items():
            if not {*wanted} & {*values}:
                raise ValueError(
                    f"data.masks.classes.{name}={list(wanted)}: no film of {pack.folder} has such a value in its mask "
                    f"{self.name}; it has: {', '.join(map(str, values))}"
                )

    def unclaimed(self, pixels: Mapping[int, int]) -> dict[int, int]:
        """The values above 0, with their pixels, that are of no class and not said to be background."""
        claimed = {0, *self.background, *(value for values in self.classes.values() for value in values)}
        return {} if self.bits else {value: count for value, count in pixels.items() if value not in claimed}

    def check_shown(self, pack: Pack) -> None:
        """Refuse to learn a mask that has one value on all pixels, of all images or, but for 0, of one."""
        pixels = pack.mask_pixels(self.name)
        if len(pixels) == 1:
            raise ValueError(
                f"data.masks.mask={self.name}: {of_one_value(pixels)} of {pack.folder}, so there is no shape to learn; "
                "prepare the pack again from masks that show one, or choose another mask"
            )
        if full := num_full(pack, self.name):
            raise ValueError(
                f"data.masks.mask={self.name}: {full} of {len(pack)} images of {pack.folder} have one value on all "
                "pixels, so their shape is lost; run `prepare.py` on it again, which reads or refuses them"
            )

    def check_claimed(self, pack: Pack) -> None:
        """Refuse a mask with values that nothing says the meaning of."""
        pixels = pack.mask_pixels(self.name)
        if left := self.unclaimed(pixels):
            words = ",".join(map(str, sorted({*left, *self.background})))
            raise ValueError(
                f"data.masks.classes: no class has {shares(left, pixels)} of the pixels of mask {self.name} in "
                f"{pack.folder}; add each value to a class, prepare the pack from masks without it, or call it "
                f"background by '+data.masks.background=[{words}]'"
            )

    def __call__(self, stored: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
        """Stored values to 0 for background and k + 1 for the k-th class."""
        return cv2.LUT(stored, self._table)

    def of_film(self, pack: Pack, row: int) -> UInt8[np.ndarray, "H W"]:
        """The classes of a film's pixels, at the size of the pack."""
        return self(pack.mask(self.name, row))

    @cached_property
    def _table(self) -> UInt8[np.ndarray, "256"]:
        """The class of each stored value."""
        table = np.zeros(NUM_VALUES, np.uint8)
        stored = np.arange(NUM_VALUES)
        for number, values in reversed(list(enumerate(self.classes.values(), 1))):
            shows = (stored & sum(1 << bit for bit in values)) > 0 if self.bits else np.isin(stored, values)
            table[shows] = number
        return table


def num_full(pack: Pack, name: str) -> int:
    """How many masks have one value on all pixels, and not 0; packs have none since their pixels are counted."""
    if name in pack.manifest.mask_counts:
        return 0
    masks = (pack.mask(name, row) for row in range(len(pack)))
    return sum(bool(mask.min() == mask.max() > 0) for mask in masks)


def of_one_value(pixels: Mapping[int, int]) -> str:
    """That a mask has one value alone."""
    return f"it is {next(iter(pixels))} on all pixels of all images"


def shares(values: Iterable[int], pixels: Mapping[int, int]) -> str:
    """Some values of a mask, with their shares of all its pixels, the most frequent first."""
    total = sum(pixels.values())
    ordered = sorted(values, key=lambda value: -pixels[value])
    told = [f"{value} ({percent(pixels[value] / total)})" for value in ordered[:FEW]]
    others = ordered[FEW:]
    if others:
        told.append(f"{len(others)} others ({percent(sum(pixels[value] for value in others) / total)})")
    return ", ".join(told)
