"""Decode PNG, JPEG and DICOM films to 8-bit grey, or refuse them with a reason code."""

import io
import signal
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from evax.data.deep_png import is_deep_png, read_deep_png
from evax.data.dicom import grey_from_dicom
from evax.data.dicom_file import HEAD, is_dicom
from evax.data.film import AGAIN, BadFilmError
from evax.data.foreign import JPEG, PNG, content_of, undecoded_jpeg
from evax.data.windowing import check_size, grey_from_uint16

MAX_PIXELS = 64_000_000  # the largest detectors give some 20 million
MIN_SIDE = 64
MAX_ASPECT = 3.0
MIN_STD = 2.0
ORIENTATION = ExifTags.Base.Orientation
GREY_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")

DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    MemoryError,
    OverflowError,
    TypeError,
    KeyError,
    AttributeError,
    struct.error,
    zlib.error,
)


def read_grey(path: Path, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W"]:
    """Decode a PNG, JPEG or DICOM file to grey, 0 black to 255 white, whatever its name ends with.

    Files are turned upright by their EXIF orientation, colour becomes luma, transparency is dropped, 16 bits are
    windowed by the bit depth that holds the image; DICOM files are read by `grey_from_dicom`.
    Raises BadFilmError with a reason: missing, unreadable, not_an_image, no_image, truncated, undecodable, codec, mode,
    frames, too_large, too_small, aspect, flat.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadFilmError("missing") from None
    except OSError as error:
        raise BadFilmError("unreadable", error.strerror or type(error).__name__) from None
    image = grey_from_dicom(data, max_pixels) if is_dicom(data[:HEAD]) else _decode(data, max_pixels)
    check_grey(image)
    return image


def check_grey(image: UInt8[np.ndarray, "H W"]) -> None:
    """Refuse what cannot be a chest film: too small, too long, or without contrast."""
    height, width = image.shape
    if min(height, width) < MIN_SIDE:
        raise BadFilmError("too_small", f"{width}x{height}, at least {MIN_SIDE} wanted")
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise BadFilmError("aspect", f"{width}x{height}, at most {MAX_ASPECT:g}:1 wanted")
    spread = float(image.std())
    if spread < MIN_STD:
        raise BadFilmError("flat", f"standard deviation {spread:.2f}, at least {MIN_STD:g} wanted")


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Refuse a film ("too_slow") whose body takes longer; no limit off the main thread or without SIGALRM."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def refuse(*_: object) -> None:
        raise BadFilmError("too_slow", f"more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, refuse)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _decode(data: bytes, max_pixels: int) -> UInt8[np.ndarray, "H W"]:
    if kind := undecoded_jpeg(data):
        raise BadFilmError("codec", kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # size is checked here, and odd EXIF data does not matter
        try:
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
                check_size(image.size, max_pixels)
                image.verify()  # chunk checksums, which load() skips; closes the image
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
                if image.format == "PNG" and getattr(image, "n_frames", 1) != 1:
                    raise BadFilmError("frames", "an animated PNG: save one image as PNG")
                grey = _deep_grey(data) if is_deep_png(data) else _to_grey(image)
                return _upright(grey, image.getexif())
        except UnidentifiedImageError:
            if data.startswith((PNG, JPEG)):
                raise BadFilmError("truncated", f"its header is damaged, or not all of it is there: {AGAIN}") from None
            raise BadFilmError("not_an_image", content_of(data)) from None
        except Image.DecompressionBombError:
            raise BadFilmError("too_large", f"more than {max_pixels} pixels") from None
        except DECODE_ERRORS as error:
            is_short = "truncated" in str(error).lower()
            text = "the file ends too early" if is_short else "the file is damaged"
            raise BadFilmError("truncated" if is_short else "undecodable", f"{text}: {AGAIN}") from None


def _upright(grey: UInt8[np.ndarray, "H W"], exif: Image.Exif) -> UInt8[np.ndarray, "Y X"]:
    """The image as its EXIF orientation shows it."""
    image = Image.fromarray(grey)
    image.getexif()[ORIENTATION] = exif.get(ORIENTATION, 1)
    return np.array(ImageOps.exif_transpose(image))


def _to_grey(image: Image.Image) -> UInt8[np.ndarray, "H W"]:
    if image.mode not in GREY_MODES:
        raise BadFilmError("mode", f"pixels of kind {image.mode}: convert it to grey PNG of 8 or 16 bits")
    if image.mode == "CMYK":
        image = image.convert("RGB")
    grey = np.array(image.convert("L"))
    if image.has_transparency_data:
        _check_paint(grey, np.array(image.convert("RGBA").getchannel("A")))
    return grey


def _deep_grey(data: bytes) -> UInt8[np.ndarray, "H W"]:
    """The grey of a PNG of 16 bits a channel."""
    colours, alpha = read_deep_png(data)
    grey = grey_from_uint16(colours)
    if alpha is not None:
        _check_paint(grey, alpha // 257)
    return grey


def _check_paint(grey: UInt8[np.ndarray, "H W"], alpha: Shaped[np.ndarray, "H W"]) -> None:
    """Refuse one paint whose transparency (0 to 255 opaque) is the image."""
    if grey.std() < MIN_STD <= alpha.std():
        raise BadFilmError("mode", "the image is in its transparency: flatten it and save it as grey")
