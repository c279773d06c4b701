"""Files of other systems: full key sets count what the documentation counts, tiny ones arrive number by number."""

from pathlib import Path

import foreign_files as files
import pytest
import timm
import torch
from foreign_files import filled, weightless
from parity.official_files import OfficialSize, official_state
from safetensors.torch import save_file

from evax.checkpoints.weight_files import Content, under_timm_names
from evax.checkpoints.weights import WeightsError, fit_weights, load_weights
from evax.data.normalisation import CLIP, HALF

WIDTH = 64  # of tiny files
TINY = {"embed_dim": WIDTH, "depth": 2, "num_heads": 2}


def tiny(name: str = "vit_base_patch16_224", **settings):
    return timm.create_model(name, **({"num_classes": 0} | TINY | settings))


def saved(content, path: Path) -> Path:
    torch.save(content, path)
    return path


EVA_CLIP_B = files.eva_clip_split(768, 12, 16, 197, 512)
EVA_CLIP_L = files.eva_clip_split(1024, 24, 14, 257, 768)
EVA_CLIP_L_336 = files.eva_clip_split(1024, 24, 14, 577, 768)
EVA_CLIP_G = files.eva_clip_fused(1408, 40, 6144, 1024)
BIOMEDCLIP = files.biomedclip(768)

# file, its layout, timm's model, classes of its head, tensors that must match
FULL = {
    "MGCA": (files.mgca(768), "MGCA ViT", "vit_base_patch16_224", 0, 150),
    "Medical MAE S": (files.mae(384), "MAE", "vit_small_patch16_224", 0, 150),
    "Medical MAE B": (files.mae(768, decoder_depth=8), "MAE", "vit_base_patch16_224", 0, 150),
    "DeiT-S": (files.deit(384), "timm ViT", "deit_small_patch16_224", 0, 150),
    "DeiT-S with classes": (files.deit(384), "timm ViT", "deit_small_patch16_224", 1000, 152),
    "BiomedCLIP": (BIOMEDCLIP, "OpenCLIP trunk", "vit_base_patch16_224", 0, 150),
    "BiomedCLIP projected": (BIOMEDCLIP, "OpenCLIP trunk", "vit_base_patch16_224", 512, 152),
    "EVA-CLIP B": (EVA_CLIP_B, "EVA-CLIP split, sub-LN", "eva02_base_patch16_clip_224", 512, 260),
    "EVA-CLIP L": (EVA_CLIP_L, "EVA-CLIP split, sub-LN", "eva02_large_patch14_clip_224", 768, 512),
    "EVA-CLIP L-336": (EVA_CLIP_L_336, "EVA-CLIP split, sub-LN", "eva02_large_patch14_clip_336", 768, 512),
    "EVA-CLIP g": (EVA_CLIP_G, "EVA-CLIP fused", "eva_giant_patch14_clip_224", 1024, 528),
    "EVA-CLIP g, no head": (EVA_CLIP_G, "EVA-CLIP fused", "eva_giant_patch14_clip_224", 0, 526),
}


@pytest.mark.parametrize("name", FULL)
def test_a_file_of_full_size_matches_every_tensor_of_the_model(name):
    shapes, layout, backbone, num_classes, count = FULL[name]
    with torch.device("meta"):
        model = timm.create_model(backbone, num_classes=num_classes)
    weights = under_timm_names(Content(Path("file.pt"), "flat", weightless(shapes, torch.float16), {}))
    _, report = fit_weights(model, weights)
    assert (report.layout, len(report.matched), report.share) == (layout, count, 1)
    assert (report.missing, report.unexpected, report.resized) == ((), (), ())


def test_an_mgca_checkpoint_with_its_hyper_parameters(tmp_path):
    state = filled(files.mgca(WIDTH, depth=2))
    model = tiny()
    report = load_weights(model, saved(files.lightning_checkpoint(state), tmp_path / "vit_base.ckpt"))
    own = model.state_dict()
    assert all(torch.equal(own[name], state[f"img_encoder_q.model.{name}"]) for name in own)
    assert set(report.dropped) == {name for name in state if not name.startswith("img_encoder_q.model.")}
    assert report.normalisation == HALF


def test_an_mae_file_leaves_the_decoder_and_its_mask_token(tmp_path):
    state = filled(files.mae(WIDTH, depth=2, decoder_width=32, decoder_depth=1))
    model = tiny()
    report = load_weights(model, saved(files.mae_checkpoint(state), tmp_path / "mae.pth"))
    own = model.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in own)
    assert set(report.dropped) == {name for name in state if name.startswith(("decoder", "mask"))}
    assert report.normalisation is None


def test_a_decoder_s_mask_token_is_not_the_student_s(tmp_path):
    model = tiny()
    model.mask_token = torch.nn.Parameter(torch.zeros(1, 1, WIDTH))
    state = filled(files.mae(WIDTH, depth=2, decoder_width=WIDTH, decoder_depth=1))
    assert load_weights(model, saved(state, tmp_path / "mae.pth")).missing == ("mask_token",)


def test_norm_becomes_fc_norm_only_where_the_model_averages(tmp_path):
    state = filled(files.vit(WIDTH, depth=2))
    path = saved({"model": state}, tmp_path / "vit.pth")
    by_token, by_mean = tiny(global_pool="token"), tiny(global_pool="avg")
    for model in (by_token, by_mean):
        assert load_weights(model, path).share == 1
    assert torch.equal(by_token.norm.weight, state["norm.weight"])
    assert torch.equal(by_mean.fc_norm.weight, state["norm.weight"])


def test_a_model_with_both_final_norms_gets_both(tmp_path):
    source = tiny("eva02_small_patch14_224", use_post_transformer_norm=True, use_fc_norm=True)
    state = {name: torch.randn_like(tensor) for name, tensor in source.state_dict().items()}
    load_weights(source, saved(state, tmp_path / "a.pt"))
    assert torch.equal(source.norm.weight, state["norm.weight"])
    assert torch.equal(source.fc_norm.weight, state["fc_norm.weight"])


def test_an_eva_x_file_keeps_norm_in_a_model_that_pools_by_token(tmp_path):
    state = official_state(OfficialSize(WIDTH, is_split=False, depth=2))
    heads = {"num_heads": 1, "patch_size": 16, "global_pool": "token"}
    model = tiny("eva02_small_patch14_224", **heads)
    load_weights(model, saved({"module": state}, tmp_path / "mim.pt"))
    assert torch.equal(model.norm.weight, state["norm.weight"])


def test_names_of_eva_clip_with_split_projections(tmp_path):
    state = filled(files.eva_clip_split(WIDTH, 2, 16, 197, 32), torch.float16)
    model = tiny("eva02_base_patch16_clip_224", num_classes=32)
    report = load_weights(model, saved(state, tmp_path / "EVA02_CLIP.pt"))
    block = {name.removeprefix("visual.blocks.1."): tensor.float() for name, tensor in state.items()}
    attention, mlp = model.blocks[1].attn, model.blocks[1].mlp
    assert torch.equal(attention.q_proj.bias, block["attn.q_bias"])
    assert torch.equal(attention.v_proj.bias, block["attn.v_bias"])
    assert torch.equal(attention.norm.weight, block["attn.inner_attn_ln.weight"])
    assert torch.equal(mlp.fc1_g.weight, block["mlp.w1.weight"])
    assert torch.equal(mlp.fc1_x.weight, block["mlp.w2.weight"])
    assert torch.equal(mlp.norm.bias, block["mlp.ffn_ln.bias"])
    assert torch.equal(model.head.weight, state["visual.head.weight"].float())
    assert report.normalisation == CLIP


def test_the_head_of_a_clip_tower_is_left_out_of_a_model_without_one(tmp_path):
    state = filled(files.eva_clip_fused(WIDTH, 2, 256, 32, num_slots=257))
    report = load_weights(tiny("eva_giant_patch14_clip_224", mlp_ratio=4.0), saved(state, tmp_path / "g.pt"))
    assert {"head.weight", "head.bias", "logit_scale"} <= set(report.dropped)
    assert report.share == 1


def test_a_copy_of_timm_needs_no_renaming(tmp_path):
    source = tiny("eva02_base_patch16_clip_224", num_classes=32)
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    model = tiny("eva02_base_patch16_clip_224", num_classes=32)
    report = load_weights(model, tmp_path / "model.safetensors")
    assert (report.layout, report.share) == ("timm Eva", 1)
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_an_open_clip_trunk_of_eva(tmp_path):
    source = tiny("eva02_base_patch16_clip_224", num_classes=32)
    state = {f"visual.trunk.{name}": tensor for name, tensor in source.state_dict().items()}
    model = tiny("eva02_base_patch16_clip_224", num_classes=32)
    report = load_weights(model, saved(state | {"logit_scale": torch.ones(())}, tmp_path / "open_clip.bin"))
    assert (report.layout, report.share, report.dropped) == ("OpenCLIP trunk", 1, ("logit_scale",))
    assert torch.equal(model.head.bias, source.head.bias)


def test_a_projection_without_bias_gets_a_zero_one(tmp_path):
    state = filled(files.biomedclip(WIDTH, depth=2, projection=32))
    model = tiny(num_classes=32)
    torch.nn.init.ones_(model.head.bias)
    load_weights(model, saved(state, tmp_path / "biomedclip.bin"))
    assert torch.equal(model.head.weight, state["visual.head.proj.weight"])
    assert not model.head.bias.any()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_wrappers_around_a_foreign_layout(tmp_path, prefix):
    state = filled(files.under(prefix, files.mgca(WIDTH, depth=2)))
    assert load_weights(tiny(), saved({"state_dict": state}, tmp_path / "a.ckpt")).layout == "MGCA ViT"


def test_register_tokens_keep_their_slots_when_the_grid_changes(tmp_path):
    source, model = tiny(reg_tokens=4, img_size=160), tiny(reg_tokens=4)
    report = load_weights(model, saved(source.state_dict(), tmp_path / "a.pt"))
    assert report.resized == ("pos_embed",)
    assert torch.equal(model.pos_embed[:, :5], source.pos_embed[:, :5])


def test_a_table_of_patches_only_is_resized_where_the_model_has_no_class_slot(tmp_path):
    source, model = tiny(no_embed_class=True, img_size=160), tiny(no_embed_class=True)
    load_weights(model, saved(source.state_dict(), tmp_path / "a.pt"))
    assert model.pos_embed.shape == (1, 196, WIDTH)


def test_a_table_of_patches_only_leaves_the_class_slot_zero(tmp_path):
    source, model = tiny(no_embed_class=True), tiny()
    load_weights(model, saved(source.state_dict(), tmp_path / "a.pt"))
    assert not model.pos_embed[:, 0].any()
    assert torch.equal(model.pos_embed[:, 1:], source.pos_embed)


def test_a_class_slot_that_the_model_has_not_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="pos_embed has 197 patches, no square grid"):
        load_weights(tiny(no_embed_class=True), saved(tiny().state_dict(), tmp_path / "a.pt"))


def test_a_kernel_for_other_channels_is_refused_by_its_shape(tmp_path):
    with pytest.raises(WeightsError, match=r"patch_embed\.proj\.weight is \(64, 1, 16, 16\) in the file"):
        load_weights(tiny(), saved(tiny(in_chans=1).state_dict(), tmp_path / "a.pt"))


def test_a_file_of_another_width_is_refused_by_its_shape(tmp_path):
    state = filled(files.mgca(32, depth=2))
    with pytest.raises(WeightsError, match=r"a\.ckpt: \w+ is \(1, .* 32\) in the file .* choose the backbone"):
        load_weights(tiny(), saved({"state_dict": state}, tmp_path / "a.ckpt"))


def test_a_file_of_another_depth_is_refused_by_its_names(tmp_path):
    state = filled(files.mgca(WIDTH, depth=3))
    with pytest.raises(WeightsError, match=r"adds 12 \(blocks\.2\."):
        load_weights(tiny(), saved({"state_dict": state}, tmp_path / "a.ckpt"))


def test_a_cut_lightning_checkpoint_is_one_line(tmp_path):
    path = saved(files.lightning_checkpoint(filled(files.mgca(WIDTH, depth=2))), tmp_path / "vit_base.ckpt")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(WeightsError, match=r"vit_base\.ckpt") as refusal:
        load_weights(tiny(), path)
    assert "\n" not in str(refusal.value)
