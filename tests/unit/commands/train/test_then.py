"""The fine-tuning that follows pre-training."""

import json

import pytest
from composing import CONF
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from evax.checkpoints.files import read_checkpoint, write_checkpoint
from evax.commands.train.follow import follow
from evax.commands.train.start import train
from evax.commands.train.then import check_then, with_finetuning
from evax.config import ConfigError, instantiate, register_schemas
from evax.data.leakage import LeakageError

SMALL = ["debug=one_step", "image_size=32", "~callbacks.feature_probe", "trainer.accelerator=cpu"]


@pytest.fixture(autouse=True)
def composing():
    """Hydra, as it stands while `train.py` works."""
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def pretrain(pack, run_dir, *overrides, then=()):
    short = ["trainer.max_epochs=1", "optim.warmup_epochs=0.0"]
    words = [f"data.pack={pack}", "image_size=32", "batch_size=16", *short, *then]
    quoted = ",".join(f"'{word}'" for word in words)
    follows = ["then=demo_finetune", f"then.overrides=[{quoted}]"]
    common = ["experiment=demo_pretrain", f"data.pack={pack}", *SMALL, "seed=3"]
    train(compose("train", overrides=[*common, *follows, *overrides]), run_dir)


def test_the_best_checkpoint_is_fine_tuned_and_scored(probe_pack, tmp_path):
    pretrain(probe_pack, tmp_path / "run")
    metrics = follow(tmp_path / "run")
    result = json.loads((tmp_path / "run" / "finetune" / "results.json").read_text())
    assert metrics == {"test/auroc_macro": result["auroc_macro"]["value"]}
    saved = OmegaConf.load(tmp_path / "run" / "finetune" / "config.yaml")
    assert (saved.seed, saved.backbone.name, saved.trainer.max_epochs) == (3, "eva_x_tiny", 1)
    assert saved.weights == saved.model.backbone.weights == str(tmp_path / "run")
    assert follow(tmp_path / "run") == metrics


def test_a_fine_tuning_of_an_earlier_best_checkpoint_is_not_taken_for_that_of_the_newest(probe_pack, tmp_path):
    pretrain(probe_pack, tmp_path / "run")
    follow(tmp_path / "run")
    newer = read_checkpoint(tmp_path / "run" / "best.ckpt")
    newer["state_dict"]["backbone.cls_token"] += 1
    write_checkpoint(newer, tmp_path / "run" / "best.ckpt")
    with pytest.raises(ConfigError, match=r"finetune holds another run already .weights_sha256 is"):
        follow(tmp_path / "run")


def test_a_segmentation_of_the_paper_may_follow():
    cfg = with_finetuning(compose("train", overrides=["experiment=pretrain_vit_s", "then=segment_rsna"]))
    assert (cfg.then.config.name, cfg.then.config.image_size) == ("segment_rsna_vit_s", 512)


@pytest.mark.parametrize("key", ["weights", "tokenizer.weights"])
def test_test_films_of_what_follows_may_have_trained_nothing_before_the_run(key, probe_pack, tmp_path):
    earlier = {"_target_": "evax.data.module.PhantomData", "pack": str(probe_pack), "image_size": 64, "batch_size": 1}
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "best.ckpt").touch()
    OmegaConf.save({"data": earlier | {"seed": 0, "select_on": "test"}}, tmp_path / "earlier" / "config.yaml")
    follows = ["then=demo_finetune", f"then.overrides=['data.pack={probe_pack}']"]
    cfg = compose("train", overrides=["experiment=demo_pretrain", f"data.pack={probe_pack}", *follows])
    OmegaConf.update(cfg, key, str(tmp_path / "earlier"), force_add=True)
    with pytest.raises(LeakageError, match="chose a checkpoint"):
        check_then(with_finetuning(cfg), instantiate(cfg.data))


@pytest.mark.parametrize("data", ["cxr14", "chexpert", "covidx3", "covidx4"])
def test_a_fine_tuning_of_the_runs_own_size_may_follow(data):
    cfg = with_finetuning(compose("train", overrides=["experiment=pretrain_vit_b", f"then=finetune_{data}"]))
    assert (cfg.then.config.name, cfg.then.config.backbone.name) == (f"finetune_{data}_vit_b", "eva_x_base")


@pytest.mark.slow
def test_a_segmentation_is_trained_and_scored(probe_pack, tmp_path):
    few = ["data.fraction=1.0", "model.channels=16"]
    pretrain(probe_pack, tmp_path / "run", "then.experiment=demo_segment", then=few)
    metrics = follow(tmp_path / "run")
    result = json.loads((tmp_path / "run" / "finetune" / "results.json").read_text())
    assert metrics == {"test/dice_pooled": result["scores"]["dice_pooled"]["mean"]["value"]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"overrides": ["then.experiment=demo_pretrain"]}, "then.experiment=demo_pretrain is no fine-tuning"),
        ({"then": ["data.pack=nowhere"]}, "nowhere"),
        ({"then": ["data.pak=nowhere"]}, "pak"),
        ({"then": ["optim.warmup_epochs=2.0"]}, "optim.warmup_epochs=2.0 must be less than trainer.max_epochs=1"),
        ({"then": ["+trainer.max_steps=3"]}, "trainer.max_steps is not yours to set"),
        (
            {"then": ["backbone=eva_x_small"]},
            "is of eva_x_small, and the run of eva_x_tiny; choose the one of its size",
        ),
        ({"then": ["batch_size=512"]}, "batch_size=512 is more than"),
        ({"overrides": ["cluster=local"]}, "then=demo_finetune follows runs that start their own ranks"),
    ],
)
def test_what_cannot_follow_is_said_before_the_first_step(words, message, probe_pack, tmp_path):
    with pytest.raises(Exception, match=message):
        pretrain(probe_pack, tmp_path / "run", *words.get("overrides", ()), then=words.get("then", ()))
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_a_fine_tuning_follows_no_fine_tuning(probe_pack, tmp_path):
    words = ["experiment=demo_finetune", f"data.pack={probe_pack}", *SMALL[1:2], "then=demo_finetune"]
    with pytest.raises(ConfigError, match="this run is a fine-tuning itself"):
        train(compose("train", overrides=words), tmp_path / "run")
