"""What a file is that is none of the images we read: said in its refusal, with the fix."""

from evax.data.contents import HEAD as BEGINNING
from evax.data.contents import mistaken
from evax.data.dicom_file import HEAD, is_dicom
from evax.data.film import AGAIN

TO_PNG = "convert it to PNG"
SIGNATURES = (  # how a file begins, what it is, and the fix
    (b"/annex/objects/", "a pointer of git-annex", "run git annex get"),
    (b"II*\0", "a TIFF file", TO_PNG),
    (b"MM\0*", "a TIFF file", TO_PNG),
    (b"II+\0", "a TIFF file", TO_PNG),
    (b"MM\0+", "a TIFF file", TO_PNG),
    (b"GIF8", "a GIF file", TO_PNG),
    (b"BM", "a BMP file", TO_PNG),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 file", TO_PNG),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 file", TO_PNG),
    (b"\0\0\0\x0cJXL ", "a JPEG XL file", TO_PNG),
    (b"\xff\x0a", "a JPEG XL file", TO_PNG),
    (b"\x5c\x01\0\0", "a NIfTI file", TO_PNG),
    (b"NRRD", "an NRRD file", TO_PNG),
    (b"ObjectType", "a MetaImage file", TO_PNG),
    (b"\x93NUMPY", "a NumPy file", TO_PNG),
    (b"\x89HDF", "an HDF5 file", TO_PNG),
    (b"P5", "a PGM file", TO_PNG),
    (b"%PDF", "a PDF file", TO_PNG),
    (b"PK\3\4", "a ZIP archive", "unpack it"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"\0\x05\x16\x07", "a resource fork of macOS", "delete it"),
)
BRANDS = ((b"RIFF", 8, b"WEBP", "a WebP file"), (b"", 4, b"ftyp", "a HEIF, AVIF or video file"))
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
NO_FRAMES = (0xC4, 0xC8, 0xCC)  # markers of tables among those of frames
LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)


def content_of(data: bytes) -> str:
    """What a file is that is neither PNG, JPEG nor DICOM, and the fix."""
    if told := mistaken(data[:BEGINNING]):
        return told
    if not data.strip(b"\0"):
        return f"nothing but zeros: {AGAIN}"
    for start, kind, fix in SIGNATURES:
        if data.startswith(start):
            return f"{kind}: {fix}"
    for start, at, brand, kind in BRANDS:
        if data.startswith(start) and data[at : at + len(brand)] == brand:
            return f"{kind}: {TO_PNG}"
    if any(is_dicom(data[at : at + HEAD]) for at in range(1, 9)):
        return "a DICOM file with odd bytes before it: export it again"
    return "neither PNG, JPEG nor DICOM"


def undecoded_jpeg(data: bytes) -> str:
    """What makes a JPEG file one that Pillow cannot decode, and the fix; "" where nothing does."""
    at = len(JPEG)
    while data.startswith(JPEG) and len(data) > at + 4 and data[at] == 0xFF:
        marker, bits = data[at + 1], data[at + 4]
        if 0xC0 <= marker <= 0xCF and marker not in NO_FRAMES:
            kind = "a lossless JPEG" if marker in LOSSLESS else f"a JPEG of {bits} bits" if bits != 8 else ""
            return f"{kind}: {TO_PNG} of 8 or 16 bits" if kind else ""
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return ""
