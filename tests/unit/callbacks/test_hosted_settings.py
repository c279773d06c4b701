"""What W&B may know of a run, derived from its configuration and place."""

import json

import pytest
from composing import composed
from omegaconf import OmegaConf

from evax.callbacks.hosted_settings import JOB, chosen, flat_settings, names, share, tags
from evax.config import JOB as RECORDED
from evax.runs.settings import settled


@pytest.fixture(scope="module")
def config():
    return OmegaConf.to_container(settled(composed("experiment=demo_pretrain", "masking.ratio=0.25")))


def test_settings_are_flat_and_stand_once(config):
    flat = flat_settings(config)
    assert flat["masking.ratio"] == 0.25
    assert flat["backbone.name"] == "eva_x_tiny"
    assert not any(key.startswith(("model.backbone", "data.masking", "paths", "callbacks")) for key in flat)


def test_every_choice_has_a_name(config):
    flat = flat_settings(config)
    assert [flat[f"{part}.name"] for part in ("tokenizer", "masking", "data", "model")] == [
        "HogTokenizer",
        "UniformMasking",
        "PhantomData",
        "MaskedImageModeling",
    ]


def test_settings_hold_no_path(config):
    assert not any("/" in str(value) for value in flat_settings(config).values())
    assert "data.pack" not in flat_settings(config)


@pytest.mark.parametrize("value", ["films/Doe_77", r"C:\Doe_77", "~", "Doe_77.png", "Doe_77.DCM", ["a", "Doe_77.csv"]])
def test_what_may_be_a_path_or_file_is_left_out(config, value):
    changed = config | {"tokenizer": config["tokenizer"] | {"model": value, "bins": value}}
    assert not {"tokenizer.model", "tokenizer.bins", "tokenizer.name"} & flat_settings(changed).keys()
    assert tags(changed) == ["eva_x_tiny", "PhantomData"]


def test_a_name_that_a_user_gave_is_left_out(config, tmp_path):
    changed = config | {"name": "Doe_77"}
    assert "Doe_77" not in json.dumps([flat_settings(changed), names(tmp_path / "Doe_77", changed)])


def test_tags_name_the_choices(config):
    assert tags(config) == ["eva_x_tiny", "HogTokenizer", "PhantomData"]


def test_published_tokenizers_of_one_architecture_are_told_apart():
    nodes = [composed(f"tokenizer={name}").tokenizer for name in ("mgca_vit_b", "biomedclip")]
    configs = [{"tokenizer": OmegaConf.to_container(node, resolve=False)} for node in nodes]
    assert [chosen(each, "tokenizer") for each in configs] == ["mgca_vit_b", "biomedclip"]


def test_a_run_is_named_by_its_choices_and_time(config, tmp_path):
    run_dir = tmp_path / "Doe_77" / "2026-11-22_10-00-00"
    assert names(run_dir, config)[1:] == ("eva_x_tiny HogTokenizer PhantomData 2026-11-22_10-00-00", None)


def test_a_job_is_known_by_the_file_that_a_multirun_leaves():
    assert JOB == RECORDED


def test_only_a_job_of_a_multirun_has_a_group(config, tmp_path):
    run_dir = tmp_path / "2026-11-22_10-00-00" / "2"
    run_dir.mkdir(parents=True)
    assert names(run_dir, config).group is None
    (run_dir / "job.json").write_text("{}")
    assert names(run_dir, config)[1:] == ("2026-11-22_10-00-00 2", "2026-11-22_10-00-00")


def test_a_folder_that_a_user_named_shows_as_a_digest(config, tmp_path):
    jobs = [tmp_path / "Doe_77" / name for name in ("0", "1", "Doe_78")]
    for job in jobs:
        job.mkdir(parents=True)
        (job / "job.json").write_text("{}")
    found = [names(job, config) for job in jobs]
    assert len({each.group for each in found}) == 1
    assert len({each.id for each in found}) == len({each.name for each in found}) == 3
    assert "Doe" not in str(found)


@pytest.mark.parametrize(("written", "expected"), [("public", "public"), ("credentialed", "credentialed")])
def test_the_pack_says_how_it_may_be_shared(written, expected, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"share": written}))
    assert share({"data": {"pack": str(tmp_path)}}) == expected


def test_what_does_not_say_is_credentialed(tmp_path):
    assert share({"data": {"pack": str(tmp_path)}}) == share({}) == "credentialed"
