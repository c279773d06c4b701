"""Tables as people and programs write them: read right, or refused in one line with the file and the fix."""

import gzip
import logging
import re
import shlex
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from evax.data.sources.folder import FolderSource
from evax.data.sources.folder_table import Columns
from evax.data.sources.label_words import label_of, unknown_words, words_of

NAMES = ("a/one.png", "a/two.png", "three.jpg", "b/1.2.840.5")
HEADER = "file,pid,Edema,Mass"
ROWS = ("a/one.png,p1,1,0", "a/two.png,p1,0,-1", "three.jpg,p2,,1", "b/1.2.840.5,p3,1.0,0")
LABELS = {"a/one.png": (1, 0), "a/two.png": (0, -1), "three.jpg": (-2, 1), "b/1.2.840.5": (1, 0)}
PLAIN = "\n".join([HEADER, *ROWS]) + "\n"
COLUMNS = {"image": "file", "patient": "pid", "labels": ["Edema", "Mass"]}


@pytest.fixture
def root(tmp_path):
    """Images whose content no test reads; one is DICOM without an ending."""
    for name in NAMES:
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(128) + b"DICM")
    return tmp_path / "raw"


def read(root, content, settings=None, name="table.csv", **columns):
    (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    source = FolderSource(root, table=name, columns=Columns(**COLUMNS | columns), **settings or {})
    films, refusals = source.films()
    return {film.image_id: film for film in films}, {each.item: each for each in refusals}


def labels_of(films):
    return {name: film.labels for name, film in films.items()}


def refusal(root, content, **kwargs):
    with pytest.raises(ValueError) as caught:
        read(root, content, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def quoted(delimiter):
    rows = [[f'"{cell}"' for cell in row.split(",")] for row in (HEADER, *ROWS)]
    return "\n".join(delimiter.join(row) for row in rows)


FORMS = {
    "plain": PLAIN,
    "utf-8 with its mark": PLAIN.encode("utf-8-sig"),
    "utf-16 of Excel": PLAIN.replace(",", "\t").encode("utf-16"),
    "utf-16 big endian": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "utf-16 without its mark": PLAIN.encode("utf-16-le"),
    "utf-16 big endian without its mark": PLAIN.encode("utf-16-be"),
    "utf-32": PLAIN.encode("utf-32"),
    "gzip under any name": gzip.compress(PLAIN.encode()),
    "sep=;": "sep=;\n" + PLAIN.replace(",", ";"),
    "SEP=, in quotes": '"SEP=,"\r\n' + PLAIN,
    "sep of tabs in utf-16": ("sep=\t\r\n" + PLAIN.replace(",", "\t")).encode("utf-16"),
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "bars": PLAIN.replace(",", "|"),
    "CR LF": PLAIN.replace("\n", "\r\n"),
    "CR alone": PLAIN.replace("\n", "\r"),
    "quoted commas": quoted(","),
    "quoted semicolons": quoted(";"),
    "blanks around names and cells": PLAIN.replace(",", " , "),
    "an index without a name": "\n".join(f"{n or ''},{row}" for n, row in enumerate([HEADER, *ROWS])),
    "rows of nothing": PLAIN + ",,,\n\n,,,\n",
    "delimiters at the end of rows": PLAIN.replace("\n", ",,\n"),
    "other columns there twice": "\n".join(f"{row},x,x" for row in [HEADER, *ROWS]),
    "other columns cut off": "\n".join([f"{HEADER},remark", *ROWS]),
    "a remark over two lines": "\n".join([f"remark,{HEADER}", *(f'"so, and\nso",{row}' for row in ROWS)]),
    "a remark in Latin-1": "\n".join([f"{HEADER},remark", *(f"{row},grün" for row in ROWS)]).encode("latin-1"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_table_in_any_form_gives_the_same_labels(form, root):
    films, refusals = read(root, FORMS[form])
    assert not refusals
    assert labels_of(films) == LABELS
    assert [film.patient_id for film in films.values()] == ["p1", "p1", "p2", "p3"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_names_that_hold_other_delimiters(delimiter, root):
    header = ["file", "pid", '"Edema, acute"', '"Mass; left|right\tlobe"']
    content = "\n".join([delimiter.join(header), *(row.replace(",", delimiter) for row in ROWS)])
    films, _ = read(root, content, labels=["Edema, acute", "Mass; left|right\tlobe"])
    assert labels_of(films) == LABELS


NO_TABLES = {
    "empty": (b"", r"table\.csv: it is empty"),
    "blank": ("\n\n", r"table\.csv: the table has no rows"),
    "header alone": (HEADER + "\n", r"table\.csv: there is no row below"),
    "Excel": (b"PK\x03\x04\x14\x00", r"Excel workbook \(\.xlsx\).*save the table as CSV UTF-8"),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1", r"Excel workbook \(\.xls\)"),
    "Parquet": (b"PAR1\x15\x04", "Parquet"),
    "git-lfs": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer.*git lfs pull"),
    "web page": ("<!DOCTYPE html><html>sign in</html>", "web page"),
    "Latin-1 in a patient": (
        PLAIN.replace("p2", "Müller").encode("latin-1"),
        r"line 4: b'M\\xfcller' is not UTF-8.*enc",
    ),
    "half of UTF-16": (PLAIN.encode("utf-16")[:-1], r"table\.csv is not .*UTF-16"),
    "half of gzip": (gzip.compress(PLAIN.encode())[:-12], r"table\.csv is damaged"),
    "an open quote": (PLAIN.replace("p1,0", '"p1,0'), r"table\.csv, line \d+: .*a quote in a cell is written twice"),
    "blanks between columns": (PLAIN.replace(",", " "), r"file: no such column.*separate columns by commas"),
    "a label there twice": (PLAIN.replace("Mass", "Edema"), r"labels=Edema: .*has 2 columns of that name"),
    "a label there twice but for blanks": (PLAIN.replace("Mass", " Edema "), r"labels=Edema: .*2 columns"),
    "patients there twice": (PLAIN.replace("Mass", "pid"), r"columns\.patient=pid: .*2 columns of that name"),
}


@pytest.mark.parametrize("fault", NO_TABLES)
def test_what_is_no_table_is_one_line_with_the_file_and_the_fix(fault, root):
    content, message = NO_TABLES[fault]
    labels = ["Edema"] if "twice" in fault else ["Edema", "Mass"]
    with pytest.raises(ValueError, match=message) as caught:
        read(root, content, labels=labels)
    assert "\n" not in str(caught.value)


def test_the_encoding_may_be_told(root):
    content = PLAIN.replace("p2", "Müller").encode("cp1252")
    films, _ = read(root, content, {"encoding": "cp1252"})
    assert films["three.jpg"].patient_id == "Müller"
    assert "source.encoding=cp99: no such encoding" in refusal(root, content, settings={"encoding": "cp99"})


def test_lines_that_do_not_fit_the_first_are_named_by_their_number(root):
    rows = [ROWS[0], "a/two.png,p1,0", '"three.jpg","p2",0,1,,extra', ROWS[3]]
    films, refusals = read(root, "\n".join([HEADER, *rows]))
    assert list(films) == [NAMES[0], NAMES[3]]
    assert refusals["table.csv line 3"].detail.startswith("3 cells, where the first row has 4")
    assert refusals["table.csv line 4"].detail.startswith("6 cells")
    assert refusals["a/two.png"].reason == "no_row"


@pytest.mark.parametrize(("given", "name"), [(0, "0"), (1.0, "1.0"), (" Mass ", "Mass")])
def test_names_that_yaml_reads_as_numbers_are_text(given, name, root):
    films, _ = read(root, PLAIN.replace("Mass", name), labels=[given])
    assert [film.labels for film in films.values()] == [(0,), (-1,), (1,), (0,)]
    columns = Columns(image=given, patient=given, labels=["x", given])
    assert columns.named() == [("image", name), ("patient", name), ("labels", "x"), ("labels", name)]


@pytest.mark.parametrize("given", ["Mass", 0])
def test_one_label_alone_need_not_be_in_a_list(given):
    assert Columns(labels=given).labels == (str(given),)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": [None]}, r"source\.columns\.labels: null is no name.*'null'"),
        ({"labels": [True]}, r"source\.columns\.labels: true is no name.*'true'"),
        ({"labels": False}, r"source\.columns\.labels: false is no name"),
        ({"labels": ["a", ["b"]]}, r"source\.columns\.labels: \['b'\] is no name"),
        ({"labels": {"a": 1}}, r"source\.columns\.labels=.*give a list of names, \[a\]"),
        ({"labels": ["a", "a"]}, r"source\.columns\.labels has a twice"),
        ({"labels": [0, "0"]}, r"source\.columns\.labels has 0 twice"),
        ({"labels": ""}, r"source\.columns\.labels: '' is no name"),
        ({"image": None}, r"source\.columns\.image: null is no name"),
        ({"split": True}, r"source\.columns\.split: true is no name"),
    ],
)
def test_what_is_no_name_is_refused_with_its_key(given, message):
    with pytest.raises(ValueError, match=message):
        Columns(**given)


UNKNOWN = ("nan", "NaN", "NA", "N/A", "#N/A", "None", "null", "<NA>", "NaT", "", " ", "-", "?", "unknown")


@pytest.mark.parametrize("word", UNKNOWN)
def test_an_unknown_patient_is_no_patient(word, root):
    films, refusals = read(root, PLAIN.replace("p1", word))
    assert list(films) == ["three.jpg", "b/1.2.840.5"]
    assert {item: each.reason for item, each in refusals.items()} == dict.fromkeys(NAMES[:2], "bad_row")
    assert "column pid names no patient" in refusals["a/one.png"].detail


@pytest.mark.parametrize("word", ["-1", "-1.0", "n.a.", "N.A", "missing", "Missing"])
def test_what_is_no_patient_may_be_a_label(word, root):
    films, refusals = read(root, PLAIN.replace("p1", word))
    assert list(films) == ["three.jpg", "b/1.2.840.5"]
    assert refusals["a/one.png"].detail == (
        f"column pid has {word!r}, which names no patient; give each unknown one a name of its own"
    )
    assert labels_of(read(root, PLAIN)[0])["a/two.png"] == (0, -1)


@pytest.mark.parametrize(("num_one", "num_others", "is_told"), [(21, 20, True), (21, 200, False), (20, 20, False)])
def test_a_patient_of_a_great_part_of_the_images_is_told(num_one, num_others, is_told, root, caplog):
    patients = ["X"] * num_one + [f"p{number}" for number in range(num_others)]
    for number in range(len(patients)):
        (root / f"{number}.png").touch()
    films, _ = read(root, "\n".join([HEADER, *(f"{n}.png,{name},1,0" for n, name in enumerate(patients))]))
    assert len(films) == len(patients)
    lines = [line for line in caplog.messages if "if that means unknown" in line]
    assert len(lines) == is_told
    assert not is_told or f"column pid: X has {num_one} of {len(patients)} images" in lines[0]


@pytest.mark.parametrize("word", UNKNOWN)
def test_an_unknown_image_split_or_view_is_none(word, root):
    rows = [f"{row},{word if number else 'train'},{word}" for number, row in enumerate(ROWS)]
    content = "\n".join([f"{HEADER},set,view", *rows, f"{word},p9,1,0,val,PA"])
    films, refusals = read(root, content, split="set", view="view")
    assert [film.splits for film in films.values()] == [{"official": "train"}, {}, {}, {}]
    assert {film.view for film in films.values()} == {""}
    assert refusals["table.csv line 6"].detail == "column file names no image"


@pytest.mark.parametrize(("one", "other"), [("12", "12.0"), ("12", "012"), ("12,0", "12"), ("cxr14:7", "cxr14:007")])
def test_one_number_in_two_spellings_is_refused(one, other, root):
    content = PLAIN.replace("p1", f'"{one}"').replace("p2", f'"{other}"')
    assert "write every patient in one way" in refusal(root, content)
    assert read(root, PLAIN.replace("p1", f'"{one}"'))[0]["a/one.png"].patient_id == one


def test_a_patient_in_two_forms_of_unicode_is_refused(root):
    composed, parts = (unicodedata.normalize(form, "Jos\u00e9") for form in ("NFC", "NFD"))
    assert "write every patient in one way" in refusal(root, PLAIN.replace("p1", composed).replace("p2", parts))


def test_a_number_that_excel_has_rounded_is_no_patient(root):
    _, refusals = read(root, PLAIN.replace("p1", "1.23457E+11"))
    assert "rounded by Excel" in refusals["a/one.png"].detail


PLACES = {
    "one": "a/one.png",
    "ONE.PNG": "a/one.png",
    "A/One.png": "a/one.png",
    "./a/one.png": "a/one.png",
    ".\\a\\one.png": "a/one.png",
    "a//one.png": "a/one.png",
    "a/../b/../a/./one": "a/one.png",
    "1.2.840.5": "b/1.2.840.5",
    "{root}/a/one.png": "a/one.png",
    "{root}/b/../a/one.png": "a/one.png",
    "{root}/one.png": "a/one.png",
    "{link}/a/one.png": "a/one.png",
    "file://{root}/a/one.png": "a/one.png",
    "FILE://localhost{root}/%61/one%2Epng": "a/one.png",
    "file:{root}/a/one.png": "a/one.png",
    "file:///C:/data/a/one.png": None,
    "file:///elsewhere/a/one.png": None,
    "1.2.840": None,  # the beginning of an UID
    "../raw/a/one.png": None,
    "C:\\data\\a\\one.png": None,
    "/elsewhere/a/one.png": None,
    "{root}x/a/one.png": None,
}


@pytest.mark.parametrize("name", PLACES)
def test_an_image_is_found_by_what_it_is_called(name, root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    written = name.format(root=root, link=tmp_path / "link")
    films, refusals = read(root, f"{HEADER}\nthree.jpg,p2,0,1\n{written},p1,1,0\n")
    if PLACES[name] is not None:
        assert labels_of(films) == {"three.jpg": (0, 1), PLACES[name]: (1, 0)}
    else:
        assert list(films) == ["three.jpg"]
        assert [each.reason for each in refusals.values()].count("missing") == 1
        is_absolute = name.startswith(("C:", "/", "{", "file:"))
        assert ("a path outside raw_dir" in str([*refusals.values()])) == is_absolute


@pytest.mark.parametrize("address", ["https://x.org/a/one.png", "s3://bucket/a/one.png", "gs://b/one.png"])
def test_an_address_is_no_path(address, root):
    _, refusals = read(root, f"{HEADER}\nthree.jpg,p2,0,1\n{address},p1,1,0\n")
    scheme = address.partition("://")[0]
    assert refusals[address].detail == f"an address ({scheme}://): write the image's path from raw_dir"


def test_absolute_paths_through_a_link_and_to_it(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    (tmp_path / "link/table.csv").write_text(f"{HEADER}\n{root}/a/one.png,p1,1,0\n{tmp_path}/link/a/two.png,p1,0,1\n")
    films, _ = FolderSource(tmp_path / "link", table="table.csv", columns=Columns(**COLUMNS)).films()
    assert [film.image_id for film in films] == ["a/one.png", "a/two.png"]


def test_names_in_another_form_of_unicode_or_case_are_found_where_they_are_alone(root):
    parts = unicodedata.normalize("NFD", "Müller.png")
    for name in (parts, "Twin.png", "twin.png"):
        (root / name).write_bytes(bytes(128) + b"DICM")
    rows = [f"{unicodedata.normalize('NFC', parts)},p1,1,0", "twin.png,p2,1,0", "TWIN.png,p3,1,0"]
    films, refusals = read(root, "\n".join([HEADER, *rows]))
    assert list(films) == [parts, "twin.png"]
    assert refusals["TWIN.png"].reason == "ambiguous_name"


def test_rows_of_one_image_that_differ_are_refused_and_repetitions_are_kept_once(root):
    rows = [*ROWS, "one.png,p1,1,0", "a/two.png,p1,1,-1", "three,p8,,1"]
    films, refusals = read(root, "\n".join([HEADER, *rows]))
    assert list(films) == ["a/one.png", "b/1.2.840.5"]
    reasons = {item: each.reason for item, each in refusals.items()}
    conflicts = dict.fromkeys(("a/two.png", "three.jpg"), "conflicting_rows")
    assert reasons == {"a/one.png": "duplicate_row"} | conflicts


WORDS = "\n".join([HEADER, "a/one.png,p1,Positive,no", "a/two.png,p1,NEGATIVE,yes", "three.jpg,p2,positive,"])


@pytest.mark.parametrize(
    "label_map",
    [
        {"positive": 1, "negative": 0},
        [["positive", 1], ["Negative", 0]],
        {"POSITIVE": True, "Negative": False},
        {"positive": "1", "negative": 0.0},
    ],
)
def test_words_mean_what_the_user_says(label_map, root):
    films, refusals = read(root, WORDS, {"label_map": label_map})
    assert labels_of(films) == {"a/one.png": (1, 0), "a/two.png": (0, 1), "three.jpg": (1, -2)}
    assert {each.reason for each in refusals.values()} == {"no_row"}


@pytest.mark.parametrize(
    ("cells", "label_map", "labels"),
    [
        ("1,0", None, (1, 0)),
        (" 1 ,-0", None, (1, 0)),
        ("1.0,0.00", None, (1, 0)),
        ('"1,0","-1,0"', None, (1, -1)),
        ("TRUE,False", None, (1, 0)),
        ("YES,No", None, (1, 0)),
        ("nan,<NA>", None, (-2, -2)),
        ("2,0", {2: 1}, (1, 0)),
        ("2.0,1", {"2": 1, 1: 0}, (1, 0)),
        ("none,-", {"none": 0, "-": None}, (0, -2)),
        ("not sure,yes", {"not sure": -1, True: 0}, (-1, 0)),
        ("null,true", {None: 0, False: 1}, (0, 1)),
    ],
)
def test_labels_and_what_may_be_said_of_them(cells, label_map, labels, root):
    films, _ = read(root, f"{HEADER}\nthree.jpg,p1,{cells}\n", {"label_map": label_map})
    assert labels_of(films) == {"three.jpg": labels}


@pytest.mark.parametrize("word", ["2", "0.5", "-2", "perhaps", "none", "+", "1;0", "Edema|Mass"])
def test_a_word_without_a_meaning_is_no_label(word, root, caplog):
    with caplog.at_level(logging.WARNING):
        films, refusals = read(root, PLAIN.replace("p1,1,0", f"p1,{word},0"))
    assert "a/one.png" not in films
    assert refusals["a/one.png"].detail == f"column Edema has {word!r}, not 1, 0, -1 or nothing"
    assert f"column Edema has {word!r} 1 times" in caplog.text


def test_all_words_unknown_are_counted_with_the_map_to_write(root):
    message = refusal(root, WORDS)
    assert "table.csv: none of its rows can be used (3 bad_label)" in message
    assert "column Edema has 'Positive' 1 times, 'NEGATIVE' 1 times, 'positive' 1 times" in message
    assert "'source.label_map={positive: 1, negative: 0}'" in message


@pytest.mark.parametrize(
    "word",
    [
        *("Négatif", "sí", "阳性", "positive (confirmed)", "tb=yes", ">1", "#", "Tb, active", "a:b", "it's", 'say "x"'),
        *(
            "back\\slash",
            "end\\",
            'both\\"',
            "$x",
            "${x}",
            "{a}",
            "[a]",
            "a'b\"c",
            "1e5",
            "1_0",
            ".5",
            "2",
            "2.50",
            "007",
        ),
        *(
            "+",
            "++ b",
            "n.a.",
            "tb+",
            "c/d",
            "a  b",
            "*",
            "~",
            "!",
            "a;b",
            "a|b",
            "%",
            "x@y",
            "`ls`",
            "inf",
            "e5",
            "-x",
        ),
    ],
)
def test_the_map_to_write_can_be_typed_for_any_word(word):
    told = unknown_words({"Edema": Counter([word, "positive"])})
    typed = re.search(r"say what the words mean, (.*?)(?: \(each \?.*)?$", told)[1].replace("?", "0")
    (setting,) = shlex.split(typed)
    (override,) = OverridesParser.create().parse_overrides([setting])
    cfg = OmegaConf.create({"label_map": override.value()})
    words = words_of(OmegaConf.to_container(cfg, resolve=True)["label_map"])
    assert (label_of(word, words), label_of("POSITIVE", words)) == (0, 1)


def test_a_column_of_class_names_is_told_from_labels(root):
    rows = [
        f"{name},p{n},{word}"
        for n, (name, word) in enumerate(zip(NAMES, ("normal", "pneumonia", "COVID"), strict=False))
    ]
    message = refusal(root, "\n".join(["file,pid,class", *rows]), labels="class")
    assert "source.label_map={normal: ?, pneumonia: ?, covid: ?}" in message
    assert "make one of 1 and 0 for each class" in message


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        ({"positive": 2}, "positive means 2; give 1, 0, -1"),
        ({"positive": "?"}, r"positive means \?"),
        ({"positive": "yes"}, "positive means yes"),
        ("positive", r"source\.label_map=positive: write what each word means"),
        ([1, 0], r"source\.label_map=\[1, 0\]"),
        ([["positive"]], r"source\.label_map=\[\['positive'\]\]: write what each word means"),
        ([["positive", 2]], "positive means 2; give 1, 0, -1"),
        ([[["a"], 1]], "write what each word means"),
    ],
)
def test_a_map_that_says_nothing_is_refused(label_map, message, root):
    with pytest.raises(ValueError, match=message):
        FolderSource(root, table="table.csv", columns=Columns(**COLUMNS), label_map=label_map)


def test_the_map_and_the_encoding_are_part_of_the_fingerprint(root):
    (root / "table.csv").write_text(WORDS)
    settings = ({}, {"label_map": {"positive": 1}}, {"label_map": {"positive": 0}}, {"encoding": "cp1252"})
    sources = [FolderSource(root, table="table.csv", columns=Columns(**COLUMNS), **each) for each in settings]
    assert len({source.fingerprint() for source in sources}) == len(settings)


ALL_REFUSED = {
    "files": (PLAIN.replace("a/", "c/").replace("three", "c/four").replace("b/1", "c/1"), "4 missing", "c/one.png"),
    "patients": (PLAIN.replace("p1", "nan").replace("p2", "").replace("p3", "NA"), "4 bad_row", "names no patient"),
    "splits": ("file,pid,Edema,Mass,set\none,p1,1,0,fold1\nthree,p2,1,0,2\n", "2 bad_split", "column set has 'fold1'"),
}


@pytest.mark.parametrize("fault", ALL_REFUSED)
def test_where_no_row_is_left_the_reasons_are_said(fault, root):
    content, count, detail = ALL_REFUSED[fault]
    message = refusal(root, content, split="set" if fault == "splits" else None)
    assert f"none of its rows can be used ({count})" in message
    assert detail in message


def test_ages_with_a_decimal_comma(root):
    films, _ = read(root, "file;pid;Edema;Mass;age\none;p1;1;0;58,5\n", age="age")
    np.testing.assert_equal(films["a/one.png"].age, 58.5)
