"""Decode single-frame DICOM images to 8-bit grey."""

import io
import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Integer, Real, UInt8
from PIL import Image
from pydicom import Dataset, FileDataset
from pydicom.pixels import apply_color_lut, apply_windowing, get_decoder
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEG2000TransferSyntaxes,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from evax.data.dicom_elements import padding_of, settle, whole
from evax.data.dicom_file import open_dicom, why_no_image
from evax.data.dicom_tables import table_of
from evax.data.film import AGAIN, NO_IMAGE, BadFilmError
from evax.data.windowing import BIT_DEPTHS, check_size, full_range, grey_from_uint16, window

PALETTE, NEGATIVE = "PALETTE COLOR", "MONOCHROME1"
GREYS = (NEGATIVE, "MONOCHROME2")
SHAPES = ("IDENTITY", "INVERSE")
COLOURS = {"RGB": (8, 16), "YBR_FULL": (8,), "YBR_FULL_422": (8,), "YBR_ICT": (8, 16), "YBR_RCT": (8, 16)}  # by bits
CELLS = (1, 8, 16, 32)  # BitsAllocated that are read
ITEM = b"\xfe\xff\x00\xe0"  # how compressed pixels begin
BY_EXTRA = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, JPEG2000, JPEG2000Lossless)  # what the extra decodes
CODECS = "pip install -e '.[codec]' in the clone of evax"
LIBJPEG = "pip install pylibjpeg pylibjpeg-libjpeg (under the GPL)"  # of 12 bits; gdcm has 8 of JPEG Extended
ONE = ", one wanted: export the one to read"
DAMAGED = f"its header or its pixels are damaged: {AGAIN}"


class Shades(NamedTuple):
    """Grey values, and which of them are shown as black and as white."""

    values: Real[np.ndarray, "H W"]
    black: float
    white: float


def grey_from_dicom(data: bytes, max_pixels: int) -> UInt8[np.ndarray, "H W"]:
    """The image as DICOM PS3.4 N.2 has it: stored bits, modality, values of interest, presentation.

    Padding is black. Colour, also of a palette, becomes luma. Without a window or table of interest the smallest usual
    bit depth that holds the stored values is the window, as in PNG files of 16 bits.
    Raises BadFilmError with a reason: no_image, truncated, undecodable, codec, mode, frames, too_large.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd values of elements that do not matter here
        try:
            film = open_dicom(io.BytesIO(data))
            _check_object(film)
            settle(film)
            _check_pixels(film, max_pixels)
            cells = _cells(film, _decoder(film))
            if film.PhotometricInterpretation in GREYS:
                return _grey(film, cells)
            return _luma(film, cells)
        except BadFilmError:
            raise
        except Exception as error:  # pydicom raises whatever a broken element leads to
            is_short = isinstance(error, EOFError) or "less than expected" in str(error) or "truncated" in str(error)
            text = f"the file ends too early: {AGAIN}" if is_short else DAMAGED
            raise BadFilmError("truncated" if is_short else "undecodable", text) from None


def _check_object(film: FileDataset) -> None:
    """Refuse what is no image, or not a single one."""
    if kind := why_no_image(film):
        raise BadFilmError(NO_IMAGE, kind)
    if "FloatPixelData" in film or "DoubleFloatPixelData" in film:
        raise BadFilmError("mode", "pixels in floating point: export it with whole numbers")
    if not film.get("PixelData"):
        raise BadFilmError("truncated", f"no pixels, or not all of them: {AGAIN}")
    frames = whole(film, "NumberOfFrames", 1)
    if frames != 1:
        raise BadFilmError("frames", f"{frames} frames{ONE}")


def _check_pixels(film: Dataset, max_pixels: int) -> None:
    """Refuse pixels of kinds that are not read, and elements that contradict one another."""
    check_size((whole(film, "Columns"), whole(film, "Rows")), max_pixels)
    mode = film.get("PhotometricInterpretation")
    if not mode:
        raise BadFilmError("undecodable", f"PhotometricInterpretation is missing: {AGAIN}")
    samples, allocated, is_signed = (
        whole(film, name) for name in ("SamplesPerPixel", "BitsAllocated", "PixelRepresentation")
    )
    is_colour = mode in COLOURS and samples == 3 and allocated in COLOURS[mode] and not is_signed
    is_grey = mode in (*GREYS, PALETTE) and samples == 1 and allocated in CELLS
    if not (is_colour or is_grey):
        kind = "signed" if is_signed else "unsigned"
        text = f"{mode} of {samples} samples of {allocated} bits, {kind}"
        raise BadFilmError("mode", f"{text}: export it as MONOCHROME2 of 8 or 16 bits")
    if not (1 <= film.BitsStored <= film.HighBit + 1 <= allocated and is_signed in (0, 1)):
        names = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
        text = ", ".join(f"{name}={film[name].value}" for name in names)
        raise BadFilmError("undecodable", f"{text} contradict one another: {AGAIN}")


def _decoder(film: FileDataset) -> Decoder:
    """The decoder of a film's compression; refuses one that no installed library decodes."""
    syntax = film.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise BadFilmError("codec", f"{syntax.name}: convert it to a compression that DICOM has for images") from None
    if _is_in_items(film) != syntax.is_encapsulated:
        raise BadFilmError("undecodable", f"its pixels are not {syntax.name}, as TransferSyntaxUID says: {AGAIN}")
    if not decoder.is_available or not _is_able(decoder, film):
        needed = LIBJPEG if syntax == JPEGExtended12Bit and film.BitsStored > 8 else CODECS
        install = f"{needed}, or " if syntax in BY_EXTRA else ""
        raise BadFilmError("codec", f"{syntax.name}: {install}convert it to Explicit VR Little Endian")
    return decoder


def _is_in_items(film: Dataset) -> bool:
    """Whether pixels are compressed: a table of offsets and at least one fragment, each an item."""
    pixels = film.PixelData
    second = 8 + int.from_bytes(pixels[4:8], "little")
    return film["PixelData"].is_undefined_length or pixels[:4] == pixels[second : second + 4] == ITEM


def _is_able(decoder: Decoder, film: Dataset) -> bool:
    """Whether some library decodes as many bits: in JPEG Extended only libjpeg, in JPEG 2000 in colour not Pillow."""
    if film.BitsStored <= 8:
        return True
    if str(decoder.UID) == JPEGExtended12Bit:
        return "pylibjpeg" in decoder.available_plugins
    is_colour = film.SamplesPerPixel == 3 and decoder.UID in JPEG2000TransferSyntaxes
    return not is_colour or decoder.available_plugins != ("pillow",)


def _cells(film: FileDataset, decoder: Decoder) -> Integer[np.ndarray, "..."]:
    """The words of the pixels, unused bits included: (H, W), or (H, W, 3) in red, green and blue."""
    options: dict[str, Any] = {"correct_unused_bits": False}  # which takes HighBit for BitsStored - 1
    cells, about = decoder.as_array(film, **options)
    if about["number_of_frames"] != 1:
        raise BadFilmError(
            "frames", f"pixels of {about['number_of_frames']} frames, one wanted: export the one to read"
        )
    if cells.ndim == 3 and about["photometric_interpretation"] != "RGB":
        raise BadFilmError("mode", f"{film.PhotometricInterpretation} in {decoder.UID.name}: export it as RGB")
    return cells.astype(cells.dtype.newbyteorder("="), copy=False)


def _stored(film: FileDataset, cells: Integer[np.ndarray, "*S"]) -> Integer[np.ndarray, "*S"]:
    """The stored values: BitsStored bits of each word, up to HighBit, with their sign."""
    syntax = film.file_meta.TransferSyntaxUID
    allocated = 8 * cells.itemsize
    if syntax in (*JPEG2000TransferSyntaxes, *JPEGLSTransferSyntaxes) or film.BitsAllocated == 1:
        return cells  # those streams hold the values themselves
    high = film.BitsStored - 1 if syntax.is_encapsulated and syntax != RLELossless else film.HighBit
    return (cells << (allocated - 1 - high)) >> (allocated - film.BitsStored)


def _luma(film: FileDataset, cells: Integer[np.ndarray, "..."]) -> UInt8[np.ndarray, "H W"]:
    """Luma of red, green and blue, or of what the palette makes of values."""
    colours = _stored(film, cells)
    if film.PhotometricInterpretation == PALETTE:
        try:
            colours = apply_color_lut(colours, film)
        except Exception:  # of a palette that is not there, or not whole
            raise BadFilmError("undecodable", f"its palette is missing or damaged: {AGAIN}") from None
        if colours.dtype == np.uint16 and colours.max() > 255:  # some write 8 bits into 16
            colours = (colours >> 8).astype(np.uint8)
    if colours.dtype == np.uint8:
        return np.array(Image.fromarray(colours).convert("L"))
    return grey_from_uint16(colours)


def _grey(film: FileDataset, cells: Integer[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    stored = _stored(film, cells)
    is_padding = padding_of(film, cells, stored)
    shown = window(*_presented(film, _of_interest(film, _modality(film, stored, ~is_padding))))
    is_negative = film.PhotometricInterpretation == NEGATIVE or film.get("PresentationLUTShape") == "INVERSE"
    return np.where(is_padding, 0, 255 - shown if is_negative else shown).astype(np.uint8)


def _modality(film: Dataset, stored: Integer[np.ndarray, "H W"], is_image: Bool[np.ndarray, "H W"]) -> Shades:
    """Values after the modality table or the rescale pair, shown by the bit depth that holds those of the image."""
    of_image = stored[is_image] if is_image.any() else stored
    bits = film.BitsStored
    if table := table_of(film, "ModalityLUTSequence", *_stored_range(film)):
        return Shades(table(stored), 0.0, full_range(float(table(of_image).max())))
    low = min(0.0, float(of_image.min()))
    depth = 2.0**bits - 1 if bits < BIT_DEPTHS[0] else full_range(float(of_image.max()) - low)
    if "RescaleSlope" not in film:
        return Shades(stored, low, low + depth)
    black, white = sorted(_rescaled(film, np.array([low, low + depth])).tolist())
    return Shades(_rescaled(film, stored), black, white)


def _of_interest(film: Dataset, shades: Shades) -> Shades:
    """Values after the table or the window of interest, where there is one."""
    low, high = _modality_range(film)
    if table := table_of(film, "VOILUTSequence", min(low, high), max(low, high)):
        return Shades(table(shades.values), 0.0, table.white)
    return Shades(apply_windowing(shades.values, film), low, high) if "WindowCenter" in film else shades


def _presented(film: Dataset, shades: Shades) -> Shades:
    """Values after the presentation table, which takes black and white for its ends."""
    shape = film.get("PresentationLUTShape") or "IDENTITY"
    if shape not in SHAPES:
        raise BadFilmError("mode", f"PresentationLUTShape={shape}: export it with {' or '.join(SHAPES)}")
    table = table_of(film, "PresentationLUTSequence", 0.0, 0.0)
    if table is None:
        return shades
    if film.PhotometricInterpretation == NEGATIVE:
        raise BadFilmError("mode", f"PresentationLUTSequence of {NEGATIVE}: export it as MONOCHROME2")
    share = np.clip((shades.values - shades.black) / (shades.white - shades.black), 0, 1)
    return Shades(table(share * (len(table.entries) - 1) + table.first), 0.0, table.white)


def _rescaled(film: Dataset, values: Real[np.ndarray, "*S"]) -> Float64[np.ndarray, "*S"]:
    return values.astype(np.float64) * float(film.RescaleSlope) + float(film.RescaleIntercept)


def _stored_range(film: Dataset) -> tuple[float, float]:
    """The lowest and the highest value that could be stored."""
    bits, is_signed = film.BitsStored, film.PixelRepresentation == 1
    return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if is_signed else (0.0, 2.0**bits - 1)


def _modality_range(film: Dataset) -> tuple[float, float]:
    """What the ends of the stored range become: by DICOM PS3.3 C.11.2.1.2 the range that a window's output fills."""
    if "ModalityLUTSequence" in film:
        return 0.0, 2.0 ** int(film.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    ends = np.array(_stored_range(film))
    low, high = (_rescaled(film, ends) if "RescaleSlope" in film else ends).tolist()
    return low, high
