"""What W&B is told of a run."""

import json
import shutil
import time

import pytest
from composing import composed
from PIL import Image
from wandb_file import offline_files, read_finished, read_offline

from evax.callbacks.hosted import wandb_logger
from evax.callbacks.metrics_csv import MetricsCsv
from evax.commands.train.start import train

WORDS = ("experiment=demo_pretrain", "image_size=32", "logger=wandb", "~callbacks.feature_probe")
WORDS += ("~callbacks.progress", "callbacks.pictures.num_films=1", "trainer.accelerator=cpu")
WORDS += ("trainer.precision=32-true",)


@pytest.fixture(scope="module")
def packs(pack_folder, tmp_path_factory):
    """The same films as a public pack and as a credentialed one."""
    credentialed = tmp_path_factory.mktemp("credentialed") / "phantom"
    shutil.copytree(pack_folder, credentialed)
    manifest = json.loads((credentialed / "manifest.json").read_text())
    (credentialed / "manifest.json").write_text(json.dumps(manifest | {"share": "credentialed"}))
    return {"public": pack_folder, "credentialed": credentialed}


@pytest.fixture(scope="module")
def run_dirs(packs, tmp_path_factory):
    """A run on each, one after another in one process."""
    folder = tmp_path_factory.mktemp("2026-11-22_10-00-00")
    for number, (share, pack) in enumerate(packs.items()):
        (folder / share).mkdir()
        train(composed(*WORDS, "debug=one_step", f"data.pack={pack}", f"seed={number}"), folder / share)
    return {share: folder / share for share in packs}


@pytest.fixture(scope="module")
def hosted(run_dirs):
    return {share: read_finished(run_dir) for share, run_dir in run_dirs.items()}


def test_each_run_of_a_process_is_its_own(hosted):
    assert len({each.run.run_id for each in hosted.values()}) == 2
    assert [each.config["seed"] for each in hosted.values()] == [0, 1]


def test_a_run_has_its_task_and_tags_and_no_group_outside_a_multirun(hosted):
    for each in hosted.values():
        assert (each.run.run_group, each.run.job_type) == ("", "MaskedImageModeling")
        assert list(each.run.tags) == ["eva_x_tiny", "HogTokenizer", "PhantomData"]


def test_machine_and_packages_stay_here(hosted):
    for each in hosted.values():
        assert each.run.host == "hidden"
        assert "requirements.txt" not in each.files


def test_films_seen_are_the_axis(hosted):
    for each in hosted.values():
        assert each.axes["*"] == "trainer/samples_seen"
        losses = {row["trainer/samples_seen"]: row["train/loss"] for row in each.history if "train/loss" in row}
        assert list(losses) == [2]


def test_figures_of_public_data_are_shown_at_their_step(run_dirs, hosted):
    shown = [row for row in hosted["public"].history if "figures/views/path" in row]
    assert [row["_step"] for row in shown] == [1]
    copy = offline_files(run_dirs["public"])[0].parent / "files" / shown[0]["figures/views/path"]
    assert copy.read_bytes() == (run_dirs["public"] / "figures" / "step-000001.png").read_bytes()
    assert shown[0]["figures/views/path"] in hosted["public"].files


def test_figures_of_credentialed_data_stay_here(run_dirs, hosted):
    assert (run_dirs["credentialed"] / "figures" / "step-000001.png").exists()
    assert not any("figures" in name for row in hosted["credentialed"].history for name in row)
    assert_nothing_but_numbers(run_dirs["credentialed"], hosted["credentialed"])


def assert_nothing_but_numbers(run_dir, hosted):
    assert not [path for path in run_dir.glob("wandb/**/media") if path.is_dir()]
    assert not [path for path in run_dir.glob("wandb/**/*") if path.suffix in (".png", ".jpg")]
    assert not any("media" in file for file in hosted.files)
    assert all(isinstance(value, int | float) for row in hosted.history for value in row.values())


def test_no_door_of_the_logger_lets_media_of_credentialed_data_out(packs, tmp_path):
    (tmp_path / "config.yaml").write_text(f"data: {{pack: {packs['credentialed']}}}")
    picture = tmp_path / "film.png"
    Image.new("L", (32, 32), 90).save(picture)
    logger = wandb_logger(str(tmp_path))
    logger.log_figure("figure", picture, 1)
    logger.log_image("image", [str(picture)], step=1)
    logger.log_text("text", columns=["patient"], data=[["Doe"]], step=1)
    logger.log_metrics({"loss": 0.5, "id": "Doe"}, step=2)
    logger.finalize("success")
    hosted = read_finished(tmp_path)
    assert [row["_step"] for row in hosted.history] == [2]
    assert "id" not in hosted.history[0]
    assert_nothing_but_numbers(tmp_path, hosted)


def test_a_resumed_run_goes_on_under_its_id_with_every_step_once(pack_folder, tmp_path):
    more = ["batch_size=8", "optim.warmup_epochs=0.5", "~callbacks.pictures", "callbacks.checkpointing.every_n_steps=2"]
    words = [word for word in WORDS if "pictures" not in word]
    train(composed(*words, *more, f"data.pack={pack_folder}", "trainer.max_epochs=2"), tmp_path / "run")
    checkpoints = sorted((tmp_path / "run" / "checkpoints").glob("*.ckpt"))
    for checkpoint in checkpoints[1:]:  # as if killed after the first: W&B has steps that will be repeated
        checkpoint.unlink()
    longer = ["trainer.max_epochs=3"]
    train(composed(f"resume={tmp_path / 'run'}", *longer), tmp_path / "new", longer)

    read_finished(tmp_path / "run")
    first, second = (read_offline(file) for file in offline_files(tmp_path / "run"))
    assert first.run.run_id == second.run.run_id
    assert first.steps == list(range(1, 11))
    assert second.steps == list(range(11, 16))


def test_what_a_killed_run_lost_is_said_again(tmp_path):
    table = MetricsCsv(tmp_path)
    for step in range(1, 6):
        table.log_metrics({"trainer/samples_seen": 8 * step, "train/loss": 1 / step}, step)
        if step == 3:
            table.log_metrics({"val/cosine": 0.4}, step)
    killed = wandb_logger(str(tmp_path))
    for step in (1, 2, 3):
        killed.log_metrics({"trainer/samples_seen": 8 * step, "train/loss": 1 / step}, step)
    killed.finalize("failed")
    time.sleep(1.1)  # W&B's folders are named by the second

    resumed = wandb_logger(str(tmp_path))
    resumed.rewind(4)
    resumed.log_metrics({"trainer/samples_seen": 40, "train/loss": 0.2}, 5)
    resumed.finalize("finished")

    hosted = read_finished(tmp_path)
    assert hosted.steps == [1, 2, 3, 4, 5]
    assert [(row["_step"], row["trainer/samples_seen"]) for row in hosted.history if "val/cosine" in row] == [(3, 24)]


def test_scores_reach_the_summary_of_a_finished_run(run_dirs):
    run_dir = run_dirs["credentialed"]
    logger = wandb_logger(str(run_dir))
    logger.log_scores(["finding", "AUROC"], [["Mass", 0.6], ["Nodule", None]], {"test/auroc_macro": 0.6})
    logger.finalize("success")

    read_finished(run_dir)
    files = offline_files(run_dir)
    last = read_offline(files[-1])
    assert last.run.run_id == read_offline(files[0]).run.run_id
    assert last.summary["test/auroc_macro"] == 0.6
    assert {"val/cosine", "train/loss"} <= last.summary.keys()
    assert last.history == []
    table = json.loads((files[-1].parent / "files" / last.summary["test/per_class"]["path"]).read_text())
    assert table["columns"] == ["finding", "AUROC"]
    assert table["data"] == [["Mass", 0.6], ["Nodule", None]]


def test_going_online_without_a_login_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ValueError, match=r"logger.wandb.offline=false needs a login"):
        wandb_logger(str(tmp_path), offline=False)
