import csv
import io

import numpy as np
import pytest
from cxr14_tree import grey
from mimic_tree import FAULTS, FOUND, MIXED, dicom_id, good_mimic, plant_faults
from pydicom import FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from evax.data.findings import CHEXPERT
from evax.data.leakage import LeakageError
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.reading import read_grey
from evax.data.sources.mimic import MimicCxrSource


def _films(tree, **settings):
    films, refusals = MimicCxrSource(tree.write(), **settings).films()
    return {film.image_id: film for film in films}, {item.item: item.reason for item in refusals}


def test_frontal_films_in_the_order_of_the_table(tmp_path):
    tree = good_mimic(tmp_path)
    films, refusals = _films(tree)
    film = films[dicom_id(10)]
    assert not refusals
    assert [film.view for film in films.values()] == ["AP", "PA"] * 6
    assert (film.patient_id, film.study_id) == ("p10000001", "s60000001")
    assert film.path == tree.path(10, 10_000_001)


def test_tables_may_be_unpacked(tmp_path):
    tree = good_mimic(tmp_path)
    tree.packed = False
    assert len(_films(tree)[0]) == 12


@pytest.mark.parametrize(
    ("settings", "views"),
    [
        ({"blank_view": "keep"}, {"AP", "PA", ""}),
        ({"views": "all"}, {"AP", "PA", "LATERAL"}),
        ({"views": "all", "blank_view": "keep"}, {"AP", "PA", "LATERAL", ""}),
    ],
)
def test_other_and_unknown_views_come_on_request(settings, views, tmp_path):
    films, refusals = _films(good_mimic(tmp_path), **settings)
    assert not refusals
    assert {film.view for film in films.values()} == views
    assert len(films) == 6 * len(views)


def test_labels_belong_to_the_study_and_stay_as_they_are(tmp_path):
    films, _ = _films(good_mimic(tmp_path))
    expected = tuple(FOUND.get(finding, -2) for finding in CHEXPERT)
    assert {film.labels for film in films.values()} == {expected}


def test_old_tables_have_another_name_for_opacity(tmp_path):
    tree = good_mimic(tmp_path)
    tree.chexpert_header = tree.chexpert_header.replace("Lung Opacity", "Airspace Opacity")
    films, refusals = _films(tree)
    assert not refusals
    assert films[dicom_id(10)].labels[CHEXPERT.index("Lung Opacity")] == 1


def test_official_splits(tmp_path):
    tree = good_mimic(tmp_path)
    tree.add(7, 10_000_007, split="validate")
    tree.save(7, 10_000_007)
    films, _ = _films(tree)
    splits = [film.splits["official"] for film in films.values()]
    assert [splits.count(split) for split in ("train", "val", "test")] == [10, 1, 2]


def test_each_fault_is_named_once_and_nothing_good_is_lost(tmp_path):
    tree = good_mimic(tmp_path / "raw")
    plant_faults(tree)
    report = prepare(MimicCxrSource(tree.write()), tmp_path / "pack", size=80, workers=0, max_quarantine=1.0)
    with (tmp_path / "pack/quarantine.csv").open(newline="") as file:
        found = [(line["item"], line["reason"]) for line in csv.DictReader(file)]
    assert sorted(found) == sorted(FAULTS.items())
    pack = Pack(tmp_path / "pack")
    assert (report.films, pack.share) == (14, "credentialed")
    kept = pack.image_ids.tolist()
    assert {dicom_id(7009), dicom_id(7010)} < set(kept)
    assert pack.split("official")[kept.index(dicom_id(7009))] == ""
    assert set(pack.labels[kept.index(dicom_id(7010))]) == {-2}
    np.testing.assert_array_equal(pack.image(0), read_grey(tree.path(10, 10_000_001)))


def test_a_patient_in_two_splits_stops_the_preparation(tmp_path):
    tree = good_mimic(tmp_path / "raw")
    tree.add(99, 10_000_001, split="test")
    tree.save(99, 10_000_001)
    with pytest.raises(LeakageError, match=r"scheme official puts 1 patient\(s\)") as caught:
        prepare(MimicCxrSource(tree.write()), tmp_path / "pack", size=32, workers=0)
    assert "10000001" not in str(caught.value)


def test_a_film_in_two_splits_stops_the_preparation(tmp_path):
    tree = good_mimic(tmp_path / "raw")
    tree.split.append(tree.split[0].replace("train", "test"))
    with pytest.raises(LeakageError, match=r"put 1 film\(s\) into more than one split"):
        prepare(MimicCxrSource(tree.write()), tmp_path / "pack", size=32, workers=0)


def _as_dicom(image, path):
    film = FileDataset(str(path), {}, file_meta=FileMetaDataset(), preamble=bytes(128))
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.file_meta.MediaStorageSOPClassUID = film.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    film.SOPClassUID = film.SOPInstanceUID = "1.2.3"
    film.Rows, film.Columns = image.shape
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
    film.PixelData = (image.astype(np.uint16) * 16).tobytes()
    buffer = io.BytesIO()
    film.save_as(buffer, enforce_file_format=True)
    path.write_bytes(buffer.getvalue())


def test_the_dicom_release(tmp_path):
    tree = good_mimic(tmp_path / "raw", patients=0)
    for number in (1, 2):
        tree.add(number, 10_000_000 + number, labels=MIXED)
        _as_dicom(grey(number), tree.path(number, 10_000_000 + number, "dcm"))
    report = prepare(MimicCxrSource(tree.write(), images="dcm"), tmp_path / "pack", size=80, workers=0)
    assert (report.films, report.quarantined) == (2, 0)
    np.testing.assert_array_equal(Pack(tmp_path / "pack").image(0), np.rint(grey(1) * (16 * 255 / 4095)))


def test_what_is_missing_is_named_at_once(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        MimicCxrSource(tmp_path).films()
    for name in ("metadata.csv", "split.csv", "chexpert.csv", "files/", "raw_dir="):
        assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_table_is_named(tmp_path):
    root = good_mimic(tmp_path).write()
    path = root / "mimic-cxr-2.0.0-split.csv.gz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"split\.csv\.gz is damaged .*: download it again from https"):
        MimicCxrSource(root).films()


@pytest.mark.parametrize("setting", [{"views": "ap"}, {"blank_view": "guess"}, {"images": "png"}])
def test_a_wrong_choice_is_named(setting, tmp_path):
    with pytest.raises(Exception, match=next(iter(setting))):  # a wrong type where annotations are enforced
        MimicCxrSource(tmp_path, **setting)


def test_choices_change_the_fingerprint(tmp_path):
    root = good_mimic(tmp_path).write()
    prints = {MimicCxrSource(root, **each).fingerprint() for each in ({}, {"views": "all"}, {"blank_view": "keep"})}
    assert len(prints) == 3
