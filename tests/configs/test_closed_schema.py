"""A configuration names only what exists, and builds only what is allowed (acceptance test R12)."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from composing import composed
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import evax
from evax.checkpoints.weight_files import CONFIG
from evax.commands.train.start import train
from evax.config import PREPARE_KEYS, TRAIN_KEYS, ConfigError, check_config, explain, instantiate, locate
from evax.runs.settings import check_run

MISSPELT = {
    "backbone.drop_pth": "drop_path",
    "tokenizer.bin": "bins",
    "masking.rato": "ratio",
    "data.fracton": "fraction",
    "data.crop.min_aera": "min_area",
    "model.los": "loss",
    "optim.warmup_epoch": "warmup_epochs",
    "trainer.max_epoch": "max_epochs",
    "callbacks.picturs.num_films": "pictures",
    "callbacks.pictures.num_film": "num_films",
    "paths.run": "runs",
    "sed": "seed",
}


def refusal(*overrides: str, root: str = "train") -> str:
    """What the user reads."""
    with pytest.raises(Exception, match=r"\w") as caught:  # Hydra and OmegaConf raise their own
        check_config(composed(*overrides, root=root), {"train": TRAIN_KEYS, "prepare": PREPARE_KEYS}[root])
    return explain(caught.value)


@pytest.fixture
def in_file(tmp_path):
    """Puts a node into an experiment file, and gives the overrides that choose it."""

    def write(node: dict) -> tuple[str, str]:
        folder = tmp_path / "conf" / "experiment"
        folder.mkdir(parents=True)
        (folder / "written.yaml").write_text("# @package _global_\n" + OmegaConf.to_yaml(node))
        return f"hydra.searchpath=[file://{folder.parent}]", "experiment=written"

    return write


def nested(key: str, value: object) -> dict:
    """{"a": {"b": value}} of "a.b"."""
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


@pytest.mark.parametrize(("key", "meant"), MISSPELT.items())
def test_misspelt_key_on_the_command_line_names_the_nearest(key, meant):
    assert f"no such key; did you mean '{meant}'?" in refusal(f"{key}=3")


@pytest.mark.parametrize("key", ["masking.rato", "data.crop.min_aera", "trainer.max_epoch", "callbacks.ema.x"])
def test_misspelt_key_added_on_the_command_line_is_refused(key):
    assert "no such key" in refusal(f"+{key}=3")


@pytest.mark.parametrize(("key", "meant"), MISSPELT.items())
def test_misspelt_key_in_an_experiment_names_the_nearest(key, meant, in_file):
    message = refusal(*in_file(nested(key, 3)))
    assert message.startswith(key.removesuffix(".num_films"))
    assert f"did you mean '{meant}'?" in message


@pytest.mark.parametrize(("key", "meant"), [("test_set", "test_sets"), ("fracton", "fraction")])
def test_misspelt_key_of_a_class_that_passes_settings_on_names_the_nearest(key, meant):
    assert f"did you mean '{meant}'?" in refusal("data=merged520k", f"+data.{key}=3")


def test_misspelt_key_of_prepare_names_the_nearest():
    assert "did you mean 'num_films'?" in refusal("data=phantom", "source.num_film=3", root="prepare")


def test_misspelt_logger_without_constructor_is_refused(in_file):
    assert refusal(*in_file({"logger": {"wandb": {"project": "x"}}})).startswith("logger.wandb: no such key")


def test_misspelt_special_key_is_refused(in_file):
    assert refusal(*in_file({"masking": {"_partal_": True}})).startswith("masking._partal_: no such key")


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        ("backbone=eva_x_smal", "eva_x_small"),
        ("masking=unifrm", "uniform"),
        ("experiment=demo_pretran", "demo_pretrain"),
    ],
)
def test_misspelt_choice_names_the_nearest(choice, meant):
    assert refusal(choice).startswith(f"{choice}: no such choice; did you mean '{meant}'?")


def test_misspelt_choice_in_an_experiment_names_the_nearest(in_file):
    assert "did you mean 'eva_x_small'?" in refusal(*in_file({"defaults": [{"override /backbone": "eva_x_smal"}]}))


def test_unset_interpolation_is_named():
    with pytest.raises(OmegaConfBaseException) as caught:
        OmegaConf.to_container(OmegaConf.create({"image_size": "${nope}"}), resolve=True)
    assert explain(caught.value) == "image_size: Interpolation key 'nope' not found"


def test_misspelt_target_names_the_nearest_class_only():
    message = refusal("masking._target_=evax.masking.UniformMaskin")
    assert message.endswith("did you mean 'UniformMasking'? (valid: BlockwiseMasking, Masking, UniformMasking)")


def test_misspelt_module_of_a_target_is_named():
    assert refusal("masking._target_=evax.maskin.UniformMasking").endswith("there is no module evax.maskin")


@pytest.mark.parametrize("target", ["", "UniformMasking", "sklearn.cluster.KMeans", "evaxed.masking.Mask", 3, None])
def test_target_outside_the_packages_is_refused(target):
    with pytest.raises(ConfigError, match=r"^masking\._target_=.* is not allowed; targets are classes of evax, "):
        locate(target, "masking")


@pytest.mark.parametrize("target", ["evax.config.Path", "evax.config.save_config", "evax.config.ConfigStore"])
def test_only_classes_of_our_own_are_targets(target):
    with pytest.raises(ConfigError, match="is not allowed"):
        locate(target, "masking")


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A module of evax with the given text."""
    monkeypatch.setattr(evax, "__path__", [*evax.__path__, str(tmp_path)])
    return tmp_path / "broken_for_a_test.py"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_library", "No module named 'no_such_library'"),
        ("from math import no_such_function", "cannot import name 'no_such_function' from 'math'"),
    ],
)
def test_target_with_a_broken_import_shows_what_is_missing(broken, text, message):
    broken.write_text(text)
    with pytest.raises(ConfigError, match=rf"^masking\._target_=\S+ cannot be imported: {message}"):
        locate("evax.broken_for_a_test.Masking", "masking")


class Payload:
    """Unpickling it leaves a mark."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def marker(tmp_path) -> Path:
    """A file that only a successful attack writes."""
    return tmp_path / "marker"


@pytest.fixture
def attacks(tmp_path, marker) -> dict[str, dict]:
    """Nodes that would write the marker if they were built."""
    pickled = tmp_path / "payload.pkl"
    pickled.write_bytes(pickle.dumps(Payload(marker)))
    touch, write = f"touch {marker}", {"file": str(marker), "mode": "w"}
    arguments = {
        "os.system": {"command": touch},
        "evax.config.os.system": {"command": touch},
        "lightning.pytorch.callbacks.os.system": {"command": touch},
        "evax.commands.train.fit.os.system": {"command": touch},
        "torch.load": {"f": str(pickled), "weights_only": False},
        "torch.utils.data.dataset.torch.load": {"f": str(pickled), "weights_only": False},
        "numpy.load": {"file": str(pickled), "allow_pickle": True},
        "builtins.open": write,
        "evax.checkpoints.files.write_checkpoint": {"checkpoint": {}, "path": str(marker)},
        "evax.config.Path.write_text": {"self": str(marker), "data": ""},
        "hydra.utils.instantiate": {"config": {"_target_": "builtins.open", **write}},
    }
    return {target: {"_target_": target, **given} for target, given in arguments.items()}


TARGETS = [
    "os.system",
    "evax.config.os.system",
    "lightning.pytorch.callbacks.os.system",
    "evax.commands.train.fit.os.system",
    "torch.load",
    "torch.utils.data.dataset.torch.load",
    "numpy.load",
    "builtins.open",
    "evax.checkpoints.files.write_checkpoint",
    "evax.config.Path.write_text",
    "hydra.utils.instantiate",
]


def test_the_payload_is_live(attacks, marker):
    np.load(attacks["numpy.load"]["file"], allow_pickle=True)
    assert marker.exists()


@pytest.mark.parametrize("target", TARGETS)
def test_dangerous_target_is_refused_before_anything_is_built(target, attacks, marker, tmp_path, tiny_pack):
    cfg = composed(f"data.pack={tiny_pack}")
    OmegaConf.update(cfg, "masking", attacks[target], merge=False)
    with pytest.raises(ConfigError, match=r"^masking\._target_="):
        train(cfg, tmp_path / "run")
    assert not marker.exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "place",
    [
        "weights",
        "seed",
        "data.crop",
        "data.crop.flip",
        "data.fit_on",
        "trainer.strategy",
        "callbacks.mine",
        "logger.mine",
    ],
)
@pytest.mark.parametrize("wrap", [lambda node: node, lambda node: [[node]], lambda node: {"_args_": [node]}])
def test_dangerous_target_is_refused_wherever_it_hides(place, wrap, attacks, marker, tmp_path, tiny_pack):
    cfg = composed(f"data.pack={tiny_pack}")
    OmegaConf.update(cfg, place, wrap(attacks["builtins.open"]), merge=False, force_add=True)
    with pytest.raises(ConfigError, match=f"^{place}"):
        train(cfg, tmp_path / "run")
    assert not marker.exists()


def test_dangerous_target_made_by_an_interpolation_is_not_built(attacks, marker, tmp_path, tiny_pack):
    node = str(attacks["builtins.open"]).replace("'", "")
    cfg = composed("debug=one_step", f"data.pack={tiny_pack}", f"weights='${{oc.create:{node}}}'")
    with pytest.raises(ConfigError, match=r"weights\._target_=builtins\.open is not allowed"):
        train(cfg, tmp_path / "run")
    assert not marker.exists()


def test_instantiate_resolves_before_it_checks():
    cfg = OmegaConf.create({"node": {"_target_": "evax.masking.UniformMasking", "ratio": "${other}"}})
    cfg.other = {"_target_": "os.getcwd"}
    with pytest.raises(ConfigError, match=r"^node\.ratio\._target_=os\.getcwd is not allowed"):
        instantiate(cfg.node)


def test_dangerous_target_in_a_run_directory_is_refused_on_resume(attacks, marker, tmp_path):
    saved = composed()
    OmegaConf.update(saved, "masking", attacks["builtins.open"], merge=False)
    OmegaConf.save(saved, tmp_path / CONFIG)
    with pytest.raises(ConfigError, match=r"^masking\._target_=builtins\.open is not allowed"):
        train(composed(f"resume={tmp_path}"), tmp_path)
    assert not marker.exists()


def test_neighbours_are_looked_for_where_nothing_is_trained():
    assert refusal("adapt=knn").endswith("score by python evaluate.py run=RUN classifier=knn")


@pytest.mark.parametrize("word", ["backbone.weights=b.pth", "++model.backbone.weights=b.pth"])
def test_weights_are_said_where_they_are_checked(word):
    with pytest.raises(ConfigError, match=r"backbone\.weights=b.pth is not weights=a.pth: say weights= alone"):
        check_run(composed("experiment=demo_finetune", "weights=a.pth", word))
