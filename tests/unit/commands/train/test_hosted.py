"""Final scores on the dashboard."""

import json

from composing import composed
from result_content import content
from wandb_file import offline_files, read_finished, read_offline

from evax.commands.train.follow import follow
from evax.commands.train.hosted import final_scores, per_class_table, publish_scores
from evax.commands.train.start import train
from evax.report.record import Result

QUICK = ("then.repeats=1", "then.draws=20", "then.min_positives=2", "then.readouts=[pooled]", "then.strengths=[0.01]")


def result(name, macro, **changes):
    return Result.from_json(json.dumps(content(name, macro, **changes)), name)


def test_the_table_has_each_finding_with_its_interval_and_each_rival_beside_it():
    header, rows = per_class_table(result("backbone", 0.75), [result("random", 0.5)])
    assert header == [
        *("finding", "AUROC", "low", "high"),
        *("random AUROC", "random low", "random high", "minus random"),
    ]
    assert [row[0] for row in rows] == ["Mass", "Pneumonia", "macro"]
    assert rows[0][1:] == [0.75, 0.7, 0.8, 0.5, 0.45, 0.55, 0.25]


def test_a_finding_without_a_score_is_empty_not_zero():
    nothing = {"value": None, "low": None, "high": None}
    auroc = {"Mass": {"value": 0.75, "low": 0.7, "high": 0.8}, "Pneumonia": nothing}
    _, rows = per_class_table(result("backbone", 0.75, auroc=auroc), [result("random", 0.5)])
    assert rows[1] == ["Pneumonia", None, None, None, 0.5, 0.45, 0.55, None]


def test_what_belongs_beside_a_number_is_on_the_dashboard():
    nothing = {"value": None, "low": None, "high": None}
    auroc = {"Mass": {"value": 0.75, "low": 0.7, "high": 0.8}, "Pneumonia": nothing}
    told = {
        "not_scored": {"Pneumonia": "no negative test images", "Nodule": "class not in the model's outputs"},
        "remarks": {"Mass": "5 positives"},
    }
    found = result("backbone", 0.75, auroc=auroc, **told)
    header, rows = per_class_table(found)
    assert header[-1] == "remark"
    assert [row[0] for row in rows] == ["Mass", "Pneumonia", "Nodule", "macro"]
    assert [row[-1] for row in rows] == [
        "5 positives",
        "not scored: no negative test images",
        "not scored: class not in the model's outputs",
        "",
    ]
    words = "1 of 3 findings; Pneumonia: no negative test images; Nodule: class not in the model's outputs"
    assert final_scores(found)["test/findings"] == words


def test_a_result_without_rivals_is_a_table_too():
    header, rows = per_class_table(result("test", 0.75))
    assert header == ["finding", "AUROC", "low", "high"]
    assert len(rows) == 3


def test_the_final_scores_are_before_after_and_the_paired_difference():
    gain = {"rival": "random", "auroc_macro": {"value": 0.25, "low": 0.2, "high": 0.3}}
    scores = final_scores(result("backbone", 0.75, comparisons=[gain]), [result("random", 0.5)])
    assert {name: value for name, value in scores.items() if not name.endswith(("_low", "_high"))} == {
        "test/auroc_macro": 0.75,
        "test/auroc_macro_random": 0.5,
        "test/gain_over_random": 0.25,
    }
    assert (scores["test/gain_over_random_low"], scores["test/gain_over_random_high"]) == (0.2, 0.3)


def test_a_probe_that_follows_a_run_is_in_the_summary_of_that_run(probe_pack, tmp_path):
    small = ["debug=one_step", "image_size=32", f"data.pack={probe_pack}", "logger=wandb", "then=probe", *QUICK]
    quiet = ["~callbacks.feature_probe", "~callbacks.pictures", "~callbacks.progress", "trainer.precision=32-true"]
    train(composed("experiment=demo_pretrain", *small, *quiet), tmp_path)
    metrics = follow(tmp_path)

    hosted, files = read_finished(tmp_path), offline_files(tmp_path)
    assert len({read_offline(file).run.run_id for file in files}) == 1
    written = json.loads((tmp_path / "evaluation" / "backbone" / "results.json").read_text())
    assert hosted.summary["test/auroc_macro"] == metrics["test/auroc_macro"]
    assert hosted.summary["test/gain_over_random"] == written["comparisons"][0]["auroc_macro"]["value"]
    table = json.loads((files[-1].parent / "files" / hosted.summary["test/per_class"]["path"]).read_text())
    assert [row[0] for row in table["data"]] == [*written["findings"], "macro"]
    assert hosted.steps == [1]


def test_the_scores_of_a_classifier_are_in_the_summary_of_its_run(probe_pack, tmp_path):
    small = ["image_size=32", "batch_size=16", f"data.pack={probe_pack}", "trainer.max_epochs=1", "logger=wandb"]
    quiet = ["optim.warmup_epochs=0.0", "~callbacks.progress", "trainer.precision=32-true"]
    train(composed("experiment=demo_finetune", *small, *quiet), tmp_path)
    metrics = follow(tmp_path)
    assert read_finished(tmp_path).summary["test/auroc_macro"] == metrics["test/auroc_macro"]
    assert len({read_offline(file).run.run_id for file in offline_files(tmp_path)}) == 1


def test_a_run_without_the_logger_is_left_alone(tmp_path):
    (tmp_path / "config.yaml").write_text("logger: {}")
    publish_scores(tmp_path, tmp_path / "evaluation" / "backbone")
    assert not (tmp_path / "wandb").exists()
