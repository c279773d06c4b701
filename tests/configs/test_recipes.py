"""`recipe=paper` says what the paper's text says, where `recipe=code`, the experiments, runs as the scripts do."""

import pytest
from composing import composed

from evax.config import TRAIN_KEYS, ConfigError, check_config
from evax.runs.settings import check_protocol, check_trainer, settled

# Paper: every set at 224 pixels, "drop-out 0.2", 30 epochs on ChestX-ray14 and 10 on the others.
EPOCHS = {
    "finetune_cxr14_vit_ti": (45, 30),
    "finetune_cxr14_vit_s": (30, 30),
    "finetune_cxr14_vit_b": (10, 30),
    "finetune_chexpert_vit_s": (3, 10),
    "finetune_covidx3_vit_s": (10, 10),
    "finetune_covidx4_vit_s": (10, 10),
}


def official(experiment, *words):
    cfg = composed(f"experiment={experiment}", "protocol=official", "trainer.devices=1", *words)
    check_config(cfg, TRAIN_KEYS)
    check_protocol(cfg)
    check_trainer(cfg.trainer)
    return settled(cfg)


@pytest.mark.parametrize("experiment", EPOCHS)
def test_recipes_differ_where_paper_and_code_do(experiment):
    code, paper = official(experiment), official(experiment, "recipe=paper")
    assert (code.recipe, paper.recipe) == ("code", "paper")
    assert (code.trainer.max_epochs, paper.trainer.max_epochs) == EPOCHS[experiment]
    size = 480 if "covidx" in experiment else 224
    assert (code.data.image_size, paper.data.image_size) == (size, 224)
    assert (code.model.backbone.image_size, paper.model.backbone.image_size) == (size, 224)
    assert code.model.backbone.drop_path > 0 == code.model.dropout
    assert (paper.model.backbone.drop_path, paper.model.dropout) == (0.0, 0.2)
    assert code.optim == paper.optim


def test_the_drop_out_of_the_paper_is_of_a_linear_head():
    with pytest.raises(ConfigError, match="recipe=paper: its drop-out is of what a linear head reads; use recipe=code"):
        official("finetune_cxr14_vit_s", "recipe=paper", "adapt=attentive")


PUBLISHED = {
    "chexpert": "clean",
    "covidx3": "official",
    "covidx4": "published",
}  # the scheme whose test set was reported


@pytest.mark.parametrize("size", ["ti", "s", "b"])
@pytest.mark.parametrize("data", PUBLISHED)
def test_official_trains_and_tests_on_the_published_films_and_clean_keeps_some_to_choose(data, size):
    experiment = f"finetune_{data}_vit_{size}"
    films, clean = official(experiment).data, settled(composed(f"experiment={experiment}")).data
    assert (films.split, films.fit_on, films.select_on) == (PUBLISHED[data], ["train", "val"], "test")
    usual = "clean" if data == "chexpert" else "official"
    assert (clean.split, clean.fit_on, clean.select_on) == (usual, ["train"], "val")


def test_what_the_user_names_stays_and_val_films_of_another_split_do_not_train():
    experiment = "finetune_covidx4_vit_s"
    assert official(experiment, "data.fit_on=[train]").data.split == "published"
    other = official(experiment, "data.split=official").data
    assert (other.split, other.fit_on) == ("official", ["train"])
    assert official("finetune_cxr14_vit_s").data.fit_on == ["train"]


def test_naming_the_code_is_the_default():
    experiment = "finetune_cxr14_vit_s"
    assert official(experiment, "recipe=code") == official(experiment)


def test_official_takes_a_plain_fraction_and_clean_whole_patients():
    clean = settled(composed("experiment=demo_finetune"))
    assert (official("demo_finetune").data.fraction_of, clean.data.fraction_of) == ("films", "patients")
    assert (official("demo_finetune").data.keep_epoch, clean.recipe) == (True, None)
