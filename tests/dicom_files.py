"""DICOM files in memory, to the letter or with what the wild does to them."""

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydicom import FileDataset, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

PADDING_TAGS = {"PixelPaddingValue": 0x00280120, "PixelPaddingRangeLimit": 0x00280121}


@dataclass
class Stored:
    """How values lie in words: `bits` of them up to the bit `high`, with `junk` in the bits that are unused."""

    values: np.ndarray
    bits: int
    is_signed: bool = False
    allocated: int = 16
    high: int | None = None
    junk: np.ndarray | int = 0

    def words(self):
        """The words of the pixels, unsigned."""
        shift = self.high_bit + 1 - self.bits
        used = ((1 << self.bits) - 1) << shift
        words = (self.values.astype(np.int64) << shift) & used
        return (words | (np.int64(self.junk) & ~used)) & ((1 << self.allocated) - 1)

    @property
    def high_bit(self):
        """The highest bit that is used."""
        return self.bits - 1 if self.high is None else self.high


@dataclass
class Form:
    """How a data set is written; `start` is "whole", "magic" (no preamble), "meta" (nor magic bytes) or "bare"."""

    syntax: UID = ExplicitVRLittleEndian
    start: str = "whole"
    has_syntax: bool = True
    padding: dict[str, tuple[str, int]] = field(default_factory=dict)


def image(stored, **elements):
    """A grey image of stored values, with some elements set, or removed by None."""
    film = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=bytes(128))
    film.SOPClassUID, film.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    film.Rows, film.Columns = stored.values.shape[:2]
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.BitsAllocated, film.BitsStored, film.HighBit = stored.allocated, stored.bits, stored.high_bit
    film.PixelRepresentation = int(stored.is_signed)
    film.PixelData = b""
    return changed(film, **elements)


def changed(film, **elements):
    """The data set with some elements set, or removed by None; further underscores are for elements that are empty."""
    for name, value in elements.items():
        if value is None:
            delattr(film, name)
        else:
            setattr(film, name, value)
    return film


def table(entries, first, bits, *, vr="US", data_vr="OW", order="<"):
    """A sequence of one table."""
    item = Dataset()
    count = len(entries) % 2**16
    item.add_new(0x00283002, vr, [count, first, bits])
    packed = np.asarray(entries).astype(f"{order}u2")
    item.add_new(0x00283006, data_vr, packed.tobytes() if data_vr == "OW" else packed.tolist())
    return [item]


def written(film, form: Form, words: Any = None, allocated: int = 16) -> bytes:
    """The file of a data set."""
    for name, (vr, value) in form.padding.items():
        film.add_new(PADDING_TAGS[name], vr, value)
    is_little, is_implicit = form.syntax.is_little_endian, form.syntax.is_implicit_VR
    if words is not None:
        film.PixelData = words.astype(f"{'<' if is_little else '>'}u{allocated // 8}").tobytes()
        film["PixelData"].VR = "OB" if allocated == 8 and not is_implicit and is_little else "OW"
        if allocated == 8 and not is_little:  # bytes in words, which big endian swaps
            film.PixelData = np.frombuffer(film.PixelData, "u2").byteswap().tobytes()
    film.file_meta.TransferSyntaxUID = form.syntax
    film.file_meta.MediaStorageSOPClassUID, film.file_meta.MediaStorageSOPInstanceUID = film.SOPClassUID, "1.2.3"
    buffer = io.BytesIO()
    encoding = {"implicit_vr": is_implicit, "little_endian": is_little, "force_encoding": True}
    if form.start == "bare":
        dcmwrite(buffer, Dataset(film), **encoding)
        return buffer.getvalue()
    if not form.has_syntax:
        del film.file_meta.TransferSyntaxUID
    dcmwrite(buffer, film, **encoding)
    data = buffer.getvalue()
    return data[{"whole": 0, "magic": 128, "meta": 132}[form.start] :]
