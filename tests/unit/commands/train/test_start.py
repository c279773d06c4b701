"""What `train` does around a fit: claims, resumes, refuses."""

import hashlib
from pathlib import Path

import pytest
from composing import composed
from omegaconf import OmegaConf
from training_runs import command, finish, start

from evax.checkpoints.weight_files import CONFIG
from evax.commands.train.fit import claim, claimed
from evax.commands.train.start import train
from evax.config import ConfigError
from evax.runs.build import without_weights
from evax.runs.launch import held
from evax.runs.settings import check_trainer, identified, pinned, resumed_config, settled

WORDS = ("experiment=demo_pretrain", "weights=old.safetensors")


@pytest.fixture
def saved(tmp_path):
    run_dir = tmp_path / "run"
    cfg = settled(composed(*WORDS))
    claim(cfg, run_dir)
    OmegaConf.save(cfg, run_dir / CONFIG)
    return run_dir


def test_a_run_directory_is_for_one_run(saved):
    other = settled(composed(*WORDS, "masking.ratio=0.2"))
    claim(other, saved)  # nothing has been computed there
    (saved / "metrics.csv").touch()
    with pytest.raises(ConfigError, match=r"another run already \(masking.ratio is 0.4 there and 0.2 here\)"):
        claim(other, saved)


def test_the_same_command_goes_on(saved):
    (saved / "metrics.csv").touch()
    claim(settled(composed(*WORDS, "trainer.devices=2")), saved)


def test_resume_keeps_the_saved_configuration(saved):
    cfg = resumed_config(composed(), saved, [f"resume={saved}"])
    assert cfg.name == "demo_pretrain"
    assert cfg.backbone.name == "eva_x_tiny"


def test_a_checkpoint_replaces_the_first_weights(saved):
    cfg = resumed_config(composed(), saved, [])
    first = cfg.model.backbone.weights  # a run killed before its first checkpoint needs them
    assert Path(first).name == "old.safetensors"
    assert without_weights(cfg.model).backbone.weights is None


def test_resume_takes_what_decides_where_it_runs(saved):
    words = ["trainer.devices=2", "data.num_workers=3"]
    cfg = resumed_config(composed(*words), saved, words)
    assert (cfg.trainer.devices, cfg.data.num_workers) == (2, 3)


@pytest.mark.parametrize("word", ["masking.ratio=0.2", "data.fraction=0.5", "seed=1", "+trainers.x=1"])
def test_resume_refuses_what_would_change_the_result(word, saved):
    with pytest.raises(ConfigError, match=r"a resumed run keeps its saved configuration"):
        resumed_config(composed(), saved, [word])


def test_a_probe_may_be_added_or_changed_when_a_run_goes_on(saved):
    words = ["then=probe", "then.repeats=1"]
    cfg = resumed_config(composed(*words), saved, words)
    assert (cfg.then.repeats, cfg.then.draws) == (1, 1000)
    OmegaConf.save(cfg, saved / CONFIG)
    words = ["then=probe", "then.repeats=2"]
    assert resumed_config(composed(*words), saved, words).then.repeats == 2


def test_a_run_whose_probe_was_to_be_rounded_goes_on_without_that_key(saved):
    words = ["then=probe"]
    cfg = resumed_config(composed(*words), saved, words)
    cfg.then.precision = "bf16-mixed"
    OmegaConf.save(cfg, saved / CONFIG)
    assert "precision" not in resumed_config(composed(), saved, []).then


def test_every_path_of_a_saved_configuration_means_the_same_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    teacher, weights = "tokenizer.weights=teacher.pt", "weights=old.pt"
    cfg = settled(composed("tokenizer=mgca_vit_b", teacher, weights, "paths.packs=p", "paths.runs=r"))
    paths = (cfg.weights, cfg.backbone.weights, cfg.model.backbone.weights, cfg.tokenizer.weights)
    paths += (cfg.model.tokenizer.weights, cfg.data.pack, cfg.paths.packs, cfg.paths.runs)
    names = ("old.pt", "old.pt", "old.pt", "teacher.pt", "teacher.pt", "p/phantom", "p", "r")
    assert paths == tuple(str(tmp_path / name) for name in names)


@pytest.fixture
def student(tmp_path):
    """A run directory to learn from, and the configuration of a run that does."""
    for name, content in (("best.ckpt", b"best"), ("other.ckpt", b"another")):
        (tmp_path / name).write_bytes(content)
    return tmp_path, settled(composed("tokenizer=eva_x", f"tokenizer.weights={tmp_path}"))


def test_a_run_directory_as_teacher_becomes_its_best_file_with_its_digest(student):
    folder, cfg = student
    cfg = pinned(cfg)
    assert cfg.tokenizer.weights == cfg.model.tokenizer.weights == str(folder / "best.ckpt")
    assert cfg.teacher_sha256 == hashlib.sha256(b"best").hexdigest()


def test_a_run_goes_on_with_a_copy_of_its_teacher_and_with_no_other_file(student, tmp_path_factory):
    folder, cfg = student
    run_dir = tmp_path_factory.mktemp("run")
    OmegaConf.save(pinned(cfg), run_dir / CONFIG)
    (folder / "best.ckpt").rename(folder / "copy.ckpt")
    words = [f"tokenizer.weights={folder / 'copy.ckpt'}"]
    moved = pinned(resumed_config(composed("tokenizer=eva_x", *words), run_dir, words))
    assert moved.model.tokenizer.weights == str(folder / "copy.ckpt")
    digests = [hashlib.sha256(content).hexdigest()[:12] for content in (b"another", b"best")]
    words = [f"tokenizer.weights={folder / 'other.ckpt'}"]
    with pytest.raises(ConfigError, match=rf"other.ckpt: its sha256 is {digests[0]}.*began with {digests[1]}") as stop:
        pinned(resumed_config(composed("tokenizer=eva_x", *words), run_dir, words))
    assert "\n" not in str(stop.value)


def test_a_teacher_whose_content_has_changed_is_refused_before_any_compute(student, tmp_path_factory):
    folder, cfg = student
    run_dir = tmp_path_factory.mktemp("run")
    OmegaConf.save(pinned(cfg), run_dir / CONFIG)
    (folder / "best.ckpt").write_bytes(b"trained on")
    with pytest.raises(ConfigError, match=r"best.ckpt: its sha256 is .* and the run began with"):
        train(composed(f"resume={run_dir}"), run_dir, [f"resume={run_dir}"])


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
    monkeypatch.setattr("evax.runs.settings.best_precision", lambda accelerator: "bf16-mixed")
    cfg = settled(composed("tokenizer=mgca_vit_b", "tokenizer.weights=weights/vit_base.ckpt"))
    for tokenizer in (cfg.tokenizer, cfg.model.tokenizer):
        assert tokenizer.precision == "bf16"
        assert tokenizer.weights.startswith("/")


def test_a_second_process_is_refused_before_it_writes(saved, run_pack):
    before = (saved / CONFIG).read_bytes()
    words = ["experiment=demo_pretrain", "masking.ratio=0.2", f"hydra.run.dir={saved}", "trainer.accelerator=cpu"]
    words += [f"data.pack={run_pack}", "batch_size=4"]
    with held(saved):
        output = finish(start(command(*words)), expected=1)
    assert "another process is training this run" in output
    assert (saved / CONFIG).read_bytes() == before


@pytest.mark.parametrize(("word", "name"), [("32", "32-true"), ("bf16", "bf16-mixed"), ("64", "64-true")])
def test_a_precision_is_written_down_by_its_full_name(word, name):
    assert settled(composed(f"trainer.precision={word}")).trainer.precision == name


@pytest.mark.parametrize("word", ["16", "16-mixed", "bf16-true", "fp16"])
def test_other_precisions_are_refused(word):
    with pytest.raises(ConfigError, match=f"trainer.precision={word} is not supported"):
        check_trainer(composed(f"trainer.precision={word}").trainer)


def test_the_weights_of_a_run_are_known_by_their_digest(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"0")
    cfg = identified(settled(composed(f"weights={tmp_path}/weights.safetensors")))
    assert cfg.weights_sha256 == hashlib.sha256(b"0").hexdigest()
    assert identified(settled(composed("weights=nowhere.pt"))).weights_sha256 is None


def failing(run_dir, made, **how):
    with claimed(settled(composed(*WORDS)), run_dir, **how):
        for name in made:
            (run_dir / name).parent.mkdir(exist_ok=True)
            (run_dir / name).touch()
        raise ValueError("refused")


def fail_in(run_dir, *made, **how):
    """A run that is claimed, leaves the files `made`, and fails."""
    with pytest.raises(ValueError, match="refused"):
        failing(run_dir, made, **how)


@pytest.mark.parametrize("made", [(), ("wandb/offline.wandb", "events")])
def test_a_run_that_fails_before_it_trains_leaves_nothing(made, tmp_path):
    fail_in(tmp_path / "runs" / "new", *made)
    assert not (tmp_path / "runs" / "new").exists()
    (tmp_path / "there").mkdir()
    fail_in(tmp_path / "there", *made)
    assert not list((tmp_path / "there").iterdir())


@pytest.mark.parametrize("made", ["metrics.csv", "checkpoints/step-000001.ckpt"])
def test_what_was_trained_stays_when_a_run_fails(made, tmp_path):
    fail_in(tmp_path / "run", made)
    assert {"config.yaml", made.partition("/")[0]} <= {path.name for path in (tmp_path / "run").iterdir()}


def test_a_folder_that_held_something_stays_when_a_run_fails(saved, tmp_path):
    fail_in(saved)
    fail_in(saved, is_new=False)
    assert (saved / CONFIG).exists()
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "job.json").touch()
    fail_in(tmp_path / "job")
    assert (tmp_path / "job" / "job.json").exists()
