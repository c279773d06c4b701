"""Whatever lies in a folder, each file is listed once, or said to be left out."""

import os
from pathlib import Path

import pytest

from evax.data.files import Listing, form_of, has_suffix, left_out, list_files


def make(root: Path, *names: str | bytes) -> Path:
    for name in names:
        path = Path(os.fsdecode(name)) if isinstance(name, bytes) else Path(name)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def link(path: Path, target: str | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def listed(root: Path, **settings) -> Listing:
    listing = list_files(root, has_suffix, **settings)
    assert all(path == root / name for name, path in listing.files.items())
    return listing


def names(root: Path, **settings) -> list[str]:
    return list(listed(root, **settings).files)


def test_files_come_in_the_order_of_their_paths_whatever_their_endings_case(tmp_path):
    make(tmp_path, "b.PNG", "a/z.Jpg", "a b/1.DCM", "a/b/y.jfif", "é.Jpeg", "Z.dicom", "notes.txt", "a.png/x.JPE")
    expected = ["Z.dicom", "a/b/y.jfif", "a/z.Jpg", "a b/1.DCM", "a.png/x.JPE", "b.PNG", "é.Jpeg"]
    assert names(tmp_path) == expected
    assert expected == sorted(expected, key=lambda name: name.split("/"))


def test_names_that_differ_in_case_or_in_their_form_of_unicode_are_files_of_their_own(tmp_path):
    twins = {"a.png", "A.png", "e\u0301.png", "\u00e9.png"}
    assert set(names(make(tmp_path, *twins))) == twins


def test_links_are_followed_once(tmp_path):
    make(tmp_path / "store", "1.png", "deep/2.png")
    root = make(tmp_path / "root", "a/0.png")
    link(root / "b", tmp_path / "store")
    link(root / "c", "../store")
    link(root / "d" / "e", tmp_path / "store" / "deep")
    link(root / "f.png", tmp_path / "store" / "1.png")
    link(root / "g.png", "a/0.png")
    link(root / "h.png", make(tmp_path / "alone", "9.png") / "9.png")
    link(root / "i.png", "h.png")
    listing = listed(root)
    assert list(listing.files) == ["a/0.png", "b/1.png", "b/deep/2.png", "h.png"]
    assert (listing.num_repeated, listing.refusals) == (3, [])


def test_what_lies_in_the_folder_keeps_its_name_though_a_link_before_it_leads_there(tmp_path):
    make(tmp_path, "images/x.png", "images/deep/y.png")
    link(tmp_path / "all", "images")
    link(tmp_path / "a.png", "images/x.png")
    assert names(tmp_path) == ["images/deep/y.png", "images/x.png"]


@pytest.mark.parametrize("target", [".", "..", "../..", "/", "../root", "a", "../root/a"])
def test_loops_end(target, tmp_path):
    root = make(tmp_path / "root", "a/0.png", "1.png")
    make(tmp_path, "beside.png")
    link(root / "loop", target)
    link(root / "a" / "loop", root)
    assert names(root) == ["1.png", "a/0.png"]


def test_two_folders_that_lead_to_each_other(tmp_path):
    make(tmp_path / "one", "1.png")
    make(tmp_path / "two", "2.png")
    link(tmp_path / "one" / "other", tmp_path / "two")
    link(tmp_path / "two" / "other", tmp_path / "one")
    assert names(tmp_path / "one") == ["1.png", "other/2.png"]


def test_a_folder_may_be_a_link_itself(tmp_path):
    make(tmp_path / "store", "1.png")
    link(tmp_path / "root", "store")
    assert names(tmp_path / "root") == ["1.png"]


def test_links_into_hidden_stores_are_files(tmp_path):
    make(tmp_path, ".annex/objects/ab12", "blobs/cd34")
    link(tmp_path / "1.png", ".annex/objects/ab12")
    link(tmp_path / "2.png", "blobs/cd34")
    assert names(tmp_path) == ["1.png", "2.png"]


def test_hard_links_are_files_of_their_own(tmp_path):
    make(tmp_path, "1.png")
    (tmp_path / "2.png").hardlink_to(tmp_path / "1.png")
    assert names(tmp_path) == ["1.png", "2.png"]


def test_broken_links_are_refused_by_name(tmp_path):
    make(tmp_path, "1.png")
    for name, target in {"gone.png": "nowhere", "IM0001": "nowhere", "self.dcm": "self.dcm", "n.txt": "no"}.items():
        link(tmp_path / name, target)
    listing = listed(tmp_path)
    assert [(refusal.item, refusal.reason) for refusal in listing.refusals] == [
        ("IM0001", "unreadable"),
        ("gone.png", "unreadable"),
        ("self.dcm", "unreadable"),
    ]
    assert listing.refusals[0].detail == "the link leads nowhere: mend or delete it"


def test_what_is_no_file_is_never_opened(tmp_path):
    make(tmp_path, "1.png")
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    link(tmp_path / "linked.png", "pipe")
    link(tmp_path / "null.dcm", "/dev/null")
    os.mkfifo(tmp_path / "control.sock")
    listing = list_files(tmp_path, lambda path: has_suffix(path) or bool(path.read_bytes()))
    assert list(listing.files) == ["1.png"]
    assert {refusal.item: refusal.detail for refusal in listing.refusals} == dict.fromkeys(
        ("linked.png", "null.dcm", "pipe", "pipe.png"), "neither a file nor a folder"
    )


def test_a_folder_without_permission_is_refused_and_the_rest_listed(tmp_path, monkeypatch):
    make(tmp_path, "a/1.png", "closed/2.png", "z/3.png")
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    listing = listed(tmp_path)
    assert list(listing.files) == ["a/1.png", "z/3.png"]
    assert listing.refusals == [("closed", "unreadable", "the folder cannot be read: Permission denied")]
    with pytest.raises(PermissionError):
        list_files(tmp_path / "closed", has_suffix)


@pytest.mark.parametrize("name", [b"M\xfcller.png", b"\xce\xd2.png", b"D\xfc/1.png", b"D\xfc/d/1.png", b"\xff\xfe.dcm"])
def test_names_that_are_not_utf8_are_refused_and_the_rest_listed(name, tmp_path):
    make(tmp_path, name, "grün.png", "我.png", 'a\n"b",\t.png', "-n.png", b"note\xfc.txt")
    listing = listed(tmp_path)
    assert set(listing.files) == {"grün.png", "我.png", 'a\n"b",\t.png', "-n.png"}
    (refusal,) = listing.refusals
    assert (refusal.item, refusal.reason) == (name.decode(errors="backslashreplace"), "unsafe_name")
    assert refusal.item.encode()
    assert left_out(listing) == "left out: 1 other file (1 .txt)"


def test_links_of_and_to_names_that_are_not_utf8(tmp_path):
    store = make(tmp_path / "store", b"f\xfc.png", "g.png")
    root = make(tmp_path / "root", "1.png")
    link(root / "good.png", store / os.fsdecode(b"f\xfc.png"))
    link(root / os.fsdecode(b"b\xfc.png"), store / "g.png")
    listing = listed(root)
    assert list(listing.files) == ["1.png", "good.png"]
    assert [refusal.item for refusal in listing.refusals] == ["b\\xfc.png"]


def test_the_folder_itself_may_have_any_name(tmp_path):
    assert names(make(tmp_path / os.fsdecode(b"W\xfcrzburg"), "a/1.png")) == ["a/1.png"]
    assert names(make(tmp_path / ".hidden" / "__MACOSX", "1.png")) == ["1.png"]


def test_what_systems_hide_or_leave_behind_is_counted(tmp_path):
    junk = ("._1.png", ".DS_Store", "Thumbs.db", "__MACOSX/._1.png", ".thumbs/1.png", "a/@eaDir/1.png", "desktop.ini")
    listing = listed(make(tmp_path, "1.png", *junk))
    assert (list(listing.files), listing.others) == (["1.png"], [])
    assert left_out(listing) == "left out: 7 hidden files and folders"


def test_the_skipped_folder_is_not_looked_into_by_any_name(tmp_path):
    make(tmp_path, "1.png", "out/masks/1.png")
    link(tmp_path / "results", "out")
    assert names(tmp_path, skip=tmp_path / "results") == ["1.png"]
    assert names(tmp_path, skip=tmp_path / "absent") == ["1.png", "out/masks/1.png"]


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (["a.TIF", "b.tif", "c.bmp"], "3 files that are no PNG, JPEG or DICOM (2 .tif, 1 .bmp; convert them to PNG)"),
        (["v.nii.gz"], "1 file that is no PNG, JPEG or DICOM (1 .nii.gz; convert them to PNG)"),
        (["a.zip"], "1 file that is no PNG, JPEG or DICOM (1 .zip; convert images to PNG, unpack archives)"),
        (["README", "films.csv", "1.2.840.113"], "3 other files (2 without an ending, 1 .csv)"),
        ([], ""),
    ],
)
def test_what_is_left_out_is_counted_by_form(others, said):
    assert left_out(Listing(others=others)).removeprefix("left out: ") == said


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.PNG", ".png"),
        ("IM0001", ""),
        ("1.2.840.10008.5", ""),
        ("Dr. No", ""),
        ("x.tar.GZ", ".tar.gz"),
        ("1.gz", ".gz"),
        ("a.b\udcff", ""),
        ("on 1.May", ".may"),
    ],
)
def test_forms_are_endings_in_lower_case(name, form):
    assert form_of(name) == form
