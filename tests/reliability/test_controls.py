"""Is a score real? Clear phantoms are learned, shuffled labels teach nothing, and pixels alone do not do."""

import json
import os
from pathlib import Path

import pytest
from composing import composed

from evax.commands.evaluate.probe import evaluate
from evax.commands.train.follow import follow
from evax.commands.train.start import train
from evax.data.prepare import prepare
from evax.data.sources.phantom import PhantomSource

pytestmark = pytest.mark.slow  # two fine-tunings of some minutes


@pytest.fixture(scope="module")
def clear_pack(tmp_path_factory):
    """The films of `experiment=demo_resnet18`."""
    folder = tmp_path_factory.mktemp("packs") / "clear"
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    prepare(PhantomSource(num_films=4000, size=128, contrast=8.0), folder, size=128, workers=workers)
    return folder


def result_of(folder: Path):
    return json.loads((folder / "results.json").read_text())


def fine_tuned(pack, run_dir, *words):
    train(composed("experiment=demo_resnet18", f"data.pack={pack}", "~callbacks.progress", *words), run_dir)
    follow(run_dir)
    return result_of(run_dir)


@pytest.fixture(scope="module")
def learned(clear_pack, tmp_path_factory):
    return fine_tuned(clear_pack, tmp_path_factory.mktemp("learned") / "run")


def test_clear_findings_are_learned(learned):
    assert learned["auroc_macro"]["value"] >= 0.95
    assert not learned["notes"]


def test_shuffled_labels_teach_nothing(learned, clear_pack, tmp_path):
    shuffled = fine_tuned(clear_pack, tmp_path / "run", "data.shuffle_labels=true", "trainer.max_epochs=3")
    assert shuffled["test_ids_digest"] == learned["test_ids_digest"]
    assert shuffled["auroc_macro"]["value"] == pytest.approx(0.5, abs=0.05)
    assert shuffled["notes"]


def test_pixels_alone_are_not_enough_on_the_same_films(learned, clear_pack, tmp_path):
    asked = [f"data.pack={clear_pack}", "features=pixels", "strengths=[0.001,0.01]", "repeats=1", "draws=100"]
    evaluate(composed(*asked, root="evaluate"), tmp_path)
    floor = result_of(tmp_path)
    assert floor["test_ids_digest"] == learned["test_ids_digest"]
    assert floor["auroc_macro"]["value"] <= 0.75
