from types import SimpleNamespace

import numpy as np
import pytest
import torch
from chexpert_tree import good_chexpert
from cxr14_tree import good_tree
from mimic_tree import good_mimic

from evax.data.checks import ResumeError
from evax.data.merged import Merged520kData
from evax.data.prepare import prepare
from evax.data.sources.chexpert import CheXpertSource
from evax.data.sources.cxr14 import ChestXray14Source
from evax.data.sources.mimic import MimicCxrSource
from evax.masking import UniformMasking


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """12 films of cxr14, 4 of them in test; 32 of chexpert, 2 in test; 24 of mimic."""
    root = tmp_path_factory.mktemp("merged")
    sources = (
        ChestXray14Source(good_tree(root / "a").write()),
        CheXpertSource(good_chexpert(root / "b", patients=30).write()),
        MimicCxrSource(good_mimic(root / "c", patients=12).write()),
    )
    for source in sources:
        prepare(source, root / "packs" / source.name, size=64, workers=0)
    return root / "packs"


def merged(packs, **settings):
    chosen = {
        "sources": ["cxr14", "chexpert", "mimic"],
        "weights": {"cxr14": 1.0, "chexpert": 1.0, "mimic": 1.0},
        "test_sets": ["cxr14/official/test", "chexpert/clean/test"],
        "val_share": 0.2,
        "image_size": 64,
        "batch_size": 4,
        "seed": 7,
        "masking": UniformMasking(0.3),
        "num_workers": 0,
    }
    return Merged520kData(pack=packs, **(chosen | settings))


def batches(data, *, rank=0, world_size=1, step=0):
    device = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, global_step=step, strategy=device)
    return [(batch["row"], batch["image"], batch["is_masked"]) for batch in data.train_dataloader()]


def equal(a, b):
    return len(a) == len(b) and all(map(torch.equal, sum(a, start=()), sum(b, start=())))


def test_train_and_val_together_are_all_but_the_test_patients(packs):
    data = merged(packs, fit_on=("train", "val"))
    assert len(data.train_rows) == 8 + 30 + 24
    assert len(merged(packs).train_rows) + len(data.rows("val")) == 62


def test_the_gate_has_compared_with_the_declared_test_sets(packs):
    gate = merged(packs).gate
    assert gate["passed"]
    assert gate["checked"] == ["cxr14/official/test", "chexpert/clean/test"]


def test_a_subset_of_the_sources(packs):
    data = merged(packs, sources=["cxr14", "chexpert"], fit_on=("train", "val"))
    assert len(data.train_rows) == 38
    assert data.pack.manifest.source == "cxr14+chexpert"


def test_weights_decide_how_often_films_come(packs):
    data = merged(packs, fit_on=("train", "val"), weights={"cxr14": 2.0, "chexpert": 0.5, "mimic": 1.0}, batch_size=1)
    assert data.films_per_epoch == data.steps_per_epoch == 16 + 15 + 24
    rows = torch.cat([row for row, _, _ in batches(data)])
    counts = np.bincount(rows, minlength=len(data.pack))
    found = {name: counts[data.union.rows_of(name)].sum() for name in data.weights}
    assert found == {"cxr14": 16, "chexpert": 15, "mimic": 24}


def test_a_film_that_comes_twice_an_epoch_has_two_crops_and_masks(packs):
    data = merged(packs, sources=["cxr14"], test_sets=["cxr14/official/test"], weights={"cxr14": 2.0}, batch_size=1)
    found = batches(data)
    first = found[0][0].item()
    (_, crop, mask), (_, other_crop, other_mask) = (each for each in found if each[0].item() == first)
    assert not torch.equal(crop, other_crop)
    assert not torch.equal(mask, other_mask)


def test_weighted_batches_are_the_same_on_ranks_and_after_a_resume(packs):
    weights = {"cxr14": 2.5, "chexpert": 0.5, "mimic": 1.0}
    alone = batches(merged(packs, weights=weights))
    assert equal(batches(merged(packs, weights=weights), step=3), alone[3:])
    ranks = [batches(merged(packs, weights=weights), rank=rank, world_size=2) for rank in (0, 1)]
    assert equal([tuple(map(torch.cat, zip(a, b, strict=True))) for a, b in zip(*ranks, strict=True)], alone)


def test_a_resume_with_other_weights_is_refused(packs):
    state = merged(packs).state_dict()
    merged(packs).load_state_dict(state)
    # as many films an epoch, of other sources
    with pytest.raises(ResumeError, match=r"weights=\{'cxr14': 1\.0, .* but the run now has \{'cxr14': 1\.01"):
        merged(packs, weights={"cxr14": 1.01, "chexpert": 1.0, "mimic": 1.0}).load_state_dict(state)


def test_a_resume_with_other_sources_is_refused(packs):
    state = merged(packs).state_dict()
    with pytest.raises(ResumeError):
        merged(packs, test_sets=["cxr14/official/test"]).load_state_dict(state)


def test_the_state_names_nobody(packs):
    data = merged(packs)
    text = repr(data.state_dict())
    assert not any(name in text for name in (data.pack.patient_ids[0], "1004", "patient00001", "10000001"))


@pytest.mark.parametrize("weights", [{"cxr14": 1.0, "chexpert": 1.0}, {"cxr14": 1.0, "chexpert": 1.0, "mimic": 0.0}])
def test_a_source_without_weight_is_named(weights, packs):
    with pytest.raises(ValueError, match=r"data\.weights\.mimic must be above 0; to leave mimic out"):
        merged(packs, weights=weights)


def test_a_source_whose_films_are_all_tested_is_named(packs):
    with pytest.raises(ValueError, match=r"data\.sources: mimic has no training films"):
        merged(packs, test_sets=["mimic/official/train", "mimic/official/test"])
