"""What `train` does around a fit: claims, resumes, refuses."""

import pytest
from composing import composed
from omegaconf import OmegaConf

from evax.config import ConfigError
from evax.run import CONFIG, claim, resumed_config, settled, train, without_weights


@pytest.fixture
def saved(tmp_path):
    run_dir = tmp_path / "run"
    claim(run_dir)
    OmegaConf.save(settled(composed("experiment=demo_pretrain", "weights=old.safetensors")), run_dir / CONFIG)
    return run_dir


def test_a_run_directory_is_claimed_once(saved):
    claim(saved)  # nothing has been computed there
    (saved / "metrics.csv").touch()
    with pytest.raises(ConfigError, match=r"holds a run already; go on with it by resume="):
        claim(saved)


def test_resume_keeps_the_saved_configuration(saved):
    cfg = resumed_config(composed(), saved, [f"resume={saved}"])
    assert cfg.name == "demo_pretrain"
    assert cfg.backbone.name == "eva_x_tiny"


def test_a_checkpoint_replaces_the_first_weights(saved):
    cfg = resumed_config(composed(), saved, [])
    assert cfg.model.backbone.weights == "old.safetensors"  # a run killed before its first checkpoint needs them
    assert without_weights(cfg.model).backbone.weights is None


def test_resume_takes_what_decides_where_it_runs(saved):
    words = ["trainer.devices=2", "data.num_workers=3"]
    cfg = resumed_config(composed(*words), saved, words)
    assert (cfg.trainer.devices, cfg.data.num_workers) == (2, 3)


@pytest.mark.parametrize("word", ["masking.ratio=0.2", "data.fraction=0.5", "seed=1", "+trainers.x=1"])
def test_resume_refuses_what_would_change_the_result(word, saved):
    with pytest.raises(ConfigError, match=r"a resumed run keeps its saved configuration"):
        resumed_config(composed(), saved, [word])


def test_resume_without_a_run_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no config.yaml; name a run directory"):
        resumed_config(composed(), tmp_path, [])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("protocol=official", "pre-training has one protocol, clean"),
        ("+trainer.accumulate_grad_batches=2", "use per_device_batch"),
        ("+trainer.max_steps=10", "use trainer.max_epochs"),
        ("trainer.limit_train_batches=3", "use data.fraction"),
        ("trainer.precision=bf16-true", "use bf16-mixed or 32-true"),
    ],
)
def test_what_would_be_ignored_or_break_a_resume_is_refused(word, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train(composed(word), tmp_path / "run")


def test_the_tokenizers_precision_and_file_are_settled(monkeypatch):
    monkeypatch.setattr("evax.run.best_precision", lambda accelerator: "bf16-mixed")
    cfg = settled(composed("tokenizer=mgca_vit_b", "tokenizer.weights=weights/vit_base.ckpt"))
    for tokenizer in (cfg.tokenizer, cfg.model.tokenizer):
        assert tokenizer.precision == "bf16"
        assert tokenizer.weights.startswith("/")
