"""What ends a run before its last step is refused by its name, or leaves a run that scores nothing and can go on."""

import json

import pandas as pd
import pytest
from composing import composed
from lightning.pytorch import Callback
from training_runs import digest

from evax.checkpoints.files import newest_valid, read_checkpoint, step_file, write_checkpoint
from evax.commands.evaluate.compare import compare
from evax.commands.evaluate.probe import evaluate
from evax.commands.train import fit
from evax.commands.train.follow import follow
from evax.commands.train.start import train
from evax.config import ConfigError, save_config
from evax.predict.loading import load_classifier
from evax.report import card as cards
from evax.report.canvas import slide
from evax.runs.settings import check_callbacks, check_trainer, resumed_config
from evax.runs.weights import export_file

SHORT = (
    *("image_size=32", "batch_size=16", "per_device_batch=8", "trainer.max_epochs=2", "optim.warmup_epochs=0.5"),
    *("trainer.accelerator=cpu", "trainer.precision=32-true", "~callbacks.progress"),
)
STEPS = 10  # of them


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["+trainer.max_time=00:00:01:00"], r"trainer\.max_time is not yours to set; use `timeout -s TERM"),
        (["+trainer.max_steps=3"], r"trainer\.max_steps is not yours to set; use trainer\.max_epochs"),
        (["+trainer.min_steps=3"], r"trainer\.min_steps .*use trainer\.max_epochs"),
        (["+trainer.min_epochs=1"], r"trainer\.min_epochs .*use trainer\.max_epochs"),
        (["+trainer.overfit_batches=2"], r"trainer\.overfit_batches .*use data\.fraction"),
        (["+trainer.fast_dev_run=true"], r"trainer\.fast_dev_run .*use debug=one_step"),
        (["+trainer.barebones=true"], r"trainer\.barebones .*use debug=one_step"),
        (["+trainer.limit_test_batches=2"], r"trainer\.limit_test_batches .*test images are scored whole"),
        (["+trainer.limit_predict_batches=2"], r"trainer\.limit_predict_batches .*scored whole"),
        (["trainer.limit_train_batches=0.5"], r"trainer\.limit_train_batches works for one epoch only"),
        (["trainer.limit_train_batches=1"], r"trainer\.limit_train_batches works for one epoch only"),
        (["trainer.limit_train_batches=0"], r"trainer\.limit_train_batches=0: give a number of batches"),
        (["trainer.limit_train_batches=-1", "trainer.max_epochs=1"], r"trainer\.limit_train_batches=-1: give a number"),
        (["trainer.limit_val_batches=1"], r"trainer\.limit_val_batches=1: the best checkpoint is chosen on all"),
        (["trainer.limit_val_batches=0.5"], r"trainer\.limit_val_batches=0\.5: the best checkpoint is chosen on all"),
        (["trainer.limit_val_batches=0"], r"trainer\.limit_val_batches=0: give a number of batches"),
        (["trainer.max_epochs=-1"], r"trainer\.max_epochs=-1: give a whole number of epochs"),
        (["trainer.max_epochs=null"], r"trainer\.max_epochs=None: give a whole number of epochs"),
        (["trainer.max_epochs=1.5"], r"trainer\.max_epochs=1\.5: give a whole number of epochs"),
        (["trainer.check_val_every_n_epoch=null"], r"trainer\.check_val_every_n_epoch=None: give a whole number"),
    ],
)
def test_arguments_of_the_trainer_are_refused_by_name(words, message):
    with pytest.raises(ConfigError, match=message) as stop:
        check_trainer(composed(*words).trainer)
    assert "\n" not in str(stop.value)


@pytest.mark.parametrize("value", ["1.0", "null"])
def test_whole_epochs_are_no_trial(value):
    check_trainer(composed(f"trainer.limit_train_batches={value}", f"trainer.limit_val_batches={value}").trainer)


@pytest.mark.parametrize(
    "words",
    [
        ("early_stopping.EarlyStopping", "monitor=val/loss"),
        ("EarlyStopping", "monitor=val/loss"),
        ("Timer", "duration=00:00:01:00"),
        ("GradientAccumulationScheduler", "scheduling={0:2}"),
        ("BatchSizeFinder",),
        ("LearningRateFinder",),
    ],
    ids=lambda words: words[0],
)
def test_callbacks_that_end_a_run_are_refused_by_name(words):
    kind, *settings = words
    given = [f"+callbacks.mine._target_=lightning.pytorch.callbacks.{kind}"]
    cfg = composed(*given, *(f"+callbacks.mine.{word}" for word in settings))
    with pytest.raises(ConfigError, match=rf"^callbacks\.mine: {kind.rpartition('.')[2]} changes where a run ends"):
        check_callbacks(cfg)


class Stopper(Callback):
    """Asks for the end at a step, from one of the hooks."""

    def __init__(self, hook, step):
        self.step = step
        setattr(self, hook, self.stop)

    def stop(self, trainer, *_):
        trainer.should_stop |= trainer.global_step == self.step


class Quitter(Callback):
    """Leaves the loop of an epoch as Lightning's own callbacks may."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            raise StopIteration


@pytest.fixture
def stopped_by(monkeypatch, probe_pack):
    """Train in a folder until a callback stops it; returns the message."""
    build = fit.build_trainer

    def stopped(callback, run_dir, *words):
        def build_trainer(*parts):
            trainer = build(*parts)
            trainer.callbacks.insert(0, callback)
            return trainer

        cfg = composed("experiment=demo_finetune", f"data.pack={probe_pack}", *SHORT, *words)
        with monkeypatch.context() as patch:
            patch.setattr(fit, "build_trainer", build_trainer)
            with pytest.raises(ConfigError) as stop:
                train(cfg, run_dir)
        return str(stop.value)

    return stopped


def end_of(run_dir):
    state = read_checkpoint(newest_valid(run_dir / "checkpoints"))
    return state["global_step"], digest({key: state[key] for key in ("state_dict", "optimizer_states")})


@pytest.fixture(scope="module")
def whole(probe_pack, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    train(composed("experiment=demo_finetune", f"data.pack={probe_pack}", *SHORT), run_dir)
    return run_dir


@pytest.mark.parametrize(
    ("callback", "reached", "saved"),
    [
        (Stopper("on_train_batch_end", 2), 2, 2),  # amid an epoch
        pytest.param(Stopper("on_train_batch_end", 5), 5, 5, marks=pytest.mark.slow),  # at its last step
        pytest.param(Stopper("on_validation_end", 5), 5, 5, marks=pytest.mark.slow),
        (Stopper("on_train_epoch_end", 5), 5, 5),
        (Quitter(7), 7, 5),
    ],
    ids=("batch", "last_batch", "validation", "epoch", "quit"),
)
def test_a_stopped_run_scores_nothing_and_ends_as_if_it_had_not_been(
    callback, reached, saved, stopped_by, whole, tmp_path
):
    run_dir = tmp_path / "run"
    message = stopped_by(callback, run_dir)
    assert f"{run_dir} stopped at step {reached} of {STEPS}" in message
    assert f"go on by python train.py resume={run_dir}" in message
    assert end_of(run_dir)[0] == saved
    assert not any((run_dir / name).exists() for name in ("results.json", "report_card.json", "predictions"))
    train(composed(f"resume={run_dir}"), run_dir, [f"resume={run_dir}"])
    assert end_of(run_dir) == end_of(whole) == (STEPS, end_of(whole)[1])


def begun(run_dir, step, max_epochs=10):
    """A run of 10 epochs of 5 steps that has come so far, with `max_epochs` in its configuration."""
    run_dir.mkdir()
    save_config(
        composed("experiment=demo_finetune", *SHORT, f"trainer.max_epochs={max_epochs}"), run_dir / "config.yaml"
    )
    state = {"state_dict": {}, "global_step": step, "steps_per_epoch": 5, "max_epochs": 10}
    write_checkpoint(state, run_dir / "checkpoints" / step_file(step))
    return (run_dir / "config.yaml").read_bytes()


@pytest.mark.parametrize(
    ("step", "saved", "words"),
    [
        (40, 10, ["trainer.max_epochs=8"]),  # all steps of 8 epochs are taken
        (40, 10, ["trainer.max_epochs=9"]),
        (50, 10, ["trainer.max_epochs=8"]),  # a complete run
        (40, 8, []),  # of a version that let it through
    ],
)
def test_a_run_cannot_be_made_complete_by_fewer_epochs(step, saved, words, tmp_path):
    run_dir = tmp_path / "run"
    before, words = begun(run_dir, step, saved), [f"resume={run_dir}", *words]
    told = r"^trainer\.max_epochs=[89]: the learning rate of .*run was planned for 10 epochs; .*trainer\.max_epochs=10"
    with pytest.raises(ConfigError, match=told):
        train(composed(*words), run_dir, words)
    assert (run_dir / "config.yaml").read_bytes() == before


@pytest.mark.parametrize(("step", "saved", "epochs"), [(40, 10, 10), (40, 8, 10), (40, 10, 12), (50, 10, 12)])
def test_a_run_goes_on_to_its_end_and_beyond(step, saved, epochs, tmp_path):
    begun(tmp_path / "run", step, saved)
    words = [f"trainer.max_epochs={epochs}"]
    with fit.claimed(resumed_config(composed(*words), tmp_path / "run", words), tmp_path / "run", is_new=False):
        assert f"max_epochs: {epochs}" in (tmp_path / "run" / "config.yaml").read_text()


def test_without_a_checkpoint_the_epochs_are_free(tmp_path):
    begun(tmp_path / "run", 5)
    (tmp_path / "run" / "checkpoints" / step_file(5)).unlink()
    words = ["trainer.max_epochs=8"]
    with fit.claimed(resumed_config(composed(*words), tmp_path / "run", words), tmp_path / "run", is_new=False):
        pass


def test_what_is_made_of_a_stopped_run_says_how_far_it_was(stopped_by, probe_pack, tmp_path, caplog):
    run_dir, told = tmp_path / "run", "incomplete training: step 5 of 10"
    stopped_by(Stopper("on_train_epoch_end", 5), run_dir)
    load_classifier(run_dir)
    assert told in caplog.text
    export_file(run_dir, tmp_path / "out.safetensors", None, None)
    assert json.loads((tmp_path / "out.json").read_text())["progress"] == [5, 10]
    follow(run_dir)  # by hand: `train.py` has ended
    result, card = (json.loads((run_dir / name).read_text()) for name in ("results.json", "report_card.json"))
    assert told in result["notes"]
    assert card["incomplete"] == [told]
    assert (run_dir / "summary.txt").read_text().startswith(told)
    words = [f"run={run_dir}", "readouts=[pooled]", "strengths=[0.01]", "repeats=1", "draws=20", "min_positives=2"]
    evaluate(composed(*words, root="evaluate"), tmp_path / "unused")
    assert told in json.loads((run_dir / "evaluation" / "backbone" / "results.json").read_text())["notes"]
    words = [f"compare=[{run_dir},{run_dir}]", "names=[a,b]", "draws=20"]
    compare(composed(*words, root="evaluate"), tmp_path / "compared", words)
    assert json.loads((tmp_path / "compared" / "comparison.json").read_text())["notes"] == [f"demo_finetune: {told}"]


def test_a_trial_is_scored_and_says_what_it_is(probe_pack, tmp_path, caplog):
    caplog.set_level("INFO")
    words = ["trainer.max_epochs=1", "trainer.limit_train_batches=4", "optim.warmup_epochs=0.0"]
    train(composed("experiment=demo_finetune", f"data.pack={probe_pack}", *SHORT, *words), tmp_path / "run")
    assert "a trial, which ends at step 2 of 5" in caplog.text
    follow(tmp_path / "run")
    result = json.loads((tmp_path / "run" / "results.json").read_text())
    assert result["notes"] == ["incomplete training: step 2 of 5"]
    assert len(pd.read_parquet(tmp_path / "run" / "predictions" / "test.parquet"))
    with pytest.raises(ConfigError, match=r"trainer\.limit_train_batches: a run keeps it from its first step on"):
        resumed_config(composed(), tmp_path / "run", ["trainer.limit_train_batches=1.0"])


def test_figures_of_an_incomplete_training_are_marked(tmp_path, monkeypatch):
    written = []

    def draw(card, path):
        with slide(path, "title", "subtitle", (4.0, 3.0)) as figure:
            written.append([text.get_text() for text in figure.texts])

    for name in ("draw_roc", "draw_precision_recall", "draw_reliability"):
        monkeypatch.setattr(cards, name, draw)
    content = {"subgroups": {}, "exclusive": None, "findings": ["Mass"], "incomplete": ["step 1 of 2"]}
    for told in (["step 1 of 2"], []):
        (tmp_path / "card.json").write_text(json.dumps(content | {"incomplete": told}))
        cards.write_card_figures(tmp_path / "card.json", tmp_path)
    assert written == [["title", "subtitle", "step 1 of 2"]] * 3 + [["title", "subtitle"]] * 3
