"""Every declared layout loads; everything else is one line that names the file and the fix."""

import json
import os
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from parity.official_files import OfficialSize, official_state
from safetensors.torch import save_file
from timm.models.eva import Eva
from torch import nn

from evax.checkpoints.files import step_file, write_checkpoint
from evax.checkpoints.weight_files import read_weights
from evax.checkpoints.weights import WeightsError, export_weights, load_weights

PACKED, SPLIT = OfficialSize(64, is_split=False, depth=2), OfficialSize(64, is_split=True, depth=2)
SIZES = {"packed": PACKED, "split": SPLIT}


def student(size: OfficialSize = PACKED, mask_token: bool = False, **overrides) -> Eva:
    settings = {
        "img_size": 224,
        "patch_size": 16,
        "embed_dim": size.width,
        "depth": size.depth,
        "num_heads": size.heads,
        "mlp_ratio": 4 * 2 / 3,
        "swiglu_mlp": True,
        "qkv_fused": not size.is_split,
        "scale_mlp": size.is_split,
        "use_rot_pos_emb": True,
        "ref_feat_shape": (14, 14),
        "num_classes": 0,
        "global_pool": "avg",
    }
    model = Eva(**(settings | overrides))
    if mask_token:
        model.mask_token = nn.Parameter(torch.zeros(1, 1, size.width))
    return model


@pytest.fixture
def model() -> Eva:
    return student()


@pytest.fixture
def trained() -> dict[str, torch.Tensor]:
    """Weights under the model's own names."""
    generator = torch.Generator().manual_seed(3)
    return {n: torch.randn(t.shape, generator=generator) for n, t in student().state_dict().items()}


def saved(content, path: Path) -> Path:
    torch.save(content, path)
    return path


def holds(model: nn.Module, expected: dict[str, torch.Tensor]) -> bool:
    own = model.state_dict()
    return own.keys() == expected.keys() and all(torch.equal(own[n], expected[n]) for n in own)


@pytest.mark.parametrize("name", SIZES)
def test_an_official_mim_file_fills_the_backbone_and_drops_the_declared_rest(tmp_path, name):
    size, state = SIZES[name], official_state(SIZES[name])
    model = student(size)
    report = load_weights(model, saved({"module": state, "global_steps": 3}, tmp_path / "mim.pt"))
    own = model.state_dict()
    assert set(report.dropped) == {n for n in state if n.startswith("lm_head.") or "rope" in n} | {"mask_token"}
    assert report.share == 1
    assert (report.container, report.missing, report.unexpected, report.resized) == ("module", (), (), ())
    assert torch.equal(own["fc_norm.weight"], state["norm.weight"])
    assert torch.equal(own["blocks.1.mlp.fc2.weight"], state["blocks.1.mlp.w3.weight"])


def test_packed_names(tmp_path, model):
    state = official_state(PACKED)
    load_weights(model, saved(state, tmp_path / "mim.pt"))
    attention, mlp = model.blocks[1].attn, model.blocks[1].mlp
    assert torch.equal(mlp.fc1.weight, state["blocks.1.mlp.w12.weight"])
    assert torch.equal(attention.q_bias, state["blocks.1.attn.q_bias"])
    assert torch.equal(attention.v_bias, state["blocks.1.attn.v_bias"])


def test_split_names(tmp_path):
    state, model = official_state(SPLIT), student(SPLIT)
    load_weights(model, saved(state, tmp_path / "mim.pt"))
    attention, mlp = model.blocks[1].attn, model.blocks[1].mlp
    assert torch.equal(mlp.fc1_g.weight, state["blocks.1.mlp.w1.weight"])
    assert torch.equal(mlp.fc1_x.weight, state["blocks.1.mlp.w2.weight"])
    assert torch.equal(mlp.norm.bias, state["blocks.1.mlp.ffn_ln.bias"])
    assert torch.equal(attention.q_proj.bias, state["blocks.1.attn.q_bias"])
    assert torch.equal(attention.v_proj.bias, state["blocks.1.attn.v_bias"])


def test_a_model_with_a_mask_token_keeps_it(tmp_path):
    model, state = student(mask_token=True), official_state(PACKED)
    load_weights(model, saved({"module": state}, tmp_path / "mim.pt"))
    assert torch.equal(model.mask_token, state["mask_token"])


def test_a_missing_mask_token_is_reported_and_allowed(tmp_path, trained):
    report = load_weights(student(mask_token=True), saved(trained, tmp_path / "a.pt"))
    assert report.missing == ("mask_token",)


def test_half_precision_becomes_float32(tmp_path):
    state = {n: t.half() for n, t in official_state(PACKED).items()}
    tensors = read_weights(saved({"module": state}, tmp_path / "mim.pt")).tensors
    assert {t.dtype for t in tensors.values()} == {torch.float32}
    assert torch.equal(tensors["cls_token"], state["cls_token"].float())


def fine_tuned_state() -> dict[str, torch.Tensor]:
    state = {n: t for n, t in official_state(PACKED).items() if n != "mask_token" and "lm_head" not in n}
    final_norm = {f"fc_norm.{part}": torch.full((64,), 2.0) for part in ("weight", "bias")}
    return state | final_norm | {"head.weight": torch.ones(14, 64), "head.bias": torch.ones(14)}


def test_an_official_fine_tuned_file_with_its_arguments(tmp_path, model):
    content = {"model": fine_tuned_state(), "epoch": 3, "args": Namespace(lr=1e-3), "optimizer": {"state": {}}}
    report = load_weights(model, saved(content, tmp_path / "eva_x_ft.pth"))
    assert report.container == "model"
    assert {"head.weight", "head.bias", "norm.weight", "norm.bias"} <= set(report.dropped)
    assert (model.fc_norm.weight == 2).all()


def test_a_classifier_of_the_same_size_is_loaded(tmp_path):
    model = student(num_classes=14)
    load_weights(model, saved({"model": fine_tuned_state()}, tmp_path / "ft.pth"))
    assert (model.head.weight == 1).all()


def test_a_classifier_of_another_size_is_left_out_and_reported(tmp_path):
    report = load_weights(student(num_classes=5), saved({"model": fine_tuned_state()}, tmp_path / "ft.pth"))
    assert set(report.missing) == {"head.weight", "head.bias"} <= set(report.dropped)


def test_our_checkpoint(tmp_path, model, trained):
    state = {f"backbone.{n}": t for n, t in trained.items()} | {"head.weight": torch.ones(2, 64)}
    write_checkpoint({"state_dict": state, "global_step": 5}, tmp_path / "a.ckpt")
    report = load_weights(model, tmp_path / "a.ckpt")
    assert holds(model, trained)
    assert report.dropped == ("head.weight",)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "backbone._orig_mod."])
def test_wrappers_leave_no_trace_in_names(tmp_path, model, trained, prefix):
    load_weights(model, saved({f"{prefix}{n}": t for n, t in trained.items()}, tmp_path / "a.pt"))
    assert holds(model, trained)


def test_safetensors_and_timm_names(tmp_path, model, trained):
    trained = {n.replace("fc_norm.", "norm."): t for n, t in trained.items()}
    save_file(trained, tmp_path / "a.safetensors")
    report = load_weights(model, tmp_path / "a.safetensors")
    assert report.container == "flat"
    assert torch.equal(model.fc_norm.weight, trained["norm.weight"])


def test_a_run_directory_gives_its_best_checkpoint(tmp_path, model, trained):
    ours = {f"backbone.{n}": t for n, t in trained.items()}
    write_checkpoint({"state_dict": ours}, tmp_path / "best.ckpt")
    write_checkpoint({"state_dict": {n: t * 0 for n, t in ours.items()}}, tmp_path / "checkpoints" / step_file(9))
    assert load_weights(model, tmp_path).file.name == "best.ckpt"
    assert holds(model, trained)


def test_a_run_directory_without_a_best_gives_the_newest_intact_checkpoint(tmp_path, model, trained):
    folder = tmp_path / "checkpoints"
    write_checkpoint({"state_dict": {f"backbone.{n}": t for n, t in trained.items()}}, folder / step_file(1))
    (folder / step_file(2)).write_bytes(b"half")
    assert load_weights(model, tmp_path).file.name == step_file(1)


def test_a_run_directory_without_checkpoints(tmp_path, model):
    with pytest.raises(WeightsError, match=r"no best\.ckpt and no intact"):
        load_weights(model, tmp_path)


CONTAINERS = ("model_ema", "model", "module", "state_dict", "teacher")


@pytest.mark.parametrize("number", range(len(CONTAINERS)))
def test_containers_are_tried_in_the_declared_order(tmp_path, model, trained, number):
    content = dict.fromkeys(reversed(CONTAINERS[number:]), trained) | {"epoch": 1}
    assert load_weights(model, saved(content, tmp_path / "a.pt")).container == CONTAINERS[number]


def test_a_key_overrides_the_order(tmp_path, model, trained):
    content = {"model": {n: t * 0 for n, t in trained.items()}, "student": trained}
    load_weights(model, saved(content, tmp_path / "a.pt"), key="student")
    assert holds(model, trained)


def test_a_wrong_key_names_those_of_the_file(tmp_path, model, trained):
    with pytest.raises(WeightsError, match=r"weights_key=nothing.*its keys are model, epoch"):
        load_weights(model, saved({"model": trained, "epoch": 1}, tmp_path / "a.pt"), key="nothing")


def test_another_grid_resizes_positions_bicubic_without_antialias_and_keeps_cls(tmp_path, trained):
    model = student(img_size=(256, 192))
    report = load_weights(model, saved(trained, tmp_path / "a.pt"))
    image = trained["pos_embed"][:, 1:].reshape(1, 14, 14, 64).permute(0, 3, 1, 2)
    expected = nn.functional.interpolate(image, (16, 12), mode="bicubic", align_corners=False, antialias=False)
    assert report.resized == ("pos_embed",)
    assert torch.equal(model.pos_embed[:, 1:], expected.flatten(2).mT)
    assert torch.equal(model.pos_embed[:, :1], trained["pos_embed"][:, :1])


def test_a_table_without_a_square_grid_cannot_be_resized(tmp_path, model):
    state = student(img_size=(256, 192)).state_dict()
    with pytest.raises(WeightsError, match="192 patches, no square grid"):
        load_weights(model, saved(state, tmp_path / "a.pt"))


def test_a_kernel_of_another_patch_size_is_resampled(tmp_path, model):
    state = official_state(PACKED, patch_size=14, side=16)  # EVA-02's own patch size
    report = load_weights(model, saved({"module": state}, tmp_path / "eva02.pt"))
    assert set(report.resized) == {"pos_embed", "patch_embed.proj.weight"}


def test_the_report_is_one_paragraph(tmp_path):
    report = load_weights(student(img_size=256), saved({"module": official_state(PACKED)}, tmp_path / "mim.pt"))
    assert str(report) == (
        "mim.pt (container module, layout EVA-02 packed): loaded backbone (32 tensors, 100.0% of its parameters); "
        "resized 1 (pos_embed); not used 3 (lm_head.weight, lm_head.bias, mask_token); "
        "6 position tables are computed, not loaded."
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda own: {n: t for n, t in own.items() if n != "cls_token"}, r"lacks 1 \(cls_token\)"),
        (lambda own: own | {"decoder.weight": torch.ones(1)}, r"adds 1 \(decoder\.weight\)"),
        (lambda own: own | {"cls_token": torch.ones(1, 1, 32)}, r"cls_token is \(1, 1, 32\) in the file"),
        (lambda own: {"conv1.weight": torch.ones(1)}, r"unknown layout.*conv1\.weight"),
        (lambda own: own | {"epoch": 3}, r"mixes tensors with other values \(epoch\)"),
        (lambda own: own | {"epoch": 3}, r"\(epoch\); save its tensors alone$"),
        (
            lambda own: {"epoch": 3, "loss": torch.tensor(0.1), "net": own},
            r"\(epoch, net\); name the right container by weights_key=net$",
        ),
        (
            lambda own: {"loss": torch.tensor(0.1), "nets": {"a": own, "b": own}},
            r"\(nets\); name the right container by weights_key=nets\.a or weights_key=nets\.b$",
        ),
        (lambda own: {"model": own | {"sizes": [3]}}, r"\(sizes\); save its tensors alone$"),
        (
            lambda own: {"model": {"scale": torch.ones(1), "net": own}},
            r"\(net\); name the right container by weights_key=model\.net$",
        ),
        (lambda own: {"epoch": 3, "weights": own}, r"its keys are epoch, weights"),
        (lambda own: [1, 2], "holds a list"),
    ],
)
def test_what_is_not_declared_is_one_line_with_the_file_and_changes_nothing(tmp_path, model, trained, content, message):
    before = {n: t.clone() for n, t in model.state_dict().items()}
    with pytest.raises(WeightsError, match=message) as refusal:
        load_weights(model, saved(content(trained), tmp_path / "odd.pt"))
    assert "odd.pt" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert holds(model, before)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (lambda own: {"epoch": 3, "loss": torch.tensor(0.1), "net": own}, "net"),
        (lambda own: {"model": {"scale": torch.ones(1), "net": own}}, "model.net"),
        (lambda own: {"a": {"b": {"net": own}}}, "a.b.net"),
    ],
)
def test_the_container_that_a_message_names_is_found(tmp_path, model, trained, content, key):
    load_weights(model, saved(content(trained), tmp_path / "a.pt"), key=key)
    assert holds(model, trained)


def test_numbers_and_words_in_a_container_are_left_out_and_reported(tmp_path, model, trained):
    content = {"model": trained | {"epoch": 3, "name": "vit", "best": 0.9, "is_ema": True, "note": None}}
    report = load_weights(model, saved(content, tmp_path / "a.pt"))
    assert holds(model, trained)
    assert report.dropped == ("epoch", "name", "best", "is_ema", "note")
    assert "not used 5 (epoch, name, best and 2 more)" in str(report)


QKV, KERNEL = "blocks.0.attn.qkv.weight", torch.ones(96, 3, 4, 4)
STAGED = {
    "Swin": {"patch_embed.proj.weight": KERNEL} | {f"layers.{n}.{QKV}": torch.ones(288, 96) for n in range(4)},
    "Swin of one stage": {"patch_embed.proj.weight": KERNEL, f"layers.0.{QKV}": torch.ones(288, 96)},
    "MViTv2": {"patch_embed.proj.weight": KERNEL} | {f"stages.{n}.{QKV}": torch.ones(288, 96) for n in range(4)},
    "Swin within a task": {f"backbone.layers.{n}.{QKV}": torch.ones(288, 96) for n in range(4)}
    | {"backbone.patch_embed.proj.weight": KERNEL},
    "Swin without its stem": {f"layers.{n}.{QKV}": torch.ones(288, 96) for n in range(4)},
}


@pytest.mark.parametrize("kind", STAGED)
def test_a_stage_of_a_hierarchy_is_no_network(kind, tmp_path, model):
    """Its blocks are not read as a ViT behind a prefix, and no backbone of another kind is proposed."""
    with pytest.raises(WeightsError) as refusal:
        load_weights(model, saved({"model": STAGED[kind]}, tmp_path / "swin.pt"))
    told = str(refusal.value)
    assert "\n" not in told
    assert "backbone=" not in told
    if kind == "Swin without its stem":
        assert "unknown layout, no name fits the model; container model holds layers.0." in told
    else:
        assert "lacks 31 (cls_token, pos_embed, patch_embed.proj.bias and 28 more)" in told
        assert "choose the backbone of the file (of stages as Swin is, 96 wide at first; the model is an EVA" in told


def test_a_table_of_another_width_and_grid_is_of_another_backbone(tmp_path, model, trained):
    content = trained | {"pos_embed": torch.ones(1, 3136, 96), "patch_embed.proj.weight": torch.ones(96, 3, 7, 7)}
    with pytest.raises(
        WeightsError, match=r"pos_embed is \(1, 3136, 96\) in the file.*96 wide, 2 blocks; the model is an"
    ):
        load_weights(model, saved(content, tmp_path / "hiera.pt"))


def test_networks_in_a_list_are_several(tmp_path, model, trained):
    content = {f"nets.{number}.{name}": tensor for number in range(2) for name, tensor in trained.items()}
    with pytest.raises(
        WeightsError, match=r"several networks, nets\.0\., nets\.1\.; name one by weights_key=nets\.0 or"
    ):
        load_weights(model, saved(content, tmp_path / "a.pt"))
    load_weights(model, saved(content, tmp_path / "a.pt"), key="nets.1")
    assert holds(model, trained)


def test_a_missing_file_is_named(tmp_path, model):
    with pytest.raises(WeightsError, match=r"weights=.*absent\.pt: no such file"):
        load_weights(model, tmp_path / "absent.pt")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_a_cut_file_is_one_line(tmp_path, model, trained, name):
    path = tmp_path / name
    if name.endswith("pt"):
        torch.save(trained, path)
    else:
        save_file(trained, path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(WeightsError, match=name.replace(".", r"\.")) as refusal:
        load_weights(model, path)
    assert "\n" not in str(refusal.value)


class Payload:
    """Runs a command when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_code_in_a_file_is_refused_in_one_line_and_never_runs(tmp_path, model, trained):
    content = {"state_dict": trained, "hyper_parameters": Payload(tmp_path / "marker")}
    with pytest.raises(WeightsError, match=r"evil\.ckpt.*wants to run code \(\w+\.system\)") as refusal:
        load_weights(model, saved(content, tmp_path / "evil.ckpt"))
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "marker").exists()


def test_an_export_is_loaded_back_with_its_metadata(tmp_path, model, trained):
    source = student()
    source.load_state_dict(trained)
    export_weights(source, tmp_path / "out.safetensors", {"architecture": "eva_x_tiny", "step": 9})
    load_weights(model, tmp_path / "out.safetensors")
    assert holds(model, trained)
    meta = json.loads((tmp_path / "out.json").read_text())
    assert (meta["architecture"], meta["step"]) == ("eva_x_tiny", 9)
    assert (tmp_path / "out.safetensors").stat().st_mode & 0o777 == 0o644


def test_a_flipped_bit_in_an_export_is_found(tmp_path, model):
    path = tmp_path / "out.safetensors"
    export_weights(model, path, {})
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"sha256 is not the one in out\.json; copy or fetch both again") as refusal:
        load_weights(model, path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("times", [(1, 2), (2, 1)])
def test_copies_are_known_by_their_content_whatever_their_times(tmp_path, model, times):
    path, sidecar = tmp_path / "out.safetensors", tmp_path / "out.json"
    export_weights(model, path, {"preprocessing": {"mean": [0.1] * 3, "std": [0.2] * 3}})
    for file, seconds in zip((path, sidecar), times, strict=True):
        os.utime(file, (seconds, seconds))
    assert load_weights(model, path).normalisation == ((0.1,) * 3, (0.2,) * 3)


@pytest.mark.parametrize("content", ["{", "[1]", "{}"])
def test_a_json_that_is_no_exports_is_passed_over(tmp_path, model, content):
    export_weights(model, tmp_path / "out.safetensors", {})
    (tmp_path / "out.json").write_text(content)
    assert load_weights(model, tmp_path / "out.safetensors").normalisation is None


@pytest.mark.parametrize(
    ("name", "meta", "message"),
    [("a.pt", {}, r"name it a\.safetensors"), ("a.safetensors", {"x": Path("p")}, "JSON values only")],
)
def test_an_export_that_could_not_be_used_is_refused(tmp_path, model, name, meta, message):
    with pytest.raises(WeightsError, match=message):
        export_weights(model, tmp_path / name, meta)
    assert not list(tmp_path.iterdir())
