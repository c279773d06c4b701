import io
import struct

import numpy as np
import pytest
from cxr14_tree import grey
from PIL import Image

from evax.data.film import BadFilmError
from evax.data.reading import read_grey

FILM = grey(0, 80, 100)


def saved(form, **settings):
    buffer = io.BytesIO()
    Image.fromarray(FILM).save(buffer, form, **settings)
    return buffer.getvalue()


JPEG = saved("JPEG")
FRAME = JPEG.index(b"\xff\xc0")


def refusal(data, tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(data)
    with pytest.raises(BadFilmError) as caught:
        read_grey(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "it is empty (0 bytes); fetch it again"),
        (bytes(4000), "nothing but zeros: fetch"),
        (b"<!DOCTYPE html><html><body>sign in", "it is a web page, as of a failed download; fetch the file itself"),
        (b"\xef\xbb\xbf\n<!-- x -->\n<HTML>", "it is a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "it is a Git LFS pointer, not the file itself; run git lfs pull",
        ),
        (saved("TIFF"), "a TIFF file: convert it to PNG"),
        (saved("BMP"), "a BMP file: convert"),
        (saved("GIF"), "a GIF file: convert"),
        (saved("WEBP"), "a WebP file: convert"),
        (saved("JPEG2000"), "a JPEG 2000 file: convert"),
        (saved("JPEG2000", no_jp2=True), "a JPEG 2000 file: convert"),
        (b"\0\0\0\x18ftypheic", "a HEIF, AVIF or video file: convert"),
        (b"PK\3\4" + bytes(50), "a ZIP archive: unpack it"),
        (b"\x1f\x8b\x08" + bytes(50), "a gzip archive: unpack it"),
        (b" \x08\0\x05\0CS\x0a\0ISO_IR 100", "a DICOM file with odd bytes before it: export it again"),
        (b"nothing known", "neither PNG, JPEG nor DICOM"),
    ],
)
def test_other_files_say_what_they_are(data, text, tmp_path):
    assert refusal(data, tmp_path).startswith(f"not_an_image: {text}")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (JPEG[: FRAME + 4] + b"\x0c" + JPEG[FRAME + 5 :], "codec: a JPEG of 12 bits: convert it to PNG"),
        (JPEG[: FRAME + 1] + b"\xc3" + JPEG[FRAME + 2 :], "codec: a lossless JPEG: convert it to PNG"),
        (JPEG[:3], "truncated: its header is damaged"),
        (JPEG[: FRAME + 3], "truncated: its header is damaged"),
        (JPEG[:-2], "truncated: the file ends too early: fetch"),
        (saved("PNG")[:8], "truncated: its header is damaged"),
        (saved("PNG")[:-12], "truncated: the file ends too early: fetch"),
        (saved("PNG", save_all=True, append_images=[Image.fromarray(255 - FILM)]), "frames: an animated PNG: save"),
    ],
)
def test_png_and_jpeg_that_are_not_read_say_why(data, text, tmp_path):
    assert refusal(data, tmp_path).startswith(text)


def test_the_kind_of_jpeg_is_found_behind_any_segment(tmp_path):
    comment = b"\xff\xfe" + struct.pack(">H", 5000) + b"\xff\xc3" * 2499  # as of a frame, and is none
    path = tmp_path / "image.jpg"
    path.write_bytes(JPEG[:2] + comment + JPEG[2:])
    assert read_grey(path).shape == FILM.shape


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "image.png"
    path.write_bytes(saved("PNG", exif=exif))
    turned = {2: np.fliplr, 3: lambda a: a[::-1, ::-1], 4: np.flipud, 5: np.transpose, 6: lambda a: np.rot90(a, -1)}
    turned |= {7: lambda a: a[::-1, ::-1].T, 8: np.rot90}
    np.testing.assert_array_equal(read_grey(path), turned.get(orientation, np.asarray)(FILM))


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03", b"Exif\0\0nonsense"])
def test_damaged_exif_does_not_cost_the_image(exif, tmp_path):
    path = tmp_path / "image.jpg"
    path.write_bytes(saved("JPEG", exif=exif))
    assert read_grey(path).shape == FILM.shape


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palettes_of_fewer_bits_are_black_to_white(bits, tmp_path):
    levels = np.tile(np.arange(80) * 2**bits // 80, (80, 1))
    image = Image.frombytes("P", (80, 80), levels.astype(np.uint8).tobytes())
    image.putpalette([value * 255 // (2**bits - 1) for value in range(2**bits) for _ in range(3)])
    path = tmp_path / "image.png"
    image.save(path, bits=bits)
    np.testing.assert_array_equal(read_grey(path), levels * (255 // (2**bits - 1)))
