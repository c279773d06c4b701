"""Open DICOM files, also those that lack what comes before their data set, and tell images from other objects."""

import logging
import warnings
from collections.abc import Iterable
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any, Literal

from pydicom import Dataset, FileDataset, dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it quotes elements, which may name patients

MAGIC = b"DICM"
PREAMBLE = 128  # bytes of any content before the magic ones
HEAD = PREAMBLE + len(MAGIC)  # how much of a file tells whether it is DICOM
FIRST_GROUPS = (0x0002, 0x0004, 0x0008)  # meta header, directory, or an object that starts without either
LONGEST_FIRST = 256  # of the first element's value: a length, a character set, or a class
ENCODINGS: dict[tuple[bool | None, bool | None], UID] = {  # by (implicit, little endian), for files that do not tell
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}
KIND = ("SOPClassUID", "Modality", "Rows", "DirectoryRecordSequence")  # what tells images from other objects
NO_PICTURE = "a DICOM file without an image ({})"
NO_IMAGES = (  # modalities
    *("SR", "PR", "KO", "DOC", "PLAN", "RTPLAN", "RTSTRUCT", "RTRECORD", "RTDOSE", "SEG", "REG", "FID", "RWV"),
    *("AU", "ECG", "EPS", "HD"),
)


def is_dicom(head: bytes) -> bool:
    """Whether a file is DICOM by its first HEAD bytes: by the magic ones, or by a first element as DICOM has it."""
    return MAGIC in (head[PREAMBLE:HEAD], head[: len(MAGIC)]) or _starts_with_element(head)


def open_dicom(file: BufferedIOBase, **options: Any) -> FileDataset:
    """What `dcmread` makes of a file with or without preamble, meta header and transfer syntax.

    The transfer syntax of files that lack it is that of their encoding. Raises whatever pydicom does.
    """
    starts_with_magic = file.read(len(MAGIC)) == MAGIC
    file.seek(0)
    film = dcmread(BytesIO(file.read()[len(MAGIC) :]) if starts_with_magic else file, force=True, **options)
    syntax = str(film.file_meta.get("TransferSyntaxUID") or "").strip(" \0")
    film.file_meta.TransferSyntaxUID = UID(syntax) if syntax else ENCODINGS[film.original_encoding]
    return film


def read_header(path: Path, tags: Iterable[str]) -> FileDataset | None:
    """Elements before the pixels of a DICOM file; None of any other file, and of a header that cannot be read."""
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            if not is_dicom(file.read(HEAD)):
                return None
            file.seek(0)
            film = open_dicom(file, stop_before_pixels=True, specific_tags=list(tags))
            list(film)  # values are read when they are asked for
            return film
    except Exception:  # its pixels will be refused with a reason
        return None


def no_image_in(path: Path) -> str:
    """Why a DICOM file is no image (see `why_no_image`), by its header; "" of any other file."""
    film = read_header(path, KIND)
    return why_no_image(film) if film else ""


def why_no_image(film: Dataset) -> str:
    """What a DICOM object is that holds no picture, by its class or modality; "" of images and of what does not tell.

    Classes without "Image" in their name are of directories, reports, states, plans, and maps of other images.
    """
    if "DirectoryRecordSequence" in film:
        return NO_PICTURE.format("Media Storage Directory")
    meta = getattr(film, "file_meta", Dataset())
    kind = UID(str(film.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or ""))
    if kind.type == "SOP Class" and "Storage" in kind.name:
        return "" if "Image" in kind.name else NO_PICTURE.format(kind.name.removesuffix(" Storage"))
    modality = str(film.get("Modality") or "")
    return NO_PICTURE.format(f"modality {modality}") if modality in NO_IMAGES and "Rows" not in film else ""


def _starts_with_element(head: bytes) -> bool:
    if len(head) < 8:
        return False
    order: Literal["big", "little"] = "big" if head[0] == 0 else "little"
    group, element = (int.from_bytes(head[at : at + 2], order) for at in (0, 2))
    tag = (group << 16) + element
    if group not in FIRST_GROUPS or not (element == 0 or dictionary_has_tag(tag)):
        return False
    is_explicit = head[4:6] == (b"UL" if element == 0 else dictionary_VR(tag).encode())
    return is_explicit or (order == "little" and int.from_bytes(head[4:8], order) <= LONGEST_FIRST)
