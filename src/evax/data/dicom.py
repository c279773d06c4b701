"""Decode single-frame DICOM films to 8-bit grey."""

import io
import logging
import warnings

import numpy as np
from jaxtyping import Real, UInt8
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, get_decoder

from evax.data.film import BadFilmError
from evax.data.windowing import check_size, full_range, window

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it quotes elements, which may name patients

MAGIC = slice(128, 132)  # after a preamble of any content
PALETTE = "PALETTE COLOR"
CODECS = "pip install -e '.[codec]'"


def is_dicom(data: bytes) -> bool:
    """Whether a file is DICOM by its magic bytes; files without a preamble are refused like any other content."""
    return data[MAGIC] == b"DICM"


def grey_from_dicom(data: bytes, max_pixels: int) -> UInt8[np.ndarray, "H W"]:
    """Stored values through the modality LUT or rescale, then the VOI LUT or window; MONOCHROME1 is inverted.

    Colour, also of a palette, becomes luma. Without a VOI the smallest usual bit depth that holds the film is the
    window, as in PNG files of 16 bits.
    Raises BadFilmError with a reason: truncated, undecodable, codec, mode, frames, too_large.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd values of elements that do not matter here
        try:
            film = dcmread(io.BytesIO(data))
            _check(film, max_pixels)
            _check_codec(film)
            return _grey(film, film.pixel_array)
        except BadFilmError:
            raise
        except Exception as error:  # pydicom raises whatever a broken element leads to
            raise BadFilmError(_reason(error), type(error).__name__) from None


def _reason(error: Exception) -> str:
    text = str(error)
    is_short = isinstance(error, EOFError) or "less than expected" in text or "truncated" in text
    return "truncated" if is_short else "undecodable"


def _check_codec(film: Dataset) -> None:
    """Refuse a compression that no installed library decodes."""
    syntax = film.file_meta.TransferSyntaxUID
    try:
        is_known = not syntax.is_compressed or get_decoder(syntax).is_available
    except NotImplementedError:
        raise BadFilmError("codec", f"{syntax.name}: convert it to a compression that DICOM has for films") from None
    if not is_known:
        raise BadFilmError("codec", f"{syntax.name}: {CODECS}")


def _check(film: Dataset, max_pixels: int) -> None:
    if "PixelData" not in film:
        raise BadFilmError("truncated", "no pixels, or not all of them")
    if int(film.get("NumberOfFrames") or 1) != 1:
        raise BadFilmError("frames", f"{film.NumberOfFrames} frames, one wanted")
    check_size((film.Columns, film.Rows), max_pixels)
    mode = film.PhotometricInterpretation
    if film.SamplesPerPixel == 3 and film.BitsAllocated == 8:
        return
    if mode not in ("MONOCHROME1", "MONOCHROME2", PALETTE) or film.SamplesPerPixel != 1:
        raise BadFilmError("mode", f"{mode} of {film.SamplesPerPixel} samples of {film.BitsAllocated} bits")


def _grey(film: Dataset, stored: Real[np.ndarray, "..."]) -> UInt8[np.ndarray, "H W"]:
    if film.PhotometricInterpretation == PALETTE:
        stored = apply_color_lut(stored, film)
        stored = (stored >> 8).astype(np.uint8) if stored.dtype == np.uint16 else stored
    if stored.ndim == 3:
        return np.array(Image.fromarray(stored).convert("L"))
    values = apply_modality_lut(stored, film)
    shown = window(*_windowed(film, values))
    return 255 - shown if film.PhotometricInterpretation == "MONOCHROME1" else shown


def _windowed(film: Dataset, values: Real[np.ndarray, "H W"]) -> tuple[Real[np.ndarray, "H W"], float, float]:
    """Values after the VOI transformation, and what shows them as black and white."""
    if film.get("VOILUTSequence"):
        return apply_voi_lut(values, film), 0.0, 2.0 ** int(film.VOILUTSequence[0].LUTDescriptor[2]) - 1
    if film.get("WindowCenter") is not None and _first(film.get("WindowWidth", 0)) >= 1:
        return (apply_voi_lut(values, film), *_output_range(film))
    low = min(0.0, float(values.min()))
    return values, low, low + full_range(float(values.max()) - low)


def _output_range(film: Dataset) -> tuple[float, float]:
    """The range that a window's output fills, by DICOM PS3.3 C.11.2.1.2: that of all values that could be stored."""
    if film.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** int(film.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits, is_signed = film.BitsStored, film.PixelRepresentation == 1
    ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if is_signed else [0, 2**bits - 1])
    low, high = ends * float(film.get("RescaleSlope", 1)) + float(film.get("RescaleIntercept", 0))
    return float(low), float(high)


def _first(value: object) -> float:
    """The first of one or several numbers."""
    numbers = np.atleast_1d(np.asarray(value, np.float64))
    return float(numbers[0]) if len(numbers) else 0.0
