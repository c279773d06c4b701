"""What is no image, cannot be decoded, or contradicts itself: refused by name."""

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from cxr14_tree import grey
from dicom_files import Form, Stored, image, table, written
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
)

from evax.data.dicom import grey_from_dicom
from evax.data.dicom_file import HEAD, is_dicom, no_image_in
from evax.data.film import BadFilmError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of odd values, which are meant
STORED = Stored(grey(3, 16, 16).astype(int) * 16, 12)
COLOUR = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
CORPUS = Path(pydicom.__file__).parent / "data"
REASONS = {"no_image", "truncated", "undecodable", "codec", "mode", "frames"}


def refusal(data):
    with pytest.raises(BadFilmError) as caught:
        grey_from_dicom(data, 10**6)
    return caught.value.reason, caught.value.detail


def file_of(**elements):
    return written(image(STORED, **elements), Form(), STORED.words())


@pytest.mark.parametrize(
    ("elements", "reason", "text"),
    [
        ({"Rows": None}, "undecodable", "Rows is missing"),
        ({"BitsStored": None}, "undecodable", "BitsStored is missing"),
        ({"BitsAllocated": None}, "undecodable", "BitsAllocated is missing"),
        ({"PixelRepresentation": None}, "undecodable", "PixelRepresentation is missing"),
        ({"SamplesPerPixel": None}, "undecodable", "SamplesPerPixel is missing"),
        ({"PhotometricInterpretation": None}, "undecodable", "PhotometricInterpretation is missing"),
        ({"PhotometricInterpretation": ""}, "undecodable", "PhotometricInterpretation is missing"),
        ({"BitsStored": 17}, "undecodable", "BitsStored=17.* contradict"),
        ({"BitsStored": 0}, "undecodable", "BitsStored=0.* contradict"),
        ({"HighBit": 7}, "undecodable", "HighBit=7.* contradict"),
        ({"HighBit": 16}, "undecodable", "HighBit=16.* contradict"),
        ({"PixelRepresentation": 2}, "undecodable", "PixelRepresentation=2.* contradict"),
        ({"BitsAllocated": 12}, "mode", "of 12 bits"),
        ({"BitsAllocated": 64}, "mode", "of 64 bits"),
        ({"PhotometricInterpretation": "RGB"}, "mode", "RGB of 1 samples"),
        ({"PhotometricInterpretation": "HSV"}, "mode", "HSV of 1 samples"),
        ({"SamplesPerPixel": 3}, "mode", "MONOCHROME2 of 3 samples"),
        (COLOUR | {"PhotometricInterpretation": "YBR_FULL"}, "mode", "YBR_FULL of 3 samples of 16 bits"),
        (COLOUR | {"PixelRepresentation": 1}, "mode", "of 16 bits, signed"),
        ({"SamplesPerPixel": 4}, "mode", "of 4 samples"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "undecodable", "palette is missing"),
        ({"RescaleSlope": "0", "RescaleIntercept": "1"}, "undecodable", "RescaleSlope is 0"),
        ({"RescaleSlope": "nan", "RescaleIntercept": "1"}, "undecodable", "RescaleSlope is not a number"),
        ({"WindowCenter": "40", "WindowWidth": "inf"}, "undecodable", "WindowWidth is not a number"),
        ({"WindowCenter": "4", "WindowWidth": "9", "VOILUTFunction": "CUBIC"}, "mode", "VOILUTFunction=CUBIC"),
        ({"PresentationLUTShape": "LIN OD"}, "mode", "PresentationLUTShape=LIN OD"),
        (
            {"PresentationLUTSequence": table(np.arange(4), 0, 8), "PhotometricInterpretation": "MONOCHROME1"},
            "mode",
            "PresentationLUTSequence of MONOCHROME1",
        ),
        ({"NumberOfFrames": 3}, "frames", "3 frames"),
        ({"NumberOfFrames": 0}, "frames", "0 frames"),
        ({"Rows": 8}, "frames", "2 frames"),
        ({"Rows": 17}, "truncated", "ends too early"),
        ({"Rows": 0}, "undecodable", "damaged"),
    ],
)
def test_a_header_that_makes_no_sense_is_named(elements, reason, text):
    found, detail = refusal(file_of(**elements))
    assert found == reason
    assert re.search(text, detail)
    assert ": " in detail or "," in detail  # and then the fix


def test_a_table_with_too_few_entries_is_named():
    sequence = table(np.arange(4), 0, 12)
    sequence[0].LUTDescriptor = [9, 0, 12]
    assert refusal(file_of(VOILUTSequence=sequence)) == (
        "undecodable",
        "LUTData of VOILUTSequence has fewer than its 9 entries: fetch or export it again",
    )


@pytest.mark.parametrize("missing", ["PixelData", "empty"])
def test_an_image_without_pixels_is_damaged(missing):
    film = image(STORED)
    if missing == "PixelData":
        del film.PixelData
    assert refusal(written(film, Form()))[0] == "truncated"


def test_floating_point_is_refused():
    film = image(STORED)
    del film.PixelData
    film.FloatPixelData = np.zeros(256, np.float32).tobytes()
    assert refusal(written(film, Form())) == ("mode", "pixels in floating point: export it with whole numbers")


def compressed(syntax, frame=b"\xff\xd8" + bytes(98), **elements):
    film = image(STORED, PixelData=encapsulate([frame]), **elements)
    film["PixelData"].is_undefined_length = True
    film["PixelData"].VR = "OB"
    return written(film, Form(UID(syntax)))


CODEC = "pip install -e '.[codec]' in the clone of evax"
LIBJPEG = "pip install pylibjpeg pylibjpeg-libjpeg (under the GPL)"


@pytest.mark.parametrize(
    ("syntax", "elements", "reason", "text"),
    [
        (JPEGExtended12Bit, {}, "codec", LIBJPEG),
        (JPEGExtended12Bit, {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "undecodable", "damaged"),
        (
            JPEG2000,
            {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0},
            "codec",
            CODEC,
        ),
        (JPEGLSLossless, {}, "codec", CODEC),
        (
            "1.2.840.10008.1.2.4.201",
            {},
            "codec",
            "High-Throughput JPEG 2000 .*: convert it",
        ),
        ("1.2.840.10008.1.2.4.100", {}, "codec", "MPEG2 .*: convert it"),
        ("1.2.840.10008.1.2.4.94", {}, "codec", "JPIP .*: convert it"),
        (ExplicitVRLittleEndian, {}, "undecodable", "are not Explicit VR Little Endian, as TransferSyntaxUID says"),
        (RLELossless, {}, "undecodable", "damaged"),
    ],
)
def test_a_compression_that_is_not_decoded_names_the_fix(syntax, elements, reason, text, monkeypatch):
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.available_plugins", ("pillow",))
    if syntax in (JPEGLSLossless, "1.2.840.10008.1.2.4.201"):
        monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.is_available", False)
    found, detail = refusal(compressed(syntax, **elements))
    pattern = re.escape(text) if text in (CODEC, LIBJPEG) else text
    assert (found, bool(re.search(pattern, detail))) == (reason, True), detail


def test_twelve_bits_of_jpeg_extended_need_more_than_gdcm(monkeypatch):
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.available_plugins", ("gdcm", "pillow"))
    assert refusal(compressed(JPEGExtended12Bit))[0] == "codec"
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.available_plugins", ("pillow", "pylibjpeg"))
    assert refusal(compressed(JPEGExtended12Bit))[0] == "undecodable"  # here it is only tried


def test_a_private_compression_is_named():
    data = compressed(JPEG2000).replace(b"1.2.840.10008.1.2.4.91", b"1.2.840.99999.1.2.4.91")
    assert refusal(data) == (
        "codec",
        "1.2.840.99999.1.2.4.91: convert it to a compression that DICOM has for images",
    )


def test_pixels_that_are_not_compressed_as_they_say():
    data = written(image(STORED), Form(), STORED.words()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    assert refusal(data)[1].startswith("its pixels are not RLE Lossless, as TransferSyntaxUID says")


CLASSES = {
    "1.2.840.10008.5.1.4.1.1.88.11": "Basic Text SR",
    "1.2.840.10008.5.1.4.1.1.88.67": "X-Ray Radiation Dose SR",
    "1.2.840.10008.5.1.4.1.1.11.1": "Grayscale Softcopy Presentation State",
    "1.2.840.10008.5.1.4.1.1.88.59": "Key Object Selection Document",
    "1.2.840.10008.5.1.4.1.1.104.1": "Encapsulated PDF",
    "1.2.840.10008.5.1.4.1.1.481.5": "RT Plan",
    "1.2.840.10008.5.1.4.1.1.9.1.1": "12-lead ECG Waveform",
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation",
    "1.2.840.10008.5.1.4.1.1.481.2": "RT Dose",
}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("start", ["whole", "bare"])
@pytest.mark.parametrize("has_pixels", [False, True])
def test_objects_of_other_classes_are_no_image(has_pixels, start, syntax, tmp_path):
    for uid, name in CLASSES.items():
        film = image(STORED, SOPClassUID=uid)
        if not has_pixels:
            for keyword in ("PixelData", "Rows", "Columns", "BitsStored", "BitsAllocated", "HighBit"):
                delattr(film, keyword)
        data = written(film, Form(syntax, start), STORED.words() if has_pixels else None)
        assert is_dicom(data[:HEAD])
        assert refusal(data) == ("no_image", f"a DICOM file without an image ({name})")
        (tmp_path / "a").write_bytes(data)
        assert no_image_in(tmp_path / "a") == f"a DICOM file without an image ({name})"


def bare(**elements):
    film = image(STORED, SOPClassUID="1.2.3.4", **elements)
    for keyword in ("PixelData", "Rows", "Columns", "BitsStored", "BitsAllocated", "HighBit"):
        delattr(film, keyword)
    return film


def test_a_directory_is_no_image():
    film = bare(DirectoryRecordSequence=[Dataset()])
    assert refusal(written(film, Form())) == ("no_image", "a DICOM file without an image (Media Storage Directory)")


@pytest.mark.parametrize(
    ("modality", "reason"), [("SR", "no_image"), ("PR", "no_image"), ("DX", "truncated"), ("", "truncated")]
)
def test_of_an_unknown_class_the_modality_tells(modality, reason):
    assert refusal(written(bare(Modality=modality), Form()))[0] == reason


def test_an_image_that_is_cut_in_its_header_is_damaged(tmp_path):
    data = file_of()
    for length in range(HEAD + 200, len(data) - 2 * 256, 7):
        (tmp_path / "a").write_bytes(data[:length])
        assert refusal(data[:length])[0] in ("truncated", "undecodable")
        assert no_image_in(tmp_path / "a") == ""


@pytest.mark.parametrize(
    "head", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"<html>", bytes(200), b"\x08\0\x05\0zz"]
)
def test_other_files_are_no_dicom(head, tmp_path):
    assert not is_dicom(head)
    (tmp_path / "a").write_bytes(head)
    assert no_image_in(tmp_path / "a") == ""


def test_every_file_that_pydicom_brings_is_read_or_refused_by_name():
    reasons, details = {}, set()
    for path in sorted(path for path in CORPUS.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if not is_dicom(data[:HEAD]):
            continue
        try:
            grey_from_dicom(data, 10**7)
            reasons[path.name] = "read"
        except BadFilmError as error:
            reasons[path.name] = error.reason
            details.add(error.detail)
    assert set(reasons.values()) <= REASONS | {"read"}
    assert all(re.search(r"[a-z]{3}.*(: |, |\()", detail) for detail in details)  # no bare name of an exception
    assert reasons["JPGExtended.dcm"] in ("codec", "read")
    assert reasons["DICOMDIR"] == reasons["test-SR.dcm"] == reasons["rtplan_truncated.dcm"] == "no_image"
    assert reasons["MR_truncated.dcm"] == "truncated"
    assert reasons["image_dfl.dcm"] == reasons["MR_small_bigendian.dcm"] == "read"
