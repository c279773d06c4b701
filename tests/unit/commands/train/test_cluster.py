"""What a cluster is asked for, what is refused before it is asked, and how a job's end is noted."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
from composing import REPOSITORY, composed
from omegaconf import OmegaConf

from evax.commands.train import cluster
from evax.commands.train.cluster import Rank, note_outcome, submit
from evax.commands.train.start import train
from evax.config import TRAIN_KEYS, ConfigError, check_config
from evax.runs.settings import for_cluster, resumed_config, settled

GOLDEN = REPOSITORY / "tests" / "golden" / "pretrain_vit_s_2x8.sbatch"
NODES = ("trainer=slurm", "trainer.num_nodes=2", "trainer.devices=8")


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A machine whose sbatch takes every job under the number 42."""
    for name in ("sbatch", "srun"):
        (tmp_path / "bin" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho Submitted batch job 42\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setattr(cluster, "_submitted", [])


def submitted_text(run_dir: Path, *overrides: str) -> str:
    submit(settled(for_cluster(composed(*overrides))), run_dir)
    text = next((run_dir / "cluster").glob("*submission*.sh")).read_text()
    return text.replace(str(run_dir), "RUN").replace(sys.executable, "python")


def test_two_nodes_of_eight_devices_are_asked_for_as_written_down(slurm, tmp_path):
    words = ("cluster.partition=gpu", "cluster.account=chest", "cluster.hours=48", "cluster.setup=[module load cuda]")
    assert submitted_text(tmp_path / "run", "experiment=pretrain_vit_s", *NODES, *words) == GOLDEN.read_text()
    assert GOLDEN.read_text().rstrip() in (REPOSITORY / "docs" / "clusters.md").read_text()


def test_every_setting_reaches_the_script(slurm, tmp_path):
    text = submitted_text(
        tmp_path / "run",
        *(
            "trainer=slurm",
            "trainer.accelerator=cpu",
            "cluster.qos=night",
            "cluster.constraint=a100",
            "cluster.mem_gb=64",
        ),
        *("cluster.cpus_per_task=3", "cluster.grace_s=60", "+cluster.extra.mail_type=END"),
    )
    options = dict(re.findall(r"#SBATCH --([\w-]+)=(.*)", text))
    expected = {"qos": "night", "constraint": "a100", "mem": "65536M", "cpus-per-task": "3", "mail-type": "END"}
    assert expected.items() <= options.items()
    assert options["signal"] == "USR2@60"
    assert "gpus-per-node" not in options  # of a run on CPUs


@pytest.mark.parametrize("word", ["cluster.partitoin=gpu", "+cluster.partitoin=gpu"])
def test_a_misspelt_setting_is_refused(word):
    with pytest.raises(Exception, match="partitoin"):
        check_config(composed("trainer=slurm", word), TRAIN_KEYS)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trainer.devices=auto", r"trainer.devices=auto: a job needs their number"),
        ("cluster.hours=-1", r"cluster.hours=-1 is not a number above 0"),
        ("cluster.grace_s=0", r"cluster.grace_s=0 is not a number above 0"),
    ],
)
def test_a_wrong_setting_is_refused_before_submission(word, message, slurm, tmp_path):
    with pytest.raises(Exception, match=message):
        train(composed("trainer=slurm", word), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_machine_without_sbatch_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"there is no sbatch here; submit on a login node"):
        train(composed("trainer=slurm"), tmp_path / "run")


def test_a_machine_without_submitit_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setattr("evax.commands.train.cluster.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[slurm\]'"):
        train(composed("trainer=slurm"), tmp_path / "run")


def test_one_machine_is_one_node(tmp_path):
    with pytest.raises(ConfigError, match=r"cluster=local is one machine"):
        train(composed("trainer=slurm", "cluster=local", "trainer.num_nodes=2"), tmp_path / "run")


def test_missing_files_are_told_before_submission(slurm, tmp_path):
    with pytest.raises(ConfigError, match=r"prepare.py data=cxr14.*fetch mgca_vit_b.*make demo"):
        train(composed("experiment=pretrain_vit_s", *NODES, f"paths.packs={tmp_path}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_weights_alone_are_told_too(slurm, probe_pack, tmp_path):
    words = ("tokenizer=mgca_vit_b", f"tokenizer.weights={tmp_path}/none.ckpt", f"data.pack={probe_pack}")
    with pytest.raises(ConfigError, match=r"none\.ckpt"):
        train(composed("trainer=slurm", *words), tmp_path / "run")


def test_what_depends_on_the_machine_is_decided_for_the_nodes():
    cfg = settled(for_cluster(composed("trainer=slurm", "tokenizer=mgca_vit_b")))
    assert (cfg.trainer.precision, cfg.tokenizer.precision, cfg.model.tokenizer.precision) == (
        "bf16-mixed",
        *["bf16"] * 2,
    )


def test_another_trainer_moves_a_resumed_run_and_changes_nothing_else(tmp_path):
    OmegaConf.save(settled(composed("experiment=demo_pretrain")), tmp_path / "config.yaml")
    there = resumed_config(composed("trainer=slurm"), tmp_path, ["trainer=slurm"])
    OmegaConf.save(there, tmp_path / "config.yaml")
    back = resumed_config(composed("trainer=ddp"), tmp_path, ["trainer=ddp"])
    assert (there.trainer.devices, there.trainer.strategy, there.trainer.max_epochs) == (8, "ddp", 4)
    assert there.cluster._target_ == "evax.commands.train.cluster.Slurm"
    assert back.cluster is None
    assert back.trainer.max_epochs == 4


def test_the_first_error_of_a_job_stays_until_it_succeeds(tmp_path):
    (tmp_path / "job.json").write_text(json.dumps({"overrides": ["seed=1"], "error": None}))
    for error, expected in [("a", "a"), ("b", "a"), (None, None)]:
        note_outcome(tmp_path, error)
        state = "failed" if expected else "finished"
        record = {"overrides": ["seed=1"], "error": expected, "state": state}
        assert json.loads((tmp_path / "job.json").read_text()) == record


def test_a_rank_notes_its_error(tmp_path, monkeypatch):
    variables = {"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "7", "SUBMITIT_LOCAL_LOCALID": "0"}
    monkeypatch.setattr(os, "environ", dict(os.environ) | variables)
    (tmp_path / "job.json").write_text(json.dumps({"overrides": [], "error": None}))
    with pytest.raises(FileNotFoundError):
        Rank(str(tmp_path))()
    assert "config.yaml: No such file" in json.loads((tmp_path / "job.json").read_text())["error"]


def test_a_run_that_is_no_job_of_a_multirun_gets_no_record(tmp_path):
    note_outcome(tmp_path, "a")
    assert not list(tmp_path.iterdir())
