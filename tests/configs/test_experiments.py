"""Every file under `conf` composes, is sound, and takes a step where it describes a run."""

import csv
import math
from pathlib import Path

import pytest
import torch
from composing import CONF, composed

from evax.backbones import create_backbone
from evax.checkpoints.files import read_checkpoint
from evax.checkpoints.resize import resize_position_table
from evax.checkpoints.weights import export_weights
from evax.commands.train.start import train
from evax.config import PREPARE_KEYS, TRAIN_KEYS, ConfigError, check_config, instantiate
from evax.runs.settings import check_monitor

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
CHOICES = {
    f"{path.parent.name}={path.stem}": "???" in path.read_text()
    for path in sorted(CONF.glob("*/*.yaml"))
    if path.parent.name not in {"experiment", "hydra", "probe"}
}
COMPLETE = [choice for choice, is_base in CHOICES.items() if not is_base]
BASES = [choice for choice, is_base in CHOICES.items() if is_base]


def is_long(name: str) -> bool:
    """Whether another file of the same family takes the same step with a smaller model."""
    is_twin = name.startswith(("finetune_chexpert", "finetune_covidx")) and "_ti" not in name
    is_masked = name.startswith("segment_") and name != "segment_siim_r50"
    return name.endswith("_vit_b") or is_twin or is_masked


def group(choice: str) -> str:
    return choice.partition("=")[0]


def on(pack: Path) -> list[str]:
    return ["debug=one_step", f"data.pack={pack}", "data.split=official", "data.fit_on=[train]"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_is_sound(name):
    check_config(composed(f"experiment={name}"), TRAIN_KEYS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if is_long(name) else []) for name in EXPERIMENTS]
)
def test_experiment_takes_one_step(name, tiny_pack, tiny_packs, tmp_path):
    cfg = composed(f"experiment={name}")
    pack = tiny_packs.get(Path(cfg.data.pack).name, tiny_pack)
    is_mim = cfg.tokenizer is not None
    stand_ins = ["data=phantom", "tokenizer=hog"] if is_mim and "weights" in cfg.tokenizer else []
    stand_ins += [] if is_mim else ["trainer.limit_val_batches=1.0"]  # a batch of two scores no finding
    stand_ins += ["image_size=96"] if cfg.image_size > 224 else []  # nothing else follows from it
    metrics = train(composed(f"experiment={name}", *on(pack), *stand_ins), tmp_path / "run")
    assert math.isfinite(metrics["train/loss"])
    assert_run_directory_holds_one_step(tmp_path / "run")


@pytest.mark.slow
def test_weights_of_224_pixels_take_a_step_at_the_published_480(tiny_packs, tmp_path):
    weights = tmp_path / "tiny.safetensors"
    backbone = create_backbone("eva_x_tiny")
    export_weights(backbone, weights, {"architecture": {"name": "eva_x_tiny"}})
    words = ["experiment=finetune_covidx4_vit_ti", f"weights={weights}", "optim.lr=1e-9", *on(tiny_packs["covidx4"])]
    cfg = composed(*words)
    assert cfg.image_size == 480
    assert math.isfinite(train(cfg, tmp_path / "run")["train/loss"])
    learned = read_checkpoint(tmp_path / "run" / "best.ckpt")["state_dict"]["backbone.pos_embed"]
    table = resize_position_table(backbone.pos_embed.detach(), (14, 14), (30, 30))
    torch.testing.assert_close(learned, table, rtol=0, atol=1e-6)


def test_all_that_is_missing_is_told_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        train(composed("experiment=pretrain_vit_s", f"paths.packs={tmp_path}", "trainer.devices=1"), tmp_path / "run")
    message = str(caught.value)
    commands = [f"prepare.py data={source}" for source in ("cxr14", "chexpert", "mimic")]
    for command in (*commands, "evax.checkpoints fetch mgca_vit_b", "make demo"):
        assert command in message


def test_averaged_weights_take_one_step(tiny_pack, tmp_path):
    train(composed("callbacks=ema", "backbone=eva_x_tiny", "image_size=64", *on(tiny_pack)), tmp_path / "run")
    assert_run_directory_holds_one_step(tmp_path / "run")


AVERAGED = ("trainer.accelerator=cpu", "trainer.devices=1", "trainer.max_epochs=1", "image_size=64", "batch_size=4")


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_a_fine_tuning_is_scored_and_chosen_with_averaged_weights(task, tiny_pack, tmp_path):
    experiment = "demo_finetune" if task == "classification" else "demo_segment"
    words = [f"callbacks={task}_ema", f"data.pack={tiny_pack}", "data.fraction=1.0", "optim.lr=0.01", *AVERAGED]
    words += ["optim.warmup_epochs=0.0"] if task == "classification" else []
    cfg = composed(f"experiment={experiment}", "trainer.precision=32-true", *words)
    usual = composed(f"experiment={experiment}").callbacks
    assert {name: node for name, node in cfg.callbacks.items() if name != "ema"} == dict(usual.items())
    found = train(cfg, tmp_path / "run")
    best = read_checkpoint(tmp_path / "run" / "best.ckpt")
    assert best["global_step"] > 1
    data = instantiate(cfg.data)
    losses = [val_loss(cfg, data, best[key]) for key in ("state_dict", "current_model_state")]
    assert losses[0] == pytest.approx(found["val/loss"], rel=1e-4)
    assert losses[1] != pytest.approx(found["val/loss"], rel=1e-2)


def val_loss(cfg, data, weights):
    """Mean loss of the films that select, by some weights."""
    task = instantiate(cfg.model, classes=list(data.classes)).eval()
    task.load_state_dict(weights)
    losses = []
    with torch.no_grad():
        for batch in data.evaluation_loader(data.dataset(data.rows("val"))):
            truth = (batch["mask"],) if "mask" in batch else (batch["target"], batch["is_known"])
            loss = task.loss(task(task.unit_images(batch["image"])), *truth)
            losses += [loss] * len(batch["image"])
    return float(torch.stack(losses).mean())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["experiment=demo_finetune", "callbacks=ema"],
            "Classifier records .*use callbacks=classification, or classif",
        ),
        (
            ["experiment=demo_segment", "callbacks=classification"],
            "Segmenter records .*, or segmentation_ema for an av",
        ),
        (["callbacks=segmentation"], "MaskedImageModeling records val/loss, val/cosine.*use callbacks=default, or ema"),
    ],
)
def test_a_monitor_of_another_task_is_refused_before_anything_is_built(words, message, tmp_path):
    with pytest.raises(ConfigError, match=rf"^callbacks\.checkpointing\.monitor=val/\w+: {message}"):
        train(composed(*words, f"data.pack={tmp_path}/none"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("monitor", ["val/cosine_excess", "val/linear_auroc", "train/loss"])
def test_what_task_probes_and_steps_record_may_choose_the_best(monitor):
    check_monitor(composed(f"callbacks.checkpointing.monitor={monitor}"))


def assert_run_directory_holds_one_step(run_dir: Path) -> None:
    with (run_dir / "metrics.csv").open() as file:
        losses = {row["step"]: row["train/loss"] for row in csv.DictReader(file) if row["train/loss"]}
    assert list(losses) == ["1"]
    assert math.isfinite(float(losses["1"]))
    assert [path.name for path in (run_dir / "checkpoints").glob("*.ckpt")] == ["step-000001.ckpt"]
    assert read_checkpoint(run_dir / "best.ckpt")["global_step"] == 1


@pytest.mark.parametrize("choice", [choice for choice in COMPLETE if group(choice) != "source"])
def test_choice_of_train_is_sound(choice):
    is_task = choice.startswith(("callbacks=classification", "callbacks=segmentation"))
    of_classifiers = group(choice) in ("adapt", "recipe") or is_task or is_foreign(choice)
    over_rivals = ["backbone=resnet50_mgca"] if choice in ("sweep=baselines", "sweep=rivals") else []
    base = ["experiment=demo_finetune"] if of_classifiers or over_rivals else []
    check_config(composed(*base, *over_rivals, choice), TRAIN_KEYS)


def is_foreign(choice: str) -> bool:
    """Whether it is a backbone without mask token."""
    return group(choice) == "backbone" and not choice.startswith("backbone=eva_x")


@pytest.mark.parametrize("choice", [choice for choice in COMPLETE if group(choice) == "data"])
def test_choice_of_prepare_is_sound(choice):
    check_config(composed(choice, root="prepare"), PREPARE_KEYS)


@pytest.mark.parametrize("choice", BASES)
def test_base_of_other_files_is_refused_by_its_name(choice):
    with pytest.raises(ConfigError, match=rf"^{group(choice)}[. ].*choose"):
        check_config(composed(*(["experiment=demo_finetune"] if is_foreign(choice) else []), choice), TRAIN_KEYS)


def test_every_data_set_can_be_prepared():
    data = {choice.partition("=")[2] for choice in COMPLETE if group(choice) == "data"}
    assert data == {path.stem for path in (CONF / "source").glob("*.yaml")}
