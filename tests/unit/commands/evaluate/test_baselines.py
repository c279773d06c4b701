"""Which rivals a multirun runs, and what each costs."""

import logging

import pytest
from composing import CONF
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from evax.commands.evaluate.baselines import OnlyWithWeights, architecture, backbone_node, count, entries, measured
from evax.config import ConfigError, register_schemas

LISTED = "resnet50_mgca,vit_small_deit"


def multirun(weights, *words):
    hydra = {"sweeper": {"params": {"backbone": LISTED}}, "overrides": {"task": ["seed=1", *words]}}
    config = OmegaConf.create({"weights": str(weights), "hydra": hydra})
    OmegaConf.set_readonly(config.hydra, True)
    return config


def present(folder, *names):
    for name in names:
        (folder / entries()[name].file).touch()


def test_those_without_a_file_are_left_out_and_named_once(tmp_path, caplog):
    present(tmp_path, "vit_small_deit")
    config = multirun(tmp_path)
    with caplog.at_level(logging.WARNING):
        OnlyWithWeights().on_multirun_start(config)
    assert config.hydra.sweeper.params.backbone == "vit_small_deit"
    assert len(caplog.records) == 1
    assert "left out, 1 of 2" in caplog.text
    assert "resnet50_mgca (resnet_50.ckpt): open https://github.com/HKU-MedAI/MGCA" in caplog.text


def test_the_command_line_chooses_among_them(tmp_path):
    present(tmp_path, "vit_small_deit", "densenet121_imagenet")
    config = multirun(tmp_path, "backbone=densenet121_imagenet")
    OnlyWithWeights().on_multirun_start(config)
    assert config.hydra.sweeper.params.backbone == "densenet121_imagenet"
    assert config.hydra.overrides.task == ["seed=1"]


@pytest.mark.parametrize(
    ("folder", "words", "message"),
    [
        (".", (), r"holds none of the files: resnet50_mgca .*; vit_small_deit .*fetch deit_s"),
        ("absent", (), r"absent: give the folder that holds the files of resnet50_mgca, vit_small_deit"),
        (".", ("backbone=resnet18",), r"backbone=resnet18: this sweep is over densenet121_mocov2, "),
    ],
)
def test_a_sweep_of_nothing_ends_in_one_line(folder, words, message, tmp_path):
    with pytest.raises(SystemExit, match=message) as stop:
        OnlyWithWeights().on_multirun_start(multirun(tmp_path / folder, *words))
    assert "\n" not in str(stop.value)


@pytest.fixture(scope="module")
def nodes():
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return {name: backbone_node(name) for name in entries()}


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"),
    [
        ("eva_x_tiny", 5_525_184, 1.25),
        ("eva_x_small", 21_667_200, 4.60),
        ("eva_x_base", 85_850_880, 17.56),
        ("resnet50_mgca", 23_508_032, 4.09),
        ("densenet121_imagenet", 6_953_856, 2.83),
    ],
)
def test_parameters_and_cost_are_the_published_ones(name, parameters, gmacs, nodes):
    size = count(nodes[name])
    assert size.parameters == parameters
    assert size.macs / 1e9 == pytest.approx(gmacs, abs=0.005)


def test_weights_alone_make_no_other_architecture(nodes):
    assert architecture(nodes["resnet50_mgca"]) == architecture(nodes["resnet50_biovil"])
    assert architecture(nodes["vit_small_eva02"]) != architecture(nodes["vit_small_deit"])


def test_without_a_configuration_one_line_says_where_to_stand(tmp_path):
    with pytest.raises(ConfigError, match=r"conf: no such folder; run this where conf/ is"):
        measured(tmp_path / "conf")
