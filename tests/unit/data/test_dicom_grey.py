"""Every element between stored values and grey, against a reference that knows the true values."""

import itertools
import math

import numpy as np
import pytest
from dicom_files import Form, Stored, image, table, written
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from evax.data.dicom import grey_from_dicom

DEPTHS = (8, 10, 12, 14, 16)
RNG = np.random.default_rng(7)
RESCALES = {  # elements, and the pair that applies
    "none": ({}, (1.0, 0.0)),
    "pair": ({"RescaleSlope": "2", "RescaleIntercept": "-1000"}, (2.0, -1000.0)),
    "fraction": ({"RescaleSlope": "0.001", "RescaleIntercept": "3.5"}, (0.001, 3.5)),
    "falling": ({"RescaleSlope": "-1", "RescaleIntercept": "4095"}, (-1.0, 4095.0)),
    "both empty": ({"RescaleSlope": "", "RescaleIntercept": ""}, (1.0, 0.0)),
    "slope empty": ({"RescaleSlope": "", "RescaleIntercept": "-1024"}, (1.0, 0.0)),
    "intercept empty": ({"RescaleSlope": "2", "RescaleIntercept": ""}, (1.0, 0.0)),
    "slope alone": ({"RescaleSlope": "3"}, (1.0, 0.0)),
    "intercept alone": ({"RescaleIntercept": "-1024"}, (1.0, 0.0)),
}
# function, and how the centres and widths that are given are written; None for the window of the case
WINDOWS = {
    "none": ("", "", None),
    "linear": ("LINEAR", "{c}", "{w}"),
    "exact": ("LINEAR_EXACT", "{c}", "{w}"),
    "sigmoid": ("SIGMOID", "{c}", "{w}"),
    "no function": ("", "{c}", "{w}"),
    "several": ("", "{c}\\1", "{w}\\2"),
    "more centres": ("", "{c}\\1", "{w}"),
    "first empty": ("", "\\{c}", "\\{w}"),
    "empty": ("LINEAR", "", ""),
    "centre alone": ("", "{c}", None),
    "no width": ("", "{c}", "0"),
    "width one": ("", "{c}", "1"),
}

MAIN_RESCALES = ("none", "pair", "fraction", "falling", "both empty", "slope alone", "intercept alone")
MAIN_WINDOWS = ("none", "linear", "exact", "sigmoid", "several", "empty")
GREYS = ("MONOCHROME1", "MONOCHROME2")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of odd values, which are meant


def ends_of(bits, is_signed):
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)


def true_values(bits, is_signed, shape=(8, 8)):
    """Values over the whole range, both of its ends among them."""
    low, high = ends_of(bits, is_signed)
    values = RNG.integers(low, high, shape, endpoint=True)
    values.flat[:4] = low, high, 0, high // 2
    return values


def full(highest):
    return next((2.0**bits - 1 for bits in DEPTHS if highest < 2**bits), highest)


def window_of(name, bits, is_signed, pair):
    """Elements of a window in rescaled units, and (function, centre, width) if one applies."""
    function, centres, widths = WINDOWS[name]
    low, high = sorted(end * pair[0] + pair[1] for end in ends_of(bits, is_signed))
    width = max(1.0 if "EXACT" not in function and function != "SIGMOID" else 0.0, round((high - low) * 0.6, 4))
    centre = round(low + (high - low) * 0.45, 4)
    fill = {"c": f"{centre:.6g}", "w": f"{width:.6g}"}
    elements = {"VOILUTFunction": function} if function or name == "empty" else {}
    elements |= {"WindowCenter": centres.format(**fill)} if centres or name == "empty" else {}
    elements |= {"WindowWidth": widths.format(**fill)} if widths is not None else {}
    if name in ("none", "empty", "centre alone", "no width"):
        return {} if name == "none" else elements, None
    return elements, (function or "LINEAR", float(fill["c"]), 1.0 if name == "width one" else float(fill["w"]))


def through_window(values, function, centre, width):
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, as shares of the output range."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if width == 0:
        return (values > centre).astype(float)
    return np.clip((values - centre) / width + 0.5, 0, 1)


def through_table(values, entries, first):
    return entries[np.clip(np.rint(values).astype(int) - first, 0, len(entries) - 1)].astype(float)


def reference(values, is_padding, *, pair, window, is_negative, modality=None, interest=None):
    """Grey as real numbers from true values; the tables are (entries, first, bits)."""
    real = values[~is_padding]
    low = min(0, real.min())
    ends = [(low + share * full(real.max() - low)) * pair[0] + pair[1] for share in (0, 1)]
    shown = values * pair[0] + pair[1]
    if modality:
        shown = through_table(values, *modality[:2])
        ends = [0, full(shown[~is_padding].max())]
    if interest:
        share = through_table(shown, *interest[:2]) / (2 ** interest[2] - 1)
    elif window:
        share = through_window(shown, *window)
    else:
        share = np.clip((shown - min(ends)) / (max(ends) - min(ends)), 0, 1)
    return np.where(is_padding, 0, 255 * (1 - share if is_negative else share))


def assert_close(data, expected):
    found = grey_from_dicom(data, 10**6)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found.astype(float), expected, atol=0.5001)


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_bits_sign_photometric_rescale_and_window(bits, is_signed):
    for mode, rescale, window in itertools.product(GREYS, MAIN_RESCALES, MAIN_WINDOWS):
        values = true_values(bits, is_signed)
        elements, pair = RESCALES[rescale]
        shown_by, applied = window_of(window, bits, is_signed, pair)
        stored = Stored(values, bits, is_signed, allocated=8 if bits == 8 else 16)
        film = image(stored, PhotometricInterpretation=mode, **elements, **shown_by)
        data = written(film, Form(), stored.words(), stored.allocated)
        kept = np.zeros(values.shape, bool)
        expected = reference(values, kept, pair=pair, window=applied, is_negative=mode == "MONOCHROME1")
        try:
            assert_close(data, expected)
        except Exception as error:
            raise AssertionError(f"{mode}, rescale {rescale}, window {window}") from error


FACTORS = {
    "bits": (1, 4, 8, 10, 12, 15, 16),
    "is_signed": (False, True),
    "mode": ("MONOCHROME1", "MONOCHROME2", "monochrome2 "),
    "rescale": tuple(RESCALES),
    "window": tuple(WINDOWS),
    "allocated": (8, 16, 32),
    "place": ("low", "high", "middle"),
    "junk": ("zeros", "ones", "noise"),
    "padding": ("none", "empty", "value", "zero", "range", "range turned", "other sign", "whole word"),
    "modality": ("none", "empty", "table"),
    "interest": ("none", "without data", "table", "table of words"),
    "presentation": (None, "", "IDENTITY", "INVERSE"),
    "start": ("whole", "magic", "meta", "bare"),
    "syntax": (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
    "has_syntax": (True, False),
}


def cases(count):
    """Cases that hold, between them, every pair of two factors' levels (but those that cannot be)."""
    rng = np.random.default_rng(3)
    names = list(FACTORS)
    wanted = {
        ((a, i), (b, j))
        for a, b in itertools.combinations(names, 2)
        for i in range(len(FACTORS[a]))
        for j in range(len(FACTORS[b]))
    }
    chosen = []
    while len(chosen) < count:
        draws = [{name: int(rng.integers(len(FACTORS[name]))) for name in names} for _ in range(20)]
        pairs = [set(itertools.combinations(draw.items(), 2)) for draw in draws]
        best = max(range(20), key=lambda at: len(pairs[at] & wanted))
        wanted -= pairs[best]
        chosen.append({name: FACTORS[name][at] for name, at in draws[best].items()})
    assert not wanted
    return chosen


def possible(case):
    """The case with what cannot be put right: a word holds the bits, and a bare or unnamed file tells its encoding."""
    case = dict(case)
    if case["allocated"] < case["bits"]:
        case["allocated"] = 16
    if case["start"] == "bare" or not case["has_syntax"]:
        case["has_syntax"] = False
        case["syntax"] = ImplicitVRLittleEndian if case["syntax"] == DeflatedExplicitVRLittleEndian else case["syntax"]
    if case["padding"] == "whole word":
        case |= {"place": "low", "allocated": 16}
    if case["bits"] == 1 or (case["padding"] == "whole word" and (case["bits"] == 16 or case["is_signed"])):
        case["padding"] = "none"
    return case


def padding_of(case, values):
    """Values with padding in the upper rows, which rows these are, and the elements that tell."""
    low, high = ends_of(case["bits"], case["is_signed"])
    rows = np.zeros(values.shape, bool)
    vr = "SS" if case["is_signed"] else "US"
    kind = case["padding"]
    if kind in ("none", "empty"):
        return values, rows, {} if kind == "none" else {"PixelPaddingValue": (vr, None)}
    rows[:3] = True
    if kind == "whole word":  # beyond the bits that are used
        values = np.where(rows, high, np.minimum(values, high))
        return values, rows, {"PixelPaddingValue": ("US", 65535)}
    if kind.startswith("range"):
        limit = low + max(1, (high - low) // 10)
        padding = np.broadcast_to(RNG.integers(low, limit, values.shape, endpoint=True), values.shape)
        values = np.where(rows, padding, np.maximum(values, limit + 1))
        ends = (low, limit) if kind == "range" else (limit, low)
        return values, rows, {"PixelPaddingValue": (vr, ends[0]), "PixelPaddingRangeLimit": (vr, ends[1])}
    pad = {"zero": 0}.get(kind, low if case["is_signed"] else high)
    values = np.where(rows, pad, np.where(values == pad, pad + (1 if pad < high else -1), values))
    if kind == "other sign":
        vr, pad = ("US", pad % 2**16) if case["is_signed"] else ("SS", pad - 2**16 if pad >= 2**15 else pad)
    return values, rows, {"PixelPaddingValue": (vr, pad)}


def run(case):
    bits, is_signed, allocated = case["bits"], case["is_signed"], case["allocated"]
    low, high = ends_of(bits, is_signed)
    values, is_padding, padding = padding_of(case, true_values(bits, is_signed))
    spare = allocated - bits
    place = bits - 1 + {"low": 0, "high": spare, "middle": spare // 2}[case["place"]]
    junk = {"zeros": 0, "ones": -1, "noise": RNG.integers(0, 2**31, values.shape)}[case["junk"]]
    if case["padding"] == "whole word":
        junk = np.where(is_padding, -1, 0)
    stored = Stored(values, bits, is_signed, allocated, place, junk)
    elements, pair = RESCALES[case["rescale"]]
    order = "<" if case["syntax"].is_little_endian else ">"
    modality = interest = None
    if case["modality"] == "table":
        first = low + (high - low) // 8
        modality = (np.sort(RNG.integers(0, 2**12, min(high - low + 1, 300)))[::-1], first, 12)
        vr = "SS" if first < 0 else "US"
        elements = elements | {"ModalityLUTSequence": table(*modality, vr=vr, order=order)}
        pair = (1.0, 0.0)
    elif case["modality"] == "empty":
        elements = elements | {"ModalityLUTSequence": []}
    shown_by, window = window_of(case["window"], bits, is_signed, pair)
    if case["modality"] == "table":
        shown_by, window = window_of(case["window"], 12, False, pair)
    if case["interest"].startswith("table") and pair[0] != 0.001:
        start = 0 if modality else math.floor(min(end * pair[0] + pair[1] for end in (low, high)))
        if -(2**15) <= start < 2**15:
            interest = (RNG.integers(0, 2**10, 200), start + 3, 10)
            data_vr = "US" if case["interest"].endswith("words") else "OW"
            vr = "SS" if start + 3 < 0 else "US"
            shown_by = shown_by | {"VOILUTSequence": table(*interest, vr=vr, data_vr=data_vr, order=order)}
    elif case["interest"] == "without data":
        sequence = table(np.arange(4), 0, 8, order=order)
        del sequence[0].LUTData
        shown_by = shown_by | {"VOILUTSequence": sequence}
    if case["presentation"] is not None:
        shown_by = shown_by | {"PresentationLUTShape": case["presentation"]}
    film = image(stored, PhotometricInterpretation=case["mode"], **elements, **shown_by)
    form = Form(case["syntax"], case["start"], case["has_syntax"], padding)
    data = written(film, form, stored.words(), allocated)
    is_negative = case["mode"] == "MONOCHROME1" or case["presentation"] == "INVERSE"
    settings = {"pair": pair, "window": window, "modality": modality, "interest": interest}
    if bits < 8 and not (modality or interest or window):
        settings["window"] = None
        share = (values - min(0, values[~is_padding].min())) / (2**bits - 1)
        share = 1 - share if pair[0] < 0 else share
        expected = np.where(is_padding, 0, 255 * (1 - share if is_negative else share))
    else:
        expected = reference(values, is_padding, is_negative=is_negative, **settings)
    assert_close(data, expected)


def test_every_pair_of_elements():
    faults = []
    for case in map(possible, cases(420)):
        try:
            run(case)
        except Exception as error:
            faults.append(f"{case}: {type(error).__name__} {str(error)[:300]}")
    assert not faults, f"{len(faults)} faults, the first: {faults[0]}"


def test_a_presentation_table_takes_black_and_white_for_its_ends():
    values = true_values(12, False)
    entries = RNG.integers(0, 2**8, 17)
    stored = Stored(values, 12)
    film = image(stored, PresentationLUTSequence=table(entries, 5, 8))
    expected = through_table(np.clip(values / 4095, 0, 1) * 16, entries, 0)
    assert_close(written(film, Form(), stored.words()), expected)


def test_elements_of_functional_groups_are_those_of_the_image():
    values, group, rescale, shown_by = true_values(12, False), Dataset(), Dataset(), Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = 2, -1000
    shown_by.WindowCenter, shown_by.WindowWidth = 2000, 3000
    group.PixelValueTransformationSequence, group.FrameVOILUTSequence = [rescale], [shown_by]
    stored = Stored(values, 12)
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        film = image(stored, NumberOfFrames=1, **{name: [group]})
        expected = 255 * through_window(values * 2 - 1000, "LINEAR", 2000, 3000)
        assert_close(written(film, Form(), stored.words()), expected)


@pytest.mark.parametrize("bits", [8, 12])
def test_entries_of_eight_bits_may_share_words(bits):
    values, entries = true_values(bits, False), RNG.integers(0, 2**8, 250)
    stored = Stored(values, bits, allocated=16)
    for order, syntax in (("<", ExplicitVRLittleEndian), (">", ExplicitVRBigEndian)):
        sequence = table(entries, 0, 8)
        sequence[0].LUTData = entries.astype(np.uint8).view("<u2").astype(f"{order}u2").tobytes()
        film = image(stored, VOILUTSequence=sequence)
        assert_close(written(film, Form(syntax), stored.words()), through_table(values, entries, 0))


def test_entries_beyond_their_depth_are_not_clipped():
    values, entries = true_values(12, False), np.arange(4096)
    stored = Stored(values, 12)
    assert_close(
        written(image(stored, VOILUTSequence=table(entries, 0, 8)), Form(), stored.words()), values / 4095 * 255
    )


def test_a_table_of_65536_entries():
    values, entries = true_values(16, False), np.arange(2**16)[::-1]
    stored = Stored(values, 16)
    assert_close(
        written(image(stored, VOILUTSequence=table(entries, 0, 16)), Form(), stored.words()), 255 - values / 257
    )


def test_all_padding_is_black():
    stored = Stored(np.full((8, 8), 4000), 12)
    data = written(image(stored), Form(padding={"PixelPaddingValue": ("US", 4000)}), stored.words())
    assert_close(data, np.zeros((8, 8)))


def test_without_a_high_bit_the_lowest_bits_are_used():
    values = true_values(12, False)
    stored = Stored(values, 12)
    assert_close(written(image(stored, HighBit=None), Form(), stored.words()), values / 4095 * 255)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_colour_of_any_depth_becomes_luma(bits, planar):
    values = RNG.integers(0, 2**bits, (8, 8, 3))
    values[0, 0] = 2**bits - 1
    words = Stored(values.transpose(2, 0, 1) if planar else values, bits).words()
    film = image(Stored(values[..., 0], bits, allocated=8 if bits == 8 else 16))
    film.SamplesPerPixel, film.PhotometricInterpretation, film.PlanarConfiguration = 3, "RGB", planar
    expected = values @ [0.299, 0.587, 0.114] * 255 / (2**bits - 1)
    found = grey_from_dicom(written(film, Form(), words, film.BitsAllocated), 10**6)
    np.testing.assert_allclose(found.astype(float), expected, atol=0.51 + 128 / 2**bits)


def test_one_bit_a_pixel_is_black_and_white():
    values = RNG.integers(0, 2, (8, 8))
    film = image(Stored(values, 1, allocated=1), PixelData=np.packbits(values, bitorder="little").tobytes())
    assert_close(written(film, Form()), values * 255)


def test_pixels_may_begin_as_compressed_ones_do():
    values = RNG.integers(0, 2**16, (8, 8))
    values[0, :2] = 0xFFFE, 0xE000
    stored = Stored(values, 16)
    assert_close(written(image(stored), Form(), stored.words()), values / 65535 * 255)
