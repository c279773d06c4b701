import io

import numpy as np
import pytest
from cxr14_tree import grey
from PIL import Image
from pydicom import FileDataset
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from evax.data.film import BadFilmError
from evax.data.reading import read_grey

FILM = grey(3, 80, 100)
SMOOTH = np.add.outer(np.arange(80), np.arange(100)).astype(np.uint8)
TWELVE = FILM.astype(np.uint16) * 16  # 0 to 3840 of 4095


@pytest.fixture
def write(tmp_path):
    """Writes a film with some elements changed, and gives its path."""

    def save(stored=TWELVE, syntax=ExplicitVRLittleEndian, **elements):
        film = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=bytes(128))
        film.file_meta.TransferSyntaxUID = syntax
        film.file_meta.MediaStorageSOPClassUID = film.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        film.SOPClassUID = film.SOPInstanceUID = "1.2.3"
        film.Rows, film.Columns = stored.shape[:2]
        film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
        film.BitsAllocated, film.BitsStored = 8 * stored.itemsize, 12 if stored.itemsize == 2 else 8
        film.PixelRepresentation = int(stored.dtype.kind == "i")
        film.PixelData = stored.tobytes()
        for name, value in elements.items():
            setattr(film, name, value)
        film.HighBit = film.BitsStored - 1
        buffer = io.BytesIO()
        film.save_as(buffer, enforce_file_format=True)
        path = tmp_path / "film.dcm"
        path.write_bytes(buffer.getvalue())
        return path

    return save


def reason(path, **limits):
    with pytest.raises(BadFilmError) as caught:
        read_grey(path, **limits)
    return caught.value.reason


def near(path, expected):
    np.testing.assert_allclose(read_grey(path).astype(int), expected, atol=1)


def test_without_a_window_the_bit_depth_decides_as_in_png(write):
    np.testing.assert_array_equal(read_grey(write()), np.rint(TWELVE * (255 / 4095)))


def test_eight_bits_stay_as_they_are(write):
    np.testing.assert_array_equal(read_grey(write(FILM)), FILM)


def test_monochrome1_is_the_negative(write):
    positive = read_grey(write())
    np.testing.assert_array_equal(read_grey(write(PhotometricInterpretation="MONOCHROME1")), 255 - positive)


@pytest.mark.parametrize("several", [False, True])
def test_the_first_window_is_applied(several, write):
    center, width = ([2000, 1], [1000, 2]) if several else (2000, 1000)
    shown = np.clip((TWELVE - 1999.5) / 999 + 0.5, 0, 1) * 255
    near(write(WindowCenter=center, WindowWidth=width), shown)


def test_the_window_is_in_rescaled_units(write):
    rescaled = TWELVE * 2.0 - 1000
    shown = np.clip((rescaled - 2999.5) / 1999 + 0.5, 0, 1) * 255
    near(write(RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=3000, WindowWidth=2000), shown)


def test_monochrome1_is_inverted_after_the_window(write):
    shown = np.clip((TWELVE - 1999.5) / 999 + 0.5, 0, 1) * 255
    near(write(WindowCenter=2000, WindowWidth=1000, PhotometricInterpretation="MONOCHROME1"), 255 - shown)


def test_signed_values_start_at_the_lowest(write):
    signed = TWELVE.astype(np.int16) - 1000
    expected = (signed - signed.min()) * (255 / 4095)
    near(write(signed, BitsStored=16), expected)


def test_a_window_of_no_width_is_ignored(write):
    near(write(WindowCenter=2000, WindowWidth=0), TWELVE * (255 / 4095))


def test_a_voi_table_is_applied(write):
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table["LUTDescriptor"].VR = "US"
    table.add_new("LUTData", "OW", (np.arange(4096, dtype=np.uint16)[::-1] * 16).tobytes())
    near(write(VOILUTSequence=[table]), (4095 - TWELVE.astype(int)) * 16 * (255 / 65535))


def test_colour_becomes_luma(write):
    path = write(np.dstack([FILM] * 3), SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    np.testing.assert_array_equal(read_grey(path), FILM)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"NumberOfFrames": 2}, "frames"),
        ({"PhotometricInterpretation": "HSV"}, "mode"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "undecodable"),  # without its palette
        ({"stored": np.zeros((80, 80), np.uint16)}, "flat"),
        ({"stored": TWELVE[:40]}, "too_small"),
        ({"Rows": 200}, "truncated"),
    ],
)
def test_what_cannot_be_a_film_has_its_reason(elements, expected, write):
    assert reason(write(**elements)) == expected


def palette(bits):
    """Red, green and blue that make the stored value a grey of as much, in entries of `bits`."""
    elements = {}
    for colour in ("Red", "Green", "Blue"):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        entries = np.arange(256, dtype=np.uint8) if bits == 8 else np.arange(256, dtype=np.uint16) * 257
        elements[f"{colour}PaletteColorLookupTableData"] = entries.tobytes()
    return elements


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_is_applied(bits, write):
    path = write(FILM, PhotometricInterpretation="PALETTE COLOR", **palette(bits))
    np.testing.assert_array_equal(read_grey(path), FILM)


def test_luma_of_stored_luma_and_chroma(write):
    grey_ycc = np.dstack([FILM, np.full_like(FILM, 128), np.full_like(FILM, 128)])
    near(write(grey_ycc, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL", PlanarConfiguration=0), FILM)


def encoded(image, form, **settings):
    """One frame as DICOM encapsulates it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form, **settings)
    return encapsulate([buffer.getvalue()])


def rle(image):
    """A frame of 8 bits in one run-length segment of literal runs."""
    runs = b"".join(bytes([len(row) - 1]) + row.tobytes() for row in image)
    return encapsulate([np.array([1, 64, *[0] * 14], "<u4").tobytes() + runs])


@pytest.mark.parametrize(
    ("syntax", "data", "error"),
    [
        (JPEGBaseline8Bit, encoded(SMOOTH, "JPEG", quality=95), 3),
        (JPEG2000Lossless, encoded(SMOOTH, "JPEG2000", no_jp2=True), 0),
        (JPEG2000, encoded(SMOOTH, "JPEG2000", no_jp2=True, irreversible=True, quality_layers=[5]), 3),
        (RLELossless, rle(SMOOTH), 0),
    ],
)
def test_usual_compressions_are_read(syntax, data, error, write):
    path = write(SMOOTH, syntax, PixelData=data)
    np.testing.assert_allclose(read_grey(path).astype(int), SMOOTH, atol=error)
    path.write_bytes(path.read_bytes()[: -len(data) // 2])
    assert reason(path) in ("truncated", "undecodable")


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, MPEG2MPML])
def test_a_compression_without_decoder_names_itself_and_the_fix(syntax, write, monkeypatch):
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.is_available", False)
    with pytest.raises(BadFilmError) as caught:
        read_grey(write(SMOOTH, syntax, PixelData=encapsulate([bytes(100)])))
    fix = "convert it" if syntax == MPEG2MPML else r"pip install -e '.[codec]'"
    assert caught.value.reason == "codec"
    assert caught.value.detail.startswith(f"{syntax.name}: {fix}")


def test_a_cut_file_is_refused_at_every_length(write):
    path = write()
    data = path.read_bytes()
    for length in (133, 200, 400, len(data) // 2, len(data) - 9):
        path.write_bytes(data[:length])
        assert reason(path) in ("truncated", "undecodable")


def test_a_file_without_the_magic_bytes_is_no_image(write):
    path = write()
    path.write_bytes(path.read_bytes()[132:])
    assert reason(path) == "not_an_image"


def test_pixel_limit_is_checked_before_decoding(write):
    assert reason(write(Rows=60_000, Columns=60_000)) == "too_large"


def test_names_of_patients_are_never_written(write, capfd, caplog):
    path = write(PatientName="Planted^Name", PatientID="planted", Rows=200)
    assert reason(path) == "truncated"
    assert "lanted" not in "".join((*capfd.readouterr(), caplog.text))


@pytest.mark.data
def test_real_film_under_both_tags(shared_data):
    one, two = (read_grey(shared_data / f"dicom/monochrome{number}.dcm") for number in (1, 2))
    assert one.shape == (1024, 1024)
    np.testing.assert_array_equal(one, 255 - two)
    assert two[:40].mean() < two[400:600, 450:570].mean()  # air above the shoulders is darker than the spine
