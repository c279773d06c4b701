import csv
import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from chexpert_tree import NAME, add_film, good_chexpert
from chexpert_tree import plant_faults as plant_chexpert
from cxr14_tree import good_tree, grey
from cxr14_tree import plant_faults as plant_cxr14
from mimic_tree import good_mimic
from mimic_tree import plant_faults as plant_mimic
from PIL import Image

from evax.data.leakage import check_gate, cohort
from evax.data.manifest import PackError
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.sources.chexpert import CheXpertSource
from evax.data.sources.cxr14 import ChestXray14Source
from evax.data.sources.mimic import MimicCxrSource
from evax.data.union import UnionPack, list_near_duplicates, survey

SOURCES = ("cxr14", "chexpert", "mimic")
TESTS = ("cxr14/official/test", "chexpert/clean/test")


def make_packs(folder, cxr14, chexpert, mimic, **settings):
    """The three packs of 80 pixels."""
    sources = {
        "cxr14": ChestXray14Source(cxr14.write()),
        "chexpert": CheXpertSource(chexpert.write()),
        "mimic": MimicCxrSource(mimic.write()),
    }
    for name, source in sources.items():
        prepare(source, folder / name, size=80, workers=0, **settings)
    return folder


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """Sound packs: 12 films of 6 patients, 4 in test; 8 of 8, 2 in test; 12 of 6."""
    root = tmp_path_factory.mktemp("union")
    return make_packs(root / "packs", good_tree(root / "a"), good_chexpert(root / "b"), good_mimic(root / "c"))


@pytest.fixture(scope="module")
def union(packs):
    return UnionPack(packs, SOURCES, TESTS, 0.3)


def test_rows_of_all_packs_follow_one_another(packs, union):
    assert len(union) == 32
    assert [union.rows_of(name) for name in SOURCES] == [slice(0, 12), slice(12, 20), slice(20, 32)]
    for start, name in zip((0, 12, 20), SOURCES, strict=True):
        member = Pack(packs / name)
        for row in range(len(member)):
            np.testing.assert_array_equal(union.image(start + row), member.image(row))
            assert union.image_ids[start + row] == f"{name}:{member.image_ids[row]}"
    with pytest.raises(IndexError):
        union.image(32)


def test_patients_are_qualified_and_views_kept(union):
    assert {patient.partition(":")[0] for patient in union.patient_ids} == set(SOURCES)
    assert set(union.views) == {"AP", "PA"}
    assert union.ages[12] == 68


def test_findings_are_those_that_all_label(union):
    expected = ["Atelectasis", "Cardiomegaly", "Effusion", "Pneumonia", "Pneumothorax", "Consolidation", "Edema"]
    assert list(union.findings) == expected
    effusion = union.labels[:, expected.index("Effusion")]
    assert effusion.tolist() == [0, 1] * 6 + [1] * 8 + [-2] * 12


def test_test_patients_of_all_sets_are_kept_out(union):
    splits = union.split("official")
    assert [list(splits[union.rows_of(name)]).count("test") for name in SOURCES] == [4, 2, 0]
    pretraining = cohort(union, "official", ["train", "val"])
    assert check_gate(pretraining, union.tests)["passed"]
    assert len(pretraining.pixels) == 26


def test_val_is_drawn_by_patient_and_stays_with_its_patient(packs, union):
    splits, patients = union.split("official"), union.patient_ids
    val = set(patients[splits == "val"])
    assert val
    assert not val & set(patients[splits == "train"])
    alone = UnionPack(packs, ["mimic"], (), 0.3)
    expected = {patient for patient in val if patient.startswith("mimic")}
    assert set(alone.patient_ids[alone.split("official") == "val"]) == expected


def test_a_shared_picture_takes_its_whole_patient_out(tmp_path):
    cxr14, chexpert, mimic = good_tree(tmp_path / "a"), good_chexpert(tmp_path / "b"), good_mimic(tmp_path / "c")
    mimic.save(21, 10_000_002, grey(77))  # a JPEG of a film that is a test film elsewhere
    planted = NAME.format(64541, 1).replace("train", "valid")
    shutil.copy(mimic.path(21, 10_000_002), chexpert.root / planted)
    folder = make_packs(tmp_path / "packs", cxr14, chexpert, mimic)
    union = UnionPack(folder, SOURCES, TESTS)
    outside = union.patient_ids[union.split("official") == "test"].tolist()
    assert [patient for patient in outside if patient.startswith("mimic")] == ["mimic:p10000002"] * 2
    assert "train" not in union.split("official")[union.patient_ids == "mimic:p10000002"]


def reencode(path, out, **settings):
    """A copy of a film with other pixels."""
    Image.open(path).save(out, **settings)


def test_equal_films_in_two_packs_are_on_one_side_of_val(tmp_path):
    mimic, chexpert = good_mimic(tmp_path / "c", patients=20), good_chexpert(tmp_path / "b", patients=20)
    for patient in range(1, 21):
        shutil.copy(mimic.path(10 * patient, 10_000_000 + patient), chexpert.root / NAME.format(patient, 1))
    union = UnionPack(make_packs(tmp_path / "packs", good_tree(tmp_path / "a"), chexpert, mimic), SOURCES, (), 0.3)
    sides = dict(zip(union.patient_ids.tolist(), union.split("official").tolist(), strict=True))
    ones = [sides[f"chexpert:patient{number:05d}"] for number in range(1, 21)]
    assert ones == [sides[f"mimic:p{10_000_000 + number}"] for number in range(1, 21)]
    assert set(ones) == {"train", "val"}


def test_patients_linked_to_a_test_patient_over_a_third_pack_are_kept_out(tmp_path):
    cxr14, chexpert, mimic = good_tree(tmp_path / "a"), good_chexpert(tmp_path / "b"), good_mimic(tmp_path / "c")
    # a film of patient 1 in MIMIC is a CheXpert test film; another one of that patient is a film of 1000 in cxr14
    shutil.copy(mimic.path(10, 10_000_001), chexpert.root / NAME.format(64541, 1).replace("train", "valid"))
    cxr14.save("00001000_000.png", np.asarray(Image.open(mimic.path(11, 10_000_001))))
    union = UnionPack(make_packs(tmp_path / "packs", cxr14, chexpert, mimic), SOURCES[::2], TESTS[1:])
    outside = union.patient_ids[union.split("official") == "test"].tolist()
    assert outside == ["cxr14:1000"] * 2 + ["mimic:p10000001"] * 2


@pytest.fixture(scope="module")
def lookalikes(tmp_path_factory):
    """Packs in which a MIMIC film is a re-encoded ChestX-ray14 test film."""
    root = tmp_path_factory.mktemp("lookalikes")
    cxr14, chexpert, mimic = good_tree(root / "a"), good_chexpert(root / "b"), good_mimic(root / "c")
    reencode(cxr14.root / "images/00001004_000.png", mimic.path(21, 10_000_002), quality=80)
    return make_packs(root / "packs", cxr14, chexpert, mimic)


def test_near_duplicates_are_listed_and_stay(lookalikes):
    union = UnionPack(lookalikes, SOURCES, TESTS)
    assert not (union.split("official")[union.rows_of("mimic")] == "test").any()
    assert "1 pairs of two patients' films look alike, 1 of them in two splits" in list_near_duplicates(union)
    with (lookalikes / "near_duplicates.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert line["image_id"] == "cxr14:00001004_000.png"
    assert line["other_image_id"].startswith("mimic:")
    assert line["splits"].startswith("official test/")
    assert int(line["differing_bits"]) <= 12


def test_near_duplicates_of_test_films_can_be_kept_out(lookalikes):
    union = UnionPack(lookalikes, ["chexpert", "mimic"], TESTS, 0.01, "exclude")
    outside = union.patient_ids[union.split("official") == "test"].tolist()
    assert [patient for patient in outside if patient.startswith("mimic")] == ["mimic:p10000002"] * 2
    assert union.digest != UnionPack(lookalikes, ["chexpert", "mimic"], TESTS).digest
    assert pickle.loads(pickle.dumps(union)).split("official").tolist() == union.split("official").tolist()


def test_texts_of_some_rows_are_qualified(union):
    assert union.texts("patient_id", np.array([31, 0])) == ["mimic:p10000006", "cxr14:1000"]


class RepublishedSource(ChestXray14Source):
    """A set of films, cut and renamed, of ChestX-ray14 patients."""

    name = "republished"

    def films(self):
        films, refusals = super().films()
        return [replace(film, patient_id=f"cxr14:{film.patient_id}") for film in films], refusals


def test_a_test_patient_in_a_set_that_republishes_films_is_found(packs, tmp_path):
    tree = good_tree(tmp_path / "raw")
    for path in (tree.root / "images").iterdir():
        tree.save(path.name, grey(int(path.name[5:8]) * 1000 + int(path.name[9:12])))  # other pixels, same patients
    shutil.copytree(packs / "cxr14", tmp_path / "packs/cxr14")
    prepare(RepublishedSource(tree.write()), tmp_path / "packs/republished", size=80, workers=0)
    union = UnionPack(tmp_path / "packs", ["republished"], TESTS[:1])
    assert set(union.patient_ids[union.split("official") == "test"]) == {"cxr14:1004", "cxr14:1005"}


def test_the_manifest_tells_of_the_whole(packs, union):
    manifest = union.manifest
    assert (manifest.source, manifest.share, manifest.size) == ("cxr14+chexpert+mimic", "credentialed", 80)
    assert manifest.counts["splits"]["official"]["test"] == 6
    assert sum(manifest.counts["sources"]["mimic"].values()) == 12
    pixels = np.stack([union.image(row) for row in range(32)]) / 255
    np.testing.assert_allclose([union.mean, union.std], [pixels.mean(), pixels.std()], rtol=1e-9)
    assert UnionPack(packs, ["cxr14"]).share == "public"


def test_moments_of_the_pretraining_films(union):
    rows = np.flatnonzero(union.split("official") != "test")
    pixels = np.stack([union.image(int(row)) for row in rows]) / 255
    np.testing.assert_allclose(union.pretraining_moments(), [pixels.mean(), pixels.std()], rtol=1e-9)


def test_the_survey_counts(union):
    text = survey(union)
    assert text.startswith("26 films for pre-training (cxr14 8, chexpert 6, mimic 12), of which ")
    assert "6 are of patients of cxr14/official/test, chexpert/clean/test; mean 0." in text


def test_the_digest_follows_packs_tests_and_share(packs, union):
    others = [(SOURCES[:2], TESTS, 0.3), (SOURCES, TESTS[:1], 0.3), (SOURCES, TESTS, 0.2), (SOURCES[::-1], TESTS, 0.3)]
    digests = {UnionPack(packs, *settings).digest for settings in others}
    assert len(digests | {union.digest}) == 5
    assert UnionPack(packs, SOURCES, TESTS, 0.3).digest == union.digest


def test_it_travels_to_workers(union):
    copy = pickle.loads(pickle.dumps(union))
    assert copy.digest == union.digest
    np.testing.assert_array_equal(copy.image(31), union.image(31))


def test_all_missing_packs_are_named_with_their_commands(tmp_path):
    with pytest.raises(PackError) as caught:
        UnionPack(tmp_path, SOURCES, TESTS)
    message = str(caught.value)
    assert all(f"`python prepare.py data={name}`" in message for name in SOURCES)
    assert "\n" not in message


def test_a_missing_pack_of_a_test_set_is_named(packs, tmp_path):
    shutil.copytree(packs / "mimic", tmp_path / "mimic")
    with pytest.raises(PackError, match=r"data=cxr14.*data\.test_sets the test sets to keep out"):
        UnionPack(tmp_path, ["mimic"], ["cxr14/official/test"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (([],), r"data\.sources=\[\] must name packs"),
        ((["mimic", "mimic"],), "each once"),
        ((["mimic"], ["cxr14"]), "cxr14 is not PACK/SCHEME/SPLIT"),
        ((["mimic"], ["cxr14/official/holdout"]), r"cxr14/official/holdout has no films.*'official'"),
        ((["mimic"], ["cxr14/offical/test"]), "data.split=offical: .* has no such split"),
        ((["mimic"], [], 1.0), r"data\.val_share=1\.0 must be between 0 and 1"),
    ],
)
def test_mistakes_are_named(settings, message, packs):
    with pytest.raises(ValueError, match=message):
        UnionPack(packs, *settings)


def test_packs_of_two_sizes_are_refused(packs, tmp_path):
    shutil.copytree(packs / "mimic", tmp_path / "packs/mimic")
    prepare(ChestXray14Source(good_tree(tmp_path / "raw").write()), tmp_path / "packs/cxr14", size=64, workers=0)
    with pytest.raises(PackError, match=r"films of 80 pixels.*of 64: run `python prepare\.py data=mimic size=64`"):
        UnionPack(tmp_path / "packs", ["cxr14", "mimic"])


def test_three_faulty_downloads_become_one_sound_set(tmp_path):
    trees = good_tree(tmp_path / "a"), good_chexpert(tmp_path / "b"), good_mimic(tmp_path / "c")
    for tree, plant in zip(trees, (plant_cxr14, plant_chexpert, plant_mimic), strict=True):
        plant(tree)
    add_film(trees[1], NAME.format(90, 1), 90, labels="," * 13)
    union = UnionPack(make_packs(tmp_path / "packs", *trees, max_quarantine=1.0), SOURCES, TESTS)
    # cxr14: 12 sound and 2 odd films; chexpert: 8, and the one without labels; mimic: 12, and 2 with gaps in tables
    counts = union.manifest.counts["sources"]
    assert {name: sum(each.values()) for name, each in counts.items()} == {"cxr14": 14, "chexpert": 9, "mimic": 14}
    assert union.manifest.counts["splits"]["official"]["test"] == 6
    assert set(np.unique(union.labels)) <= {-2, -1, 0, 1}
    assert all(union.image(row).std() > 2 for row in range(len(union)))
    assert json.loads(json.dumps(union.manifest.counts)) == union.manifest.counts
