"""Ranks that torchrun or srun started."""

import subprocess
import sys

import pytest
from composing import composed
from omegaconf import OmegaConf

from evax.config import ConfigError
from evax.runs.launch import Launch, check_launch, difference, held, launched, placed
from evax.runs.settings import PLACES, settled

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
SRUN = {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "evax"}


@pytest.fixture(params=[TORCHRUN, SRUN], ids=["torchrun", "srun"])
def rank(request, monkeypatch):
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)


def test_a_rank_knows_its_place(rank):
    assert launched() == Launch(rank=3, world_size=4, per_node=2)


@pytest.mark.parametrize("change", [{"SLURM_JOB_NAME": "bash"}, {"SLURM_NTASKS": "1"}])
def test_a_shell_of_slurm_is_no_rank(change, monkeypatch):
    for name, value in (SRUN | change).items():
        monkeypatch.setenv(name, value)
    assert launched() is None


def test_the_launcher_decides_on_devices_and_nodes(rank):
    cfg = placed(composed("trainer.devices=1"))
    assert (cfg.trainer.devices, cfg.trainer.num_nodes) == (2, 2)


def test_ranks_need_a_common_name(rank):
    with pytest.raises(ConfigError, match=r"the 4 ranks .* add hydra.run.dir=runs/NAME"):
        check_launch(composed(), [])
    check_launch(composed(), ["hydra.run.dir=runs/a"])
    check_launch(composed("resume=runs/a"), [])


@pytest.mark.parametrize(
    ("shared", "restarts", "is_told"), [("True", "2", True), ("False", "2", False), ("True", "0", False)]
)
def test_a_store_that_outlives_its_ranks_is_told(shared, restarts, is_told, monkeypatch, caplog):
    own = {"RANK": "0", "TORCHELASTIC_USE_AGENT_STORE": shared, "TORCHELASTIC_MAX_RESTARTS": restarts}
    for name, value in (TORCHRUN | own).items():
        monkeypatch.setenv(name, value)
    check_launch(composed(), ["hydra.run.dir=runs/a"])
    assert ("TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in caplog.text) == is_told


def test_a_cluster_starts_its_own_ranks(rank):
    with pytest.raises(ConfigError, match=r"leave torchrun or srun out"):
        check_launch(composed("trainer=slurm"), ["hydra.run.dir=runs/a"])


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("seed=0", None),
        ("trainer.devices=2", None),
        ("data.num_workers=1", None),
        ("masking.ratio=0.2", "masking.ratio is 0.3 there and 0.2 here"),
    ],
)
def test_the_same_run_elsewhere_is_the_same_run(word, found, tmp_path):
    assert difference(settled(composed()), tmp_path, PLACES) == "without config.yaml"
    OmegaConf.save(settled(composed()), tmp_path / "config.yaml")
    assert difference(settled(composed(word)), tmp_path, PLACES) == found


def test_one_process_trains_a_run(tmp_path):
    elsewhere = f"""
import pathlib
from evax.config import ConfigError
from evax.runs.launch import held
try:
    with held(pathlib.Path({str(tmp_path)!r})):
        print("held")
except ConfigError as error:
    print(error)
"""

    def other_process() -> str:
        return subprocess.run([sys.executable, "-c", elsewhere], capture_output=True, text=True, check=True).stdout

    with held(tmp_path):
        assert "another process is training this run" in other_process()
    assert other_process() == "held\n"
