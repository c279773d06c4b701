"""Every source finds its images behind links and under endings of any case, and says which names it cannot take."""

import os
import shutil
from pathlib import Path

import pytest
from chexpert_tree import good_chexpert
from covidx_tree import good_covidx3, good_covidx4
from cxr14_tree import good_tree, grey
from mask_trees import good_siim
from mimic_tree import good_mimic
from PIL import Image

from evax.data.sources.chexpert import CheXpertSource
from evax.data.sources.covidx import CovidX3Source, CovidX4Source
from evax.data.sources.cxr14 import ChestXray14Source
from evax.data.sources.folder import FolderSource
from evax.data.sources.mimic import MimicCxrSource
from evax.data.sources.siim import SiimSource

SUFFIXES = (".png", ".jpg", ".dcm")


def folder_source(root: Path) -> FolderSource:
    for number, name in enumerate(("a/0.png", "b/c/1.jpg", "d/2.png")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey(number)).save(root / name)
    (root / "films.csv").write_text("image\na/0.png\nb/c/1\n2\n")
    return FolderSource(root, table="films.csv")


SOURCES = {
    "chexpert": lambda root: CheXpertSource(good_chexpert(root).write()),
    "covidx3": lambda root: CovidX3Source(good_covidx3(root).write()),
    "covidx4": lambda root: CovidX4Source(good_covidx4(root).write()),
    "cxr14": lambda root: ChestXray14Source(good_tree(root).write()),
    "folder": folder_source,
    "mimic": lambda root: MimicCxrSource(good_mimic(root).write()),
    "siim": lambda root: SiimSource(good_siim(root).write()),
}


def images(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix in SUFFIXES)


@pytest.fixture(params=SOURCES)
def source(request, tmp_path):
    source = SOURCES[request.param](tmp_path / "raw")
    assert source.films()[1] == []
    return source


def stems(source) -> list[str]:
    """The images in their order: the names of their files, which a table tells, without the endings."""
    films, refusals = source.films()
    assert refusals == []
    assert all(film.path.is_file() for film in films)
    return [str(Path(film.image_id).with_suffix("")).lower() for film in films]


def test_folders_and_files_may_be_links(source, tmp_path):
    before = stems(source)
    folders = sorted({path.parent for path in images(tmp_path / "raw")} - {tmp_path / "raw"})
    assert folders
    for number, folder in enumerate(folders):
        store = tmp_path / "store" / str(number)
        store.parent.mkdir(exist_ok=True)
        shutil.move(folder, store)
        folder.symlink_to(store)
    first = next(path for path in (tmp_path / "store/0").rglob("*") if path.suffix in SUFFIXES)
    first.rename(tmp_path / "store/object")
    first.symlink_to("../object")
    assert stems(source) == before


def test_endings_may_be_in_any_case(source, tmp_path):
    before = stems(source)
    for number, path in enumerate(images(tmp_path / "raw")):
        path.rename(path.with_suffix(path.suffix.upper() if number % 2 else path.suffix.title()))
    table = tmp_path / "raw/films.csv"
    if table.is_file():
        table.write_text(table.read_text().replace("0.png", "0.Png"))
    assert stems(source) == before


def test_a_name_that_is_not_utf8_is_refused_and_what_is_hidden_left_out(source, tmp_path):
    before = stems(source)
    one = images(tmp_path / "raw")[-1]
    for name in (b"f\xfc" + os.fsencode(one.suffix), b"._" + os.fsencode(one.name), b".DS_Store", b"Thumbs.db"):
        shutil.copy(one, one.with_name(os.fsdecode(name)))
    films, refusals = source.films()
    assert [str(Path(film.image_id).with_suffix("")).lower() for film in films] == before
    ((item, reason, detail),) = refusals
    assert item.endswith(f"f\\xfc{one.suffix}")
    assert (reason, "rename it" in detail) == ("unsafe_name", True)


def test_two_endings_of_one_name_are_not_taken_for_each_other(tmp_path):
    source = SOURCES["covidx4"](tmp_path / "raw")
    one = next(path for path in images(tmp_path / "raw") if path.parent.name == "train")
    shutil.copy(one, one.with_suffix(".PNG"))
    assert [(refusal.item, refusal.reason) for refusal in source.films()[1]] == [
        (f"train/{one.with_suffix('.PNG').name}", "no_row")
    ]
    source = SOURCES["cxr14"](tmp_path / "nih")
    one = images(tmp_path / "nih")[0]
    shutil.copy(one, one.with_suffix(".PNG"))
    assert [refusal.reason for refusal in source.films()[1]] == ["duplicate_file"]
