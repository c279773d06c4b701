"""Files as other projects write them: equal tensors are loaded, or one line says what the file is and what helps."""

import argparse
import collections
import datetime
import gzip
import io
import json
import pathlib
import pickle
import tarfile
import types
import zipfile
from decimal import Decimal

import numpy as np
import pytest
import timm
import torch
from omegaconf import OmegaConf
from safetensors.torch import save, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from evax.checkpoints.errors import WeightsError
from evax.checkpoints.files import CheckpointReadError, read_checkpoint
from evax.checkpoints.weight_files import read_content
from evax.checkpoints.weights import load_weights

NAME = "vit_tiny_patch16_224"


def new(name=NAME, **settings):
    return timm.create_model(name, num_classes=0, **{"img_size": 32, "depth": 1} | settings)


@pytest.fixture(scope="module")
def source():
    torch.manual_seed(5)
    return new()


@pytest.fixture(scope="module")
def state(source):
    return source.state_dict()


@pytest.fixture(scope="module")
def eva():
    """EVA-02 as timm has it, and its names in the files of its authors."""
    torch.manual_seed(6)
    model = new("eva02_tiny_patch14_224", depth=2, img_size=28)
    packed = {
        name.replace(".mlp.fc1.", ".mlp.w12.").replace(".mlp.fc2.", ".mlp.w3."): tensor
        for name, tensor in model.state_dict().items()
    }
    return model.state_dict(), packed


def under(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def loaded(content, path, **settings):
    torch.save(content, path)
    model = new()
    return model.state_dict(), load_weights(model, path, **settings)


def refused(path, **settings):
    with pytest.raises(WeightsError) as caught:
        load_weights(new(), path, **settings)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    return str(caught.value)


def assert_equal(own, state):
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], tensor) for name, tensor in state.items())


PREFIXES = (
    *("model.", "net.", "network.", "vit.", "encoder.", "backbone.", "student.", "teacher.", "module.", "_orig_mod."),
    *("module.model.", "model.module.", "model.backbone.", "module.backbone.", "lit._orig_mod.vit.", "0.", "a.b.c.d."),
    *("my_own-name.", "biometric.", "loss.", "image_encoder.trunk.", "ema.", "model_ema.module."),
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_is_taken_off_whatever_it_is_called(prefix, state, tmp_path):
    own, report = loaded({"state_dict": under(prefix, state), "epoch": 1}, tmp_path / "a.ckpt")
    assert_equal(own, state)
    assert (report.share, report.dropped) == (1, ())


@pytest.mark.parametrize("prefix", ["", "backbone.", "encoder.", "model.", "model.backbone.", "module.vit."])
def test_names_of_eva_x_are_renamed_behind_any_prefix(prefix, eva, tmp_path):
    expected, packed = eva
    torch.save(under(prefix, packed | {"rope.freqs_cos": torch.ones(4, 2)}), tmp_path / "a.pt")
    model = new("eva02_tiny_patch14_224", depth=2, img_size=28)
    report = load_weights(model, tmp_path / "a.pt")
    assert_equal(model.state_dict(), expected)
    assert "1 position tables are computed, not loaded" in str(report)


def test_a_cnn_behind_a_prefix(tmp_path):
    torch.manual_seed(1)
    source = timm.create_model("resnet18", num_classes=0)
    head = {"model.fc.weight": torch.ones(2, 512), "model.fc.bias": torch.ones(2)}
    torch.save({"state_dict": under("model.", source.state_dict()) | head}, tmp_path / "a.ckpt")
    model = timm.create_model("resnet18", num_classes=0)
    load_weights(model, tmp_path / "a.ckpt")
    assert_equal(model.state_dict(), source.state_dict())


def test_names_of_no_layout_behind_a_prefix_are_the_model_s(tmp_path):
    source = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    torch.save(under("a.b.", source.state_dict()) | {"c.weight": torch.ones(1)}, tmp_path / "a.pt")
    load_weights(model, tmp_path / "a.pt")
    assert_equal(model.state_dict(), source.state_dict())


BESIDE = {
    "criterion": {"criterion.pos_weight": torch.ones(2)},
    "loss": {"loss_fn.weight": torch.ones(2), "bce.pos_weight": torch.ones(2), "BCELoss.weight": torch.ones(1)},
    "metrics": {"val_metrics.auroc.preds": torch.ones(2), "train_acc.tp": torch.ones(1), "test_auroc.x": torch.ones(1)},
    "averages": {"n_averaged": torch.tensor(3), "ema.decay": torch.tensor(0.9), "ema.blocks.0.x": torch.ones(1)},
    "heads": {"head.weight": torch.ones(2, 192), "head_dist.bias": torch.ones(2), "fc.weight": torch.ones(2, 192)},
    "optimiser": {"optimizer.state": torch.ones(1), "lr_scheduler.last": torch.ones(1)},
}


@pytest.mark.parametrize("prefix", ["", "model.", "backbone."])
@pytest.mark.parametrize("kind", BESIDE)
def test_what_stands_beside_a_network_is_left_out_and_said(kind, prefix, state, tmp_path):
    for inside in (prefix, ""):
        content = {"state_dict": under(prefix, state) | under(inside, BESIDE[kind])}
        own, report = loaded(content, tmp_path / "a.ckpt")
        assert_equal(own, state)
        assert len(report.dropped) == len(BESIDE[kind])
        assert f"not used {len(BESIDE[kind])} (" in str(report)


@pytest.mark.parametrize(
    "extra", ["decoder.weight", "reg_token", "blocks.1.norm1.weight", "norm_pre.weight", "neck.bias"]
)
@pytest.mark.parametrize("prefix", ["", "net."])
def test_what_could_be_of_the_network_is_an_error(extra, prefix, state, tmp_path):
    torch.save(under(prefix, state | {extra: torch.ones(1)}), tmp_path / "a.pt")
    assert f"adds 1 ({extra})" in refused(tmp_path / "a.pt")


@pytest.mark.parametrize("prefix", ["", "net.", "module.model."])
def test_a_network_is_never_loaded_in_part(prefix, state, tmp_path):
    for lost in ("cls_token", "blocks.0.attn.qkv.bias", "norm.bias"):
        torch.save(under(prefix, {n: t for n, t in state.items() if n != lost}), tmp_path / "a.pt")
        assert f"lacks 1 ({lost}); give the whole file" in refused(tmp_path / "a.pt")


def test_of_two_networks_one_must_be_named(state, tmp_path):
    teacher = {name: tensor + 1 for name, tensor in state.items()}
    content = {"state_dict": under("student.vit.", state) | under("teacher.vit.", teacher)}
    torch.save(content, tmp_path / "a.ckpt")
    message = refused(tmp_path / "a.ckpt")
    assert "weights_key=student.vit or weights_key=teacher.vit" in message
    for key, expected in (("student.vit", state), ("teacher", teacher)):
        own, report = loaded(content, tmp_path / "a.ckpt", key=key)
        assert_equal(own, expected)
        assert report.container == f"state_dict.{key}"


CONTAINERS = {
    "averaged": (lambda model, state: AveragedModel(model).state_dict(), {}),
    "averaged in torchvision's file": (
        lambda model, state: {
            "model": {n: t * 0 for n, t in state.items()},
            "model_ema": AveragedModel(model).state_dict(),
        },
        {},
    ),
    "averaged and compiled": (
        lambda model, state: under("module._orig_mod.", state) | {"n_averaged": torch.tensor(1)},
        {},
    ),
    "averaged over devices": (lambda model, state: under("module.module.", state), {}),
    "an empty average": (lambda model, state: {"model_ema": None, "model": state}, {}),
    "containers in containers": (lambda model, state: {"checkpoint": {"model": state}}, {"key": "checkpoint.model"}),
    "a key of their own": (
        lambda model, state: {"net": state, "optimizer": {"state": {0: {"x": torch.ones(1)}}}},
        {"key": "net"},
    ),
    "extra state": (lambda model, state: {"model": state | {"blocks.0._extra_state": None}}, {}),
    "half precision": (lambda model, state: {n: t.half().float() for n, t in state.items()}, {}),
    "parameters": (lambda model, state: dict(model.named_parameters()), {}),
    "an old format": (lambda model, state: state, {}),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_containers(kind, source, state, tmp_path):
    make, settings = CONTAINERS[kind]
    path = tmp_path / "a.pth"
    torch.save(make(source, state), path, _use_new_zipfile_serialization=kind != "an old format")
    model = new()
    load_weights(model, path, **settings)
    expected = {n: t.half().float() for n, t in state.items()} if kind == "half precision" else state
    assert_equal(model.state_dict(), expected)


def test_the_right_keys_are_named(state, tmp_path):
    torch.save(
        {"checkpoint": {"ema": state, "net": state}, "optimizer": {"state": {"w": torch.ones(1)}}}, tmp_path / "a.pt"
    )
    assert "weights_key=checkpoint.ema or checkpoint.net" in refused(tmp_path / "a.pt")
    torch.save({"epoch": 1, "names": ["a"]}, tmp_path / "a.pt")
    assert "it holds no tensors at all" in refused(tmp_path / "a.pt")


class Settings(dict):
    """A dictionary with attributes, as easydict's."""


Settings.__module__, Settings.__qualname__ = "easydict", "EasyDict"

OBJECTS = {
    "numpy": (np.float64(0.8), np.int64(3), np.bool_(True), np.str_("x"), np.ones(3), np.float32, np.dtype("f4")),
    "numpy's generators": (np.random.default_rng(0), np.random.default_rng(0).bit_generator.state),
    "paths": (pathlib.PurePosixPath("/x"), pathlib.Path("y")),
    "times": (datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(1), datetime.date(2026, 1, 1)),
    "collections": (collections.defaultdict(list, a=[1]), collections.deque([1]), collections.OrderedDict(a=1)),
    "keys": ({np.int64(3): 1, pathlib.PurePosixPath("/x"): 2},),
    "builtins": ({1}, frozenset([1]), slice(1, 2), range(3), 1j, b"x", bytearray(b"x")),
    "settings": (argparse.Namespace(a=pathlib.PurePosixPath("/x")), types.SimpleNamespace(a=np.float64(1))),
    "omegaconf": (OmegaConf.create({"a": [1, {"b": None}], "c": "${a}"}),),
    "numbers": (Decimal("1.5"), torch.float16, torch.Size([1])),
}


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("kind", OBJECTS)
def test_harmless_objects_beside_the_weights_do_no_harm(kind, is_zip, state, tmp_path):
    content = {"model": state, "epoch": 7, "hyper_parameters": OBJECTS[kind], "args": {"one": OBJECTS[kind]}}
    torch.save(content, tmp_path / "a.ckpt", _use_new_zipfile_serialization=is_zip)
    model = new()
    load_weights(model, tmp_path / "a.ckpt")
    assert_equal(model.state_dict(), state)
    assert read_content(tmp_path / "a.ckpt").beside["epoch"] == 7


def test_weights_in_dictionaries_of_other_kinds(state, tmp_path, monkeypatch):
    easydict = types.ModuleType("easydict")
    easydict.EasyDict = Settings
    monkeypatch.setitem(__import__("sys").modules, "easydict", easydict)
    odd = Settings(state)
    odd.note = "x"
    for number, content in enumerate((collections.defaultdict(None, state), collections.OrderedDict(state), odd)):
        own, _ = loaded({"state_dict": content}, tmp_path / f"{number}.ckpt")
        assert_equal(own, state)


def test_our_own_checkpoints_hold_plain_types_alone(state, tmp_path):
    torch.save({"state_dict": state, "best": np.float64(1)}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointReadError, match=r"a\.ckpt: it holds objects .*numpy"):
        read_checkpoint(tmp_path / "a.ckpt")


class Attack:
    """Calls something when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


ATTACKS = {
    "os": lambda marker: Attack(__import__("os").system, f"touch {marker}"),
    "subprocess": lambda marker: Attack(__import__("subprocess").check_call, ["touch", str(marker)]),
    "eval": lambda marker: Attack(eval, f"open({str(marker)!r}, 'w')"),
    "exec": lambda marker: Attack(exec, f"open({str(marker)!r}, 'w')"),
    "open": lambda marker: Attack(open, str(marker), "w"),
    "numpy": lambda marker: Attack(np.save, str(marker), np.ones(1)),
    "pathlib": lambda marker: Attack(pathlib.Path.touch, pathlib.PosixPath(marker)),
}


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("kind", ATTACKS)
def test_code_never_runs(kind, is_zip, state, tmp_path):
    marker = tmp_path / "marker"
    for content in ({"model": state, "args": ATTACKS[kind](marker)}, ATTACKS[kind](marker)):
        torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=is_zip)
        message = refused(tmp_path / "a.pth")
        assert not [path for path in tmp_path.iterdir() if path.name.startswith("marker")]
        if kind in ("os", "subprocess", "eval", "exec", "open"):
            assert "it wants to run code (" in message


class Note:
    """Somebody's own class."""


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights"), io.BytesIO())
    return buffer.getvalue()


def arrays():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(2))
    return buffer.getvalue()


def torch_saved(content, **settings):
    buffer = io.BytesIO()
    torch.save(content, buffer, **settings)
    return buffer.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
REFUSED = {
    "empty.pth": (b"", r"empty \(0 bytes\); fetch it again"),
    "empty.safetensors": (b"", r"empty \(0 bytes\)"),
    "pointer.safetensors": (POINTER, "Git LFS pointer.*git lfs pull"),
    "pointer.pth": (POINTER, "Git LFS pointer"),
    "pointer.bin": (POINTER, "Git LFS pointer"),
    "page.pth": (b"\n<!DOCTYPE html>\n<html>", "a web page, as of a failed download"),
    "page.safetensors": (b"<html>", "a web page"),
    "text.pt": (b"hello", "not a file of tensors"),
    "cut.pth": (torch_saved({"w": torch.ones(9999)})[:-50], "it was cut short; fetch it again"),
    "cut.safetensors": (save({"w": torch.ones(9)})[:-8], r"cut\.safetensors.*fetch it again"),
    "short.safetensors": (b"\x10", "fetch it again"),
    "keras.h5": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "keras.keras": (zipped(**{"config.json": "{}", "model.weights.h5": ""}), "Keras"),
    "arrays.npz": (arrays(), "archive of numpy arrays"),
    "array.npy": (b"\x93NUMPY\x01\x00", "array of numpy"),
    "model.onnx": (b"\x08\x07\x12\x07pytorch", "ONNX"),
    "export.pt2": (zipped(**{"archive/models/model.json": "{}"}), r"torch\.export"),
    "old_export.pt2": (zipped(**{"serialized_exported_program.json": "{}"}), r"torch\.export"),
    "other.zip": (zipped(readme="x"), "torch.save did not write; unpack it"),
    "packed.pth.gz": (gzip.compress(b"x"), "unpack it"),
    "packed.pth.tar": (tarred(), "unpack it"),
    "quantised.gguf": (b"GGUF\x03", "GGUF"),
    "config.json": (b"{}", "holds none; give the file of the weights"),
    "model.safetensors.index.json": (b"{}", "shards"),
    "model-00001-of-00002.safetensors": (save({"w": torch.ones(1)}), "one shard of several; join all"),
    "graph.pb": (b"\x08\x01", "TensorFlow"),
    "pickle.pkl": (pickle.dumps({"w": [1]}), r"pickled in a way .* torch\.save\(STATE, FILE\)"),
    "old_pickle.pkl": (pickle.dumps({"w": [1]}, protocol=2), "not a file of tensors"),
    "protocol.pth": (torch_saved({"w": torch.ones(1)}, pickle_protocol=4), "pickled in a way that is not read"),
    "whole.pth": (
        torch_saved(nn.Sequential(nn.Linear(1, 1))),
        r"holds a whole model .*torch\.nn.*model\.state_dict\(\)",
    ),
    "whole_old.pth": (
        torch_saved(nn.Linear(1, 1), _use_new_zipfile_serialization=False),
        r"holds a whole model .*model\.state_dict\(\)",
    ),
    "note.pth": (torch_saved({"a": Note()}), r"objects of its author's code \(.*Note\).*model\.state_dict\(\)"),
    "arrays.pth": (torch_saved({"model": {"w": np.ones(2)}}), r"no tensors; make tensors of them, torch\.as_tensor"),
    "list.pth": (torch_saved([1]), "holds a list"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_weights_is_called_what_it_is(name, tmp_path):
    content, message = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        read_content(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_archive_is_called_so(tmp_path):
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), str(tmp_path / "a.pt"))
    assert "TorchScript archive" in refused(tmp_path / "a.pt")
    assert "torch.jit.load(FILE).state_dict()" in refused(tmp_path / "a.pt")


@pytest.mark.parametrize("name", ["model.bin", "a.pt", "noending"])
def test_the_content_tells_what_a_file_is_not_its_ending(name, state, tmp_path):
    save_file(state, tmp_path / name)
    torch.save(state, tmp_path / "pickled.safetensors")
    for path in (tmp_path / name, tmp_path / "pickled.safetensors"):
        model = new()
        load_weights(model, path)
        assert_equal(model.state_dict(), state)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin", "mine.pth"])
def test_a_folder_of_a_hub(name, state, tmp_path):
    config = {"architecture": NAME, "pretrained_cfg": {"mean": [0.1] * 3, "std": [0.2] * 3}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "README.md").touch()
    (save_file if name.endswith("safetensors") else torch.save)(state, tmp_path / name)
    model = new()
    report = load_weights(model, tmp_path)
    assert_equal(model.state_dict(), state)
    assert (report.normalisation is not None) == (name != "mine.pth")
    if name != "mine.pth":
        assert report.normalisation.mean == (0.1,) * 3
        assert read_content(tmp_path).beside["architecture"] == {"name": NAME}


def test_a_folder_of_lightning(state, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    torch.save({"state_dict": under("model.", state)}, tmp_path / "checkpoints/epoch=1-step=9.ckpt")
    model = new()
    load_weights(model, tmp_path)
    assert_equal(model.state_dict(), state)
    torch.save({}, tmp_path / "checkpoints/last.ckpt")
    assert "has 2 files of weights (checkpoints/epoch=1-step=9.ckpt, checkpoints/last.ckpt" in refused(tmp_path)


FOLDERS = {
    "deepspeed": (["zero_to_fp32.py", "latest"], r"DeepSpeed.*zero_to_fp32\.py FOLDER"),
    "deepspeed without its script": (["global_step9/mp_rank_00_model_states.pt"], "DeepSpeed"),
    "distributed": (["__0_0.distcp", ".metadata"], "dcp_to_torch_save"),
    "shards": (["model.safetensors.index.json", "model-00001-of-00002.safetensors"], "shards"),
    "tensorflow": (["saved_model.pb"], "TensorFlow"),
    "cache of the hub": (["snapshots/abc/model.safetensors"], "give the folder in snapshots"),
    "a run that has nothing yet": (["config.yaml", "other.pt"], r"no best\.ckpt and no intact"),
    "nothing": (["README.md"], r"no best\.ckpt and no intact .* nor model\.safetensors; name a file"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_that_are_no_file(kind, tmp_path):
    files, message = FOLDERS[kind]
    for file in files:
        (tmp_path / "folder" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / file).touch()
    with pytest.raises(WeightsError, match=message) as caught:
        read_content(tmp_path / "folder")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"embed_dim": 96, "num_heads": 3},
            r"choose the backbone of the file \(a plain ViT, 96 wide, 1 blocks; .* 192 wide",
        ),
        (
            {"depth": 2},
            r"choose the backbone of the file \(a plain ViT, 192 wide, 2 blocks; the model is .* 1 blocks\)",
        ),
        ({"depth": 1, "embed_dim": 384}, r"384 wide.*backbone=timm backbone\.name=deit_small_patch16_224"),
    ],
)
def test_another_size_is_named(settings, message, tmp_path):
    torch.save(new(**settings).state_dict(), tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=message):
        load_weights(new(), tmp_path / "a.pt")


def test_another_kind_of_network_is_named(eva, tmp_path):
    torch.save(eva[1], tmp_path / "eva.pt")
    assert "the backbone of the file (an EVA, 192 wide, 2 blocks" in refused(tmp_path / "eva.pt")
    assert "backbone=eva_x_tiny" in refused(tmp_path / "eva.pt")
    torch.save(timm.create_model("resnet18", num_classes=0).state_dict(), tmp_path / "cnn.pt")
    assert "layout ResNet" in refused(tmp_path / "cnn.pt")
    assert "choose the backbone of the file (not a ViT; the model is a plain ViT" in refused(tmp_path / "cnn.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: tensor * float("nan"), "holds NaN or infinity"),
        (lambda tensor: tensor / 0, "holds NaN or infinity"),
        (lambda tensor: tensor.to(torch.int8), r"is torch\.int8, of quantised weights"),
    ],
)
def test_numbers_that_cannot_be_weights(change, message, state, tmp_path):
    torch.save(state | {"norm.weight": change(state["norm.weight"])}, tmp_path / "a.pt")
    assert f"norm.weight {message.replace(chr(92), '')}" in refused(tmp_path / "a.pt")
