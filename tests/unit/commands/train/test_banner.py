"""What a run says before its first step and after its last."""

import pytest
from composing import composed
from omegaconf import OmegaConf
from torch import nn

from evax.checkpoints.index import Entry, record
from evax.commands.train.banner import banner, ending, finetuning, following, parameters_told, short
from evax.runs.build import build_task, build_trainer, open_data
from evax.runs.settings import check_run, settled

SMALL = ("image_size=32", "batch_size=16", "per_device_batch=4", "trainer.accelerator=cpu", "trainer.precision=32-true")


def said(tmp_path, pack, *words):
    cfg = settled(composed(*SMALL, f"data.pack={pack}", "~callbacks.progress", *words))
    data = open_data(cfg)
    trainer = build_trainer(cfg, tmp_path, data)
    text = banner(cfg, tmp_path / "run", data, build_task(cfg, data), trainer)
    return dict(line.split(maxsplit=1) for line in text.splitlines())


def test_a_pre_training_is_told_before_its_first_step(tmp_path, pack_folder):
    told = said(tmp_path, pack_folder, "experiment=demo_pretrain", "trainer.max_epochs=7", "then=probe")
    assert told == {
        "run": str(tmp_path / "run"),
        "images": f"{pack_folder}, split official: 44 train, 10 val, 6 test; trains on 44 (train)",
        "model": "eva_x_tiny at 32 pixels, 5.5 M parameters",
        "steps": "7 epochs of 2 = 14 steps",
        "batch": "16 = 1 device x 4 images x 4 accumulated",
        "device": "cpu, 32-true (training); scores are float32",
        "then": "a probe of frozen features, before and after",
    }


def test_a_frozen_backbone_is_told(tmp_path, pack_folder):
    told = said(tmp_path, pack_folder, "experiment=demo_finetune", "adapt=linear", "data.fraction=0.5")
    assert told["model"].startswith("eva_x_tiny at 32 pixels, 5.5 M parameters, of which ")
    assert told["model"].endswith(" are trained")
    assert "; trains on 22 (train, a fraction of 0.5)" in told["images"]
    assert "then" not in told


def test_parameters_of_a_teacher_are_not_the_tasks():
    task = nn.ModuleDict({"backbone": nn.Linear(1000, 1000), "tokenizer": nn.Linear(9, 9), "head": nn.Linear(2, 1)})
    assert parameters_told(task) == "1.0 M parameters"
    task["backbone"].requires_grad_(False)
    assert parameters_told(task) == "1.0 M parameters, of which 3 are trained"


def test_a_finished_run_says_its_best_its_place_and_what_is_next(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_dir = tmp_path / "runs" / "one"
    run_dir.mkdir(parents=True)
    (run_dir / "best.ckpt").touch()
    record(run_dir, Entry("best.ckpt", 1200, "0" * 64, 0.41))
    text = ending(settled(composed("experiment=demo_pretrain")), run_dir, {"test/auroc_macro": 0.7}, 754.0)
    assert text.splitlines() == [
        "finished runs/one in 13 min",
        "best: val/cosine 0.4100 at step 1,200, runs/one/best.ckpt",
        "test/auroc_macro 0.7000",
        "next: python evaluate.py run=runs/one",
        "next: python train.py experiment=demo_finetune weights=runs/one",
    ]


def test_a_run_without_a_best_checkpoint_ends_with_its_place(tmp_path):
    text = ending(settled(composed("~callbacks.checkpointing")), tmp_path, {}, 3.0)
    assert text.splitlines()[0] == f"finished {short(tmp_path)} in 3 s"
    assert "best:" not in text


PRETRAININGS = (
    *("experiment=demo_pretrain", "experiment=sample_pretrain", "experiment=sample_pretrain data.split=official"),
    *(f"experiment=pretrain_vit_{size}" for size in ("ti", "s", "b")),
    *("data=cxr14 backbone=eva_x_small", "data=mimic backbone=eva_x_base", "backbone=eva_x_small"),
)


@pytest.mark.parametrize("words", PRETRAININGS)
def test_the_fine_tuning_that_is_proposed_composes_and_fits_the_backbone(words):
    cfg = settled(composed(*words.split()))
    proposed = finetuning(cfg)
    if words != "backbone=eva_x_small":  # on phantoms, for which there is none
        tuned = composed(*proposed.split())
        check_run(tuned)
        assert tuned.backbone.name == cfg.backbone.name
        assert ("official" in words) == ("data.split=official" in proposed)


@pytest.mark.parametrize(
    ("words", "commands"),
    [
        ("experiment=demo_finetune", ["python -m evax.predict --weights R --images FOLDER", "python explain.py"]),
        ("experiment=demo_segment", ["python -m evax.predict --weights R --images FOLDER"]),
        ("then=probe backbone=eva_x_small", []),
    ],
)
def test_what_is_next_is_what_the_run_is_for(words, commands, tmp_path):
    cfg = settled(composed(*words.split()))
    found = following(OmegaConf.create(cfg), tmp_path)
    assert len(found) == len(commands)
    assert all(a.startswith(b.replace("R", str(tmp_path), 1)) for a, b in zip(found, commands, strict=True))
