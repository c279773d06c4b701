"""What is refused before torch is imported; which mistakes those are is in tests/configs/test_early_refusals.py."""

import pytest
from composing import composed

from evax.config import ConfigError
from evax.runs.early import check_evaluation, check_training, smaller_experiment


@pytest.mark.parametrize(
    ("words", "experiment"),
    [
        ("experiment=finetune_cxr14_vit_ti", "sample_finetune"),
        ("experiment=pretrain_vit_ti data=cxr14", "sample_pretrain"),
        ("experiment=sample_finetune", ""),
        ("experiment=finetune_chexpert_vit_s", ""),
        ("experiment=segment_rsna_vit_s", ""),
    ],
)
def test_a_smaller_experiment_is_of_the_same_data_and_task(words, experiment):
    assert smaller_experiment(composed(*words.split())) == (f" or experiment={experiment}" if experiment else "")


@pytest.mark.parametrize("name", ["demo_pretrain", "demo_finetune", "demo_segment", "demo_resnet18"])
def test_a_run_that_can_start_is_let_through(name, pack_folder):
    check_training(composed(f"experiment={name}", f"data.pack={pack_folder}"))


def test_all_that_is_missing_is_said_together(tmp_path):
    words = ("experiment=pretrain_vit_s", "weights=nope", f"paths.packs={tmp_path}")
    with pytest.raises(ConfigError) as refusal:
        check_training(composed(*words))
    for part in (
        *("data=cxr14", "data=chexpert", "data=mimic"),
        "weights=nope: no such",
        "fetch mgca_vit_b",
        "make demo",
    ):
        assert part in str(refusal.value)


def test_a_batch_of_a_part_of_the_images_is_left_to_who_draws_it(pack_folder):
    check_training(composed(f"data.pack={pack_folder}", "data.fraction=0.5", "batch_size=30"))


def test_a_resumed_run_is_only_asked_what_may_change(segmented_run):
    check_training(composed(f"resume={segmented_run}", "trainer.max_epochs=2"), ["trainer.max_epochs=2"])
    with pytest.raises(ConfigError, match=r"^seed: a resumed run keeps its saved configuration"):
        check_training(composed(f"resume={segmented_run}", "seed=1"), ["seed=1"])


def test_an_evaluation_that_can_be_made_is_let_through(segmented_run, pack_folder):
    for words in (f"run={segmented_run}", f"weights={segmented_run} data.pack={pack_folder}", "features=view"):
        check_evaluation(composed(*words.split(), root="evaluate"))
    for words in (f"run={segmented_run}", f"weights={segmented_run} images={pack_folder}"):
        check_evaluation(composed(*words.split(), root="explain"))
