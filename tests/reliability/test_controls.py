"""Is a score real? Nothing is learned from shuffled labels, and pixels alone do not do."""

import json
from pathlib import Path

import pytest
from composing import composed

from evax.data.prepare import prepare
from evax.data.sources.phantom import PhantomSource
from evax.run import train
from evax.run_evaluate import evaluate
from evax.run_follow import follow

pytestmark = pytest.mark.slow  # a fine-tuning of some minutes


@pytest.fixture(scope="module")
def demo_pack(tmp_path_factory):
    """The films of `make demo`."""
    folder = tmp_path_factory.mktemp("packs") / "demo"
    prepare(PhantomSource(num_films=2600, size=128), folder, size=128, workers=0)
    return folder


def result_of(folder: Path):
    return json.loads((folder / "results.json").read_text())


def fine_tuned(pack, run_dir, *words):
    train(composed("experiment=demo_finetune", f"data.pack={pack}", "~callbacks.progress", *words), run_dir)
    follow(run_dir)
    return result_of(run_dir)


@pytest.fixture(scope="module")
def shuffled(demo_pack, tmp_path_factory):
    return fine_tuned(demo_pack, tmp_path_factory.mktemp("shuffled") / "run", "data.shuffle_labels=true")


def test_shuffled_labels_teach_nothing(shuffled):
    assert shuffled["auroc_macro"]["value"] == pytest.approx(0.5, abs=0.05)
    assert shuffled["notes"]


def test_pixels_alone_are_not_enough_on_the_same_films(shuffled, demo_pack, tmp_path):
    asked = [f"data.pack={demo_pack}", "features=pixels", "strengths=[0.001,0.01]", "repeats=1", "draws=100"]
    evaluate(composed(*asked, root="evaluate"), tmp_path)
    floor = result_of(tmp_path)
    assert floor["test_ids_digest"] == shuffled["test_ids_digest"]
    assert floor["auroc_macro"]["value"] <= 0.75
