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

from evax.data.leakage import check_gate, cohort
from evax.data.manifest import PackError
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.sources.chexpert import CheXpertSource
from evax.data.sources.cxr14 import ChestXray14Source
from evax.data.sources.mimic import MimicCxrSource
from evax.data.union import UnionPack, survey

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
    assert union.sources().tolist() == ["cxr14"] * 12 + ["chexpert"] * 8 + ["mimic"] * 12
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
    assert [list(splits[union.sources() == name]).count("test") for name in SOURCES] == [4, 2, 0]
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
        ((["mimic"], ["cxr14/offical/test"]), "split=offical is unknown"),
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
