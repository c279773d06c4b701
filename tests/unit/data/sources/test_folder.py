import csv
import logging
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from cxr14_tree import grey
from PIL import Image

from evax.data.leakage import LeakageError, crossing
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.reading import read_grey
from evax.data.sources.folder import FolderSource
from evax.data.sources.folder_table import Columns

COLUMNS = Columns(image="file", patient="pid", split="set", view="proj", sex="sex", age="age", labels=["Edema", "Mass"])
HEADER = "file,pid,set,proj,sex,age,Edema,Mass,remark"
ROWS = (
    "a/one.png,1,train,pa,F,58,1,0,fine",
    "a/two words.JPG,1,training,AP,female,058Y,1.0,,",
    "three,2,valid,,m,6M,-1,no,",
    "b\\four.png,3,test,LATERAL,male,,0,TRUE,ümlaut",
    "five.png,4,,AP,x,old,nan,0,",
)
FILES = ("a/one.png", "a/two words.JPG", "three.png", "b/four.png", "b/deep/five.png")


def save(root, name, number):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey(600_000 + number)).save(path)
    return path


@pytest.fixture
def root(tmp_path):
    for number, name in enumerate(FILES):
        save(tmp_path / "raw", name, number)
    return tmp_path / "raw"


def write(root, rows=ROWS, header=HEADER, end="\n", start="", name="films.csv"):
    (root / name).write_bytes((start + end.join([header, *rows]) + end).encode())


def read(root, columns=COLUMNS, **settings):
    films, refusals = FolderSource(root, table="films.csv", columns=columns, **settings).films()
    return {film.image_id: film for film in films}, {item.item: item.reason for item in refusals}


def test_rows_become_films(root):
    write(root)
    films, refusals = read(root)
    assert not refusals
    assert list(films) == list(FILES)
    assert [film.labels for film in films.values()] == [(1, 0), (1, -2), (-1, 0), (0, 1), (-2, 0)]
    assert [film.patient_id for film in films.values()] == ["1", "1", "2", "3", "4"]
    assert [film.splits.get("official") for film in films.values()] == ["train", "train", "val", "test", None]
    assert [film.sex for film in films.values()] == ["F", "F", "M", "M", ""]
    assert [film.view for film in films.values()] == ["PA", "AP", "", "LATERAL", "AP"]
    np.testing.assert_equal([film.age for film in films.values()], [58, 58, 0.5, math.nan, math.nan])


@pytest.mark.parametrize(("start", "end", "mark"), [("\ufeff", "\r\n", ","), ("", "\n", ";"), ("", "\n", "\t")])
def test_tables_as_spreadsheets_write_them(start, end, mark, root):
    write(root, [row.replace(",", mark) for row in ROWS], HEADER.replace(",", mark), end, start)
    films, refusals = read(root)
    assert (list(films), refusals) == (list(FILES), {})


def test_the_order_of_labels_is_the_users(root):
    write(root)
    source = FolderSource(root, table="films.csv", columns=Columns(image="file", labels=["Mass", "Edema"]))
    assert source.findings == ("Mass", "Edema")
    assert source.films()[0][0].labels == (0, 1)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(), r"source\.columns\.image=image: no such column in .*films\.csv; .*valid: Edema, Mass, age, file"),
        (Columns(image="file", patient="pit"), r"source\.columns\.patient=pit: .* did you mean 'pid'"),
        (Columns(image="file", labels=["Edma"]), r"source\.columns\.labels=Edma: .* did you mean 'Edema'"),
    ],
)
def test_an_absent_column_is_named_with_its_key(columns, message, root):
    write(root)
    with pytest.raises(ValueError, match=message) as caught:
        read(root, columns)
    assert "\n" not in str(caught.value)


def test_without_a_table_films_have_no_labels_and_a_drawn_split(root):
    films, refusals = FolderSource(root).films()
    assert not refusals
    assert {film.image_id for film in films} == set(FILES)
    assert all(film.labels == () and film.splits["official"] in ("train", "val", "test") for film in films)


def test_a_pack_without_labels(root, tmp_path):
    report = prepare(FolderSource(root), tmp_path / "pack", size=64, workers=0)
    pack = Pack(tmp_path / "pack")
    assert (report.films, pack.findings, pack.labels.shape) == (5, (), (5, 0))
    assert pack.share == "credentialed"


def test_splits_are_drawn_by_patient_and_stay(tmp_path):
    for number in range(400):
        (tmp_path / f"p{number // 2}").mkdir(exist_ok=True)
        (tmp_path / f"p{number // 2}/{number}.png").touch()
    films, _ = FolderSource(tmp_path, patients="folder").films()
    splits = [film.splits["official"] for film in films]
    assert not crossing([film.patient_id for film in films], splits)
    assert 240 < splits.count("train") < 320
    assert 15 < splits.count("val") < 70
    assert len({film.patient_id for film in FolderSource(tmp_path).films()[0]}) == 400
    shutil.rmtree(tmp_path / "p0")
    fewer = {film.image_id: film.splits for film in FolderSource(tmp_path, patients="folder").films()[0]}
    assert all(fewer[film.image_id] == film.splits for film in films if film.image_id in fewer)


def test_drawn_splits_keep_equal_films_together(tmp_path):
    for number in range(60):
        save(tmp_path / "raw", f"{number}.png", number % 20)
    prepare(FolderSource(tmp_path / "raw"), tmp_path / "pack", size=64, workers=0)
    pack = Pack(tmp_path / "pack")
    assert not crossing(map(str, pack.keys("pixel")), pack.split("official"))
    assert len(set(pack.split("official"))) > 1


def test_a_patient_in_two_given_splits_stops_the_preparation(root, tmp_path):
    write(root, [*ROWS[:3], ROWS[3].replace(",3,test", ",1,test"), ROWS[4]])
    with pytest.raises(LeakageError, match=r"1 patient\(s\)"):
        prepare(FolderSource(root, table="films.csv", columns=COLUMNS), tmp_path / "pack", size=32, workers=0)


FAULTS = {
    "gone.png": "missing",
    "cut.png": "truncated",
    "page.png": "not_an_image",
    "black.jpg": "flat",
    "odd.png": "bad_label",
    "fold.png": "bad_split",
    "nobody.png": "bad_row",
    "a/unlisted.png": "no_row",
    "twin": "ambiguous_name",
    "../../etc/passwd.png": "missing",
    "a/one.png": "duplicate_row",
}


def plant_faults(root):
    for number, name in enumerate(FAULTS, 100):
        if name.endswith(".png") and name not in ("gone.png", "a/one.png", "../../etc/passwd.png"):
            save(root, name, number)
    for number, folder in enumerate(("x", "y"), 200):
        save(root, f"{folder}/twin.png", number)
    cut = root / "cut.png"
    cut.write_bytes(cut.read_bytes()[:2000])
    (root / "page.png").write_text("<html>quota exceeded</html>")
    Image.fromarray(np.full((80, 80), 9, np.uint8)).save(root / "black.jpg")
    cells = {"odd.png": "perhaps", "fold.png": "1"}
    rows = [
        f"{name},{'' if name == 'nobody.png' else number},{'fold9' if name == 'fold.png' else 'train'},PA,F,50,"
        f"{cells.get(name, '1')},0,"
        for number, name in enumerate(FAULTS, 100)
        if name not in ("a/unlisted.png", "a/one.png")
    ]
    return [*rows, *(f"{each}/twin.png,9,train,PA,F,50,1,0," for each in "xy"), ROWS[0]]


def test_each_fault_is_named_once_and_nothing_good_is_lost(root, tmp_path):
    write(root, [*ROWS, *plant_faults(root)])
    source = FolderSource(root, table="films.csv", columns=COLUMNS)
    report = prepare(source, tmp_path / "pack", size=80, workers=0, max_quarantine=1.0)
    with (tmp_path / "pack/quarantine.csv").open(newline="") as file:
        found = [(line["item"], line["reason"]) for line in csv.DictReader(file)]
    assert sorted(found) == sorted(FAULTS.items())
    assert report.films == len(FILES) + 2
    pack = Pack(tmp_path / "pack")
    assert list(pack.image_ids) == [*FILES, "x/twin.png", "y/twin.png"]
    for row, name in enumerate(pack.image_ids):
        np.testing.assert_array_equal(pack.image(row), read_grey(root / name))


def test_the_detail_of_a_bad_cell_names_its_column(root):
    write(root, [ROWS[0].replace(",1,0,", ",maybe,0,"), *ROWS[1:]])
    source = FolderSource(root, table="films.csv", columns=COLUMNS)
    (refusal,) = source.films()[1]
    assert refusal == ("a/one.png", "bad_label", "column Edema has 'maybe', not 1, 0, -1 or nothing")


def test_other_files_are_not_films(root):
    for name in ("notes.txt", "films.xlsx", "a/.hidden.png", ".thumbs/one.png", "LICENSE"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("not a film")
    assert len(FolderSource(root).films()[0]) == 5


def test_mistakes_are_named_with_their_key(root, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"raw_dir=.*empty has no films: PNG, JPEG or DICOM"):
        FolderSource(tmp_path / "empty").films()
    with pytest.raises(FileNotFoundError, match=r"source\.table=no\.csv: there is no file"):
        FolderSource(root, table="no.csv").films()
    with pytest.raises(ValueError, match=r"source\.table, which is null"):
        FolderSource(root, columns=COLUMNS)
    with pytest.raises(ValueError, match=r"source\.columns\.labels has Mass twice"):
        FolderSource(root, table="films.csv", columns=Columns(labels=["Mass", "Mass"]))


def test_fingerprint_follows_table_and_columns(root):
    write(root)
    before = FolderSource(root, table="films.csv", columns=COLUMNS).fingerprint()
    assert FolderSource(root, table="films.csv", columns=Columns(image="file")).fingerprint() != before
    write(root, ROWS[:4])
    assert FolderSource(root, table="films.csv", columns=COLUMNS).fingerprint() != before


def test_a_relative_folder_is_the_same(root, monkeypatch):
    write(root)
    monkeypatch.chdir(root.parent)
    there = FolderSource(Path("raw"), table="films.csv", columns=COLUMNS)
    assert there.fingerprint() == FolderSource(root, table="films.csv", columns=COLUMNS).fingerprint()
    assert len(there.films()[0]) == len(FILES)


@pytest.mark.data
def test_real_dicom_and_png_films(shared_data, tmp_path):
    for path in (shared_data / "dicom").glob("*.dcm"):
        (tmp_path / "raw/dicom").mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw/dicom" / path.stem).symlink_to(path)  # without an ending
    for path in sorted((shared_data / "covidx_sample/images").iterdir())[:5]:
        (tmp_path / "raw" / path.name).symlink_to(path)
    report = prepare(FolderSource(tmp_path / "raw"), tmp_path / "pack", size=64, workers=0)
    assert (report.films, report.quarantined) == (7, 0)


def test_images_of_other_forms_are_listed_and_counted_and_no_loss(root, tmp_path, caplog):
    for name in ("scan.TIF", "a/two.bmp", "a/three.tif", "old.zip", "notes.txt", "._one.png"):
        (root / name).write_bytes(b"x")
    caplog.set_level(logging.INFO)
    report = prepare(FolderSource(root), tmp_path / "pack", size=64, workers=0)
    assert (report.films, report.items, report.quarantined, report.usable) == (5, 5, 0, True)
    assert str(report).endswith("left out as no PNG, JPEG or DICOM (other_form): 1 .bmp, 2 .tif, 1 .zip")
    with (tmp_path / "pack/quarantine.csv").open(newline="") as file:
        found = {line["item"]: (line["reason"], line["detail"]) for line in csv.DictReader(file)}
    assert found == dict.fromkeys(("scan.TIF", "a/two.bmp", "a/three.tif"), ("other_form", "convert it to PNG")) | {
        "old.zip": ("other_form", "unpack it")
    }
    assert (
        "2 .tif, 1 .bmp, 1 .zip; convert images to PNG, unpack archives), 1 other file (1 .txt), 1 hidden"
        in caplog.text
    )


def test_a_row_whose_image_is_of_another_form_counts_as_lost(root):
    (root / "scan.tif").touch()
    write(root, [*ROWS, "scan.tif,9,train,PA,F,50,1,0,"])
    assert read(root)[1] == {"scan.tif": "missing"}


def test_a_folder_of_other_forms_alone_is_said(tmp_path):
    for name in ("1.tif", "2.tif", "list.csv"):
        (tmp_path / name).touch()
    with pytest.raises(
        FileNotFoundError, match=r"has no films: .*2 files that are no PNG, JPEG or DICOM \(2 \.tif; con"
    ):
        FolderSource(tmp_path).films()


@pytest.mark.parametrize("is_text", [True, False])
def test_a_file_without_an_ending_that_cannot_be_opened_may_be_an_image(is_text, root, monkeypatch):
    name = "notes.txt" if is_text else "IM0001"
    (root / name).touch()
    opened = Path.open

    def guarded(path, *words, **settings):
        if path.name == name:
            raise PermissionError(13, "Permission denied")
        return opened(path, *words, **settings)

    monkeypatch.setattr(Path, "open", guarded)
    assert (name in {film.image_id for film in FolderSource(root).films()[0]}) is not is_text


def test_the_table_is_no_file_that_is_left_out(root, caplog):
    write(root)
    caplog.set_level(logging.INFO)
    read(root)
    assert "left out" not in caplog.text


def test_a_pack_of_names_of_any_kind(tmp_path):
    good = [
        "grün.png",
        "e\u0301.png",
        "\u00e9.png",
        'a\n"b",\t.png',
        "-n.png",
        "我.png",
        "\r.png",
        "A.png",
        "a.png",
        "a.jpg",
    ]
    bad = ["\rcut.png", "cut, \n.png", "cut.PNG"]
    unsafe = [os.fsdecode(name) for name in (b"M\xfcller.png", b"\xce\xd2/1.png")]
    for number, name in enumerate([*good, *bad, *unsafe]):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey(number)).save(path, format="PNG")
        if name in bad:
            path.write_bytes(path.read_bytes()[:1000])
    prepare(FolderSource(tmp_path / "raw"), tmp_path / "pack", size=64, workers=0, max_quarantine=1.0)
    pack = Pack(tmp_path / "pack")
    assert sorted(pack.image_ids) == sorted(good)
    with (tmp_path / "pack/quarantine.csv").open(newline="") as file:
        refused = {line["item"]: line["reason"] for line in csv.DictReader(file)}
    assert refused == {
        **dict.fromkeys(("\\rcut.png", "cut, \n.png", "cut.PNG"), "truncated"),
        **dict.fromkeys(("M\\xfcller.png", "\\xce\\xd2/1.png"), "unsafe_name"),
    }
    listed = [line for path in (tmp_path / "pack").glob("split-*.txt") for line in path.read_text().split("\n") if line]
    assert len(listed) == len(good)
    assert 'a\\n"b",\\t.png' in listed
