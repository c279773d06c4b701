"""What `train` does around a fit: claims, resumes, refuses."""

import pytest
from composing import composed
from omegaconf import OmegaConf

from evax.config import ConfigError
from evax.run import CONFIG, claim, resumed_config, settled, train


@pytest.fixture
def saved(tmp_path):
    run_dir = tmp_path / "run"
    claim(run_dir)
    OmegaConf.save(settled(composed("experiment=demo_pretrain", "weights=old.safetensors")), run_dir / CONFIG)
    return run_dir


def test_a_run_directory_is_claimed_once(saved):
    with pytest.raises(ConfigError, match=r"holds a run already; go on with it by resume="):
        claim(saved)


def test_resume_keeps_the_saved_configuration(saved):
    cfg = resumed_config(composed("experiment=null"), saved, [f"resume={saved}"])
    assert cfg.name == "demo_pretrain"
    assert cfg.backbone.name == "eva_x_tiny"


def test_resume_does_not_read_the_first_weights_again(saved):
    cfg = resumed_config(composed(), saved, [])
    assert cfg.model.backbone.weights is None


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


def test_an_unknown_protocol_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"protocol=published is not known; choose clean or official"):
        train(composed("protocol=published"), tmp_path / "run")
