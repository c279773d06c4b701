"""Tokens of frozen ViTs against plain timm, PIL and arithmetic by hand."""

import inspect

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from teachers import CLIP, PLAIN, SMALL, saved, teacher, tokenizer_of
from torch.nn import functional as F

from evax.checkpoints.weights import WeightsError
from evax.tokenizers import VitTokenizer

STUDENT = (0.49185243, 0.28509309)  # EVA-X's mean and standard deviation


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def normed_tokens(vit, images):
    """A plain ViT written out, for images of the size that it was built for."""
    tokens = vit.patch_embed.proj(images).flatten(2).transpose(1, 2)
    tokens = torch.cat([vit.cls_token.expand(len(images), -1, -1), tokens], dim=1) + vit.pos_embed
    for block in vit.blocks:
        tokens = block(tokens)
    width = tokens.shape[-1]
    return F.layer_norm(tokens, (width,), vit.norm.weight, vit.norm.bias, eps=1e-6)[:, 1:]


def resized(maps, size):
    """Channel by channel with PIL's bicubic, which has antialias; size is (height, width)."""

    def one(channel):
        return np.asarray(Image.fromarray(channel).resize(size[::-1], Image.Resampling.BICUBIC))

    return torch.from_numpy(np.stack([[one(channel) for channel in image] for image in maps.numpy()]))


def with_positions(vit, side, **settings):
    """The same ViT built for another size, its table resampled bicubic without antialias."""
    other = teacher(img_size=side, **settings)
    state = vit.state_dict()
    (before, _), after = vit.patch_embed.grid_size, other.patch_embed.grid_size
    patches = state["pos_embed"][:, 1:].reshape(1, before, before, -1).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, size=after, mode="bicubic").flatten(2).transpose(1, 2)
    state["pos_embed"] = torch.cat([state["pos_embed"][:, :1], patches], dim=1)
    other.load_state_dict(state)
    return other


def cosine(tokens, others):
    return F.cosine_similarity(tokens, others, dim=-1).mean().item()


def test_normed_tokens_are_a_plain_vits_after_its_final_norm_without_cls(images, tmp_path):
    vit = teacher(img_size=64)
    tokenizer = tokenizer_of(vit, tmp_path)
    assert tokenizer.dim == 32
    torch.testing.assert_close(tokenizer(images), normed_tokens(vit, images), atol=2e-6, rtol=1e-5)


def test_every_prefix_token_is_dropped(images, tmp_path):
    vit = teacher(img_size=64, reg_tokens=4, no_embed_class=True)
    tokenizer = tokenizer_of(vit, tmp_path, model_kwargs={"reg_tokens": 4, "no_embed_class": True})
    expected = vit.forward_features(images)[:, 5:]
    assert expected.shape == (2, 16, 32)
    torch.testing.assert_close(tokenizer(images), expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", [PLAIN, CLIP])
def test_projected_tokens_went_through_norm_and_head(name, images, tmp_path):
    vit = teacher(name, img_size=64, num_classes=24)
    tokenizer = tokenizer_of(vit, tmp_path, name, target="projected", model_kwargs={"num_classes": 24})
    normed = vit.forward_intermediates(images, indices=1, norm=True, output_fmt="NLC", intermediates_only=True)[0]
    expected = normed @ vit.head.weight.T + vit.head.bias
    assert tokenizer.dim == 24
    torch.testing.assert_close(tokenizer(images), expected, atol=5e-6, rtol=1e-5)


def test_a_clip_tower_may_stop_before_its_head(images, tmp_path):
    vit = teacher(CLIP, img_size=64, num_classes=24)
    tokens = tokenizer_of(vit, tmp_path, CLIP, target="normed", model_kwargs={"num_classes": 24})(images)
    torch.testing.assert_close(tokens, vit.forward_features(images)[:, 1:], atol=5e-6, rtol=1e-5)


def test_a_projection_without_bias_gets_none(images, tmp_path):
    vit = teacher(img_size=64, num_classes=24)
    state = {name: tensor for name, tensor in vit.state_dict().items() if name != "head.bias"}
    torch.save(state, tmp_path / "nobias.pt")
    kwargs = SMALL | {"num_classes": 24, "weight_init": "jax_nlhb"}  # whose bias is not zero
    settings = {"image_size": 64, "target": "projected", "model_kwargs": kwargs}
    tokenizer = VitTokenizer(PLAIN, weights=tmp_path / "nobias.pt", **settings)
    assert torch.equal(tokenizer.network.head.weight, vit.head.weight)
    assert not tokenizer.network.head.bias.any()


def test_patch_14_reads_smaller_films_that_give_the_students_grid(images, tmp_path):
    vit = teacher(patch_size=14, img_size=84)
    tokens = tokenizer_of(vit, tmp_path, model_kwargs={"patch_size": 14}, grid="match_input")(images)
    smaller = resized(images, (56, 56)).clamp(0, 1)  # 64 pixels are 4 patches of 16, and so are 56 of 14
    expected = normed_tokens(with_positions(vit, 56, patch_size=14), smaller)
    assert tokens.shape == (2, 16, 32)
    torch.testing.assert_close(tokens, expected, atol=2e-5, rtol=1e-4)


def test_at_224_pixels_patch_14_reads_196(tmp_path):
    tokenizer = tokenizer_of(teacher(patch_size=14, img_size=28), tmp_path, model_kwargs={"patch_size": 14})
    assert tokenizer.render(torch.zeros(1, 3, 224, 224), (14, 14)).shape[-2:] == (196, 196)


def test_a_resampled_kernel_sees_enlarged_patches_as_the_kernel_saw_the_patches(tmp_path):
    vit = teacher(patch_size=14, img_size=56)
    tokenizer = tokenizer_of(vit, tmp_path, model_kwargs={"patch_size": 14}, grid="resize_patch")
    images = torch.rand(2, 3, 56, 56) * 0.5 + 0.25
    patches = images.unfold(2, 14, 14).unfold(3, 14, 14).permute(0, 2, 3, 1, 4, 5).reshape(32, 3, 14, 14)
    patches = F.interpolate(patches, size=(16, 16), mode="bicubic", antialias=True)
    enlarged = patches.reshape(2, 4, 4, 3, 16, 16).permute(0, 3, 1, 4, 2, 5).reshape(2, 3, 64, 64)
    assert enlarged.min() >= 0
    assert enlarged.max() <= 1
    torch.testing.assert_close(tokenizer(enlarged), normed_tokens(vit, images), atol=1e-3, rtol=1e-3)


def test_resized_tokens_are_those_of_the_native_size_on_the_students_grid(images, tmp_path):
    vit = teacher(patch_size=14, img_size=84)
    tokens = tokenizer_of(vit, tmp_path, model_kwargs={"patch_size": 14}, grid="resize_tokens")(images)
    native = normed_tokens(vit, resized(images, (84, 84)).clamp(0, 1))
    expected = resized(native.transpose(1, 2).reshape(2, 32, 6, 6), (4, 4)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(tokens, expected, atol=2e-5, rtol=1e-4)


def test_resampling_at_the_same_patch_size_changes_nothing(images, tmp_path):
    vit = teacher(img_size=64)
    rules = [
        tokenizer_of(vit, tmp_path, grid=rule)(images) for rule in ("match_input", "resize_patch", "resize_tokens")
    ]
    assert torch.equal(rules[0], rules[1])
    assert torch.equal(rules[0], rules[2])


def test_every_size_that_divides_works_and_none_spoils_another(images, tmp_path):
    vit = teacher(img_size=64)
    tokenizer = tokenizer_of(vit, tmp_path)
    first, larger = tokenizer(images), torch.rand(1, 3, 96, 96)
    torch.testing.assert_close(tokenizer(larger), normed_tokens(with_positions(vit, 96), larger), atol=5e-6, rtol=1e-5)
    assert tokenizer(torch.rand(1, 3, 32, 80)).shape == (1, 10, 32)
    assert torch.equal(tokenizer(images), first)


def test_positions_of_patches_alone_are_resampled_whole(tmp_path):
    settings = {"reg_tokens": 4, "no_embed_class": True}
    vit, images = teacher(img_size=64, **settings), torch.rand(1, 3, 96, 96)
    tokens = tokenizer_of(vit, tmp_path, model_kwargs=settings)(images)
    larger, state = teacher(img_size=96, **settings), vit.state_dict()
    table = F.interpolate(state["pos_embed"].reshape(1, 4, 4, 32).permute(0, 3, 1, 2), size=(6, 6), mode="bicubic")
    larger.load_state_dict(state | {"pos_embed": table.flatten(2).transpose(1, 2)})
    torch.testing.assert_close(tokens, larger.forward_features(images)[:, 5:], atol=5e-6, rtol=1e-5)


def test_sizes_that_do_not_divide_name_the_key(tmp_path):
    with pytest.raises(ValueError, match="image_size as a multiple of 16"):
        tokenizer_of(teacher(img_size=64), tmp_path)(torch.rand(1, 3, 56, 56))


@pytest.mark.parametrize(("norm", "mean", "std"), [("native", 0.3, 0.6), ("student", *STUDENT)])
def test_the_vit_sees_its_own_normalisation_or_the_students(norm, mean, std, images, tmp_path):
    vit = teacher(img_size=64)
    tokenizer = tokenizer_of(vit, tmp_path, mean=[0.3] * 3, std=[0.6] * 3, norm=norm)
    torch.testing.assert_close(tokenizer(images), normed_tokens(vit, (images - mean) / std), atol=5e-6, rtol=1e-5)


def test_unset_size_and_normalisation_are_timms(tmp_path):
    vit = teacher(CLIP)
    tokenizer = VitTokenizer(CLIP, weights=saved(vit, tmp_path), model_kwargs=SMALL)
    config = timm.get_pretrained_cfg(CLIP)
    assert (tuple(tokenizer.mean), tuple(tokenizer.std)) == (config.mean, config.std)
    assert tokenizer.native_grid == (14, 14)


def test_an_unset_normalisation_is_the_files_where_its_layout_tells(tmp_path):
    state = {f"img_encoder_q.model.{name}": tensor for name, tensor in teacher(CLIP).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "mgca.ckpt")
    tokenizer = VitTokenizer(CLIP, weights=tmp_path / "mgca.ckpt", model_kwargs=SMALL)
    assert tuple(tokenizer.mean) == tuple(tokenizer.std) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", [PLAIN, CLIP])
def test_bf16_is_close_to_float32(name, images, tmp_path):
    vit = teacher(name, img_size=64)
    exact = tokenizer_of(vit, tmp_path, name)(images)
    rough = tokenizer_of(vit, tmp_path, name, precision="bf16")(images)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    assert 1 - cosine(rough, exact) < 1e-3


def test_the_callers_autocast_changes_nothing(images, tmp_path):
    tokenizer = tokenizer_of(teacher(img_size=64), tmp_path)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens = tokenizer(images)
    assert torch.equal(tokens, tokenizer(images))


def test_float64_images_are_computed_in_float64(images, tmp_path):
    vit = teacher(img_size=64)
    tokens = tokenizer_of(vit, tmp_path, precision="bf16")(images.double())
    assert tokens.dtype == torch.float32
    torch.testing.assert_close(tokens, normed_tokens(vit.double(), images.double()).float(), atol=1e-7, rtol=1e-6)


def test_it_never_trains(images, tmp_path):
    tokenizer = tokenizer_of(teacher(img_size=64), tmp_path)
    assert not any(module.training for module in tokenizer.modules())
    assert not any(module.training for module in tokenizer.train().modules())
    assert not any(parameter.requires_grad for parameter in tokenizer.parameters())
    assert not tokenizer(images.requires_grad_()).requires_grad


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_tokens_made_after_inference_mode_serve_as_targets(precision, images, tmp_path):
    tokenizer = tokenizer_of(teacher(img_size=32), tmp_path, precision=precision)
    with torch.inference_mode():
        tokenizer(images)
    prediction = torch.rand(2, 16, 32, requires_grad=True)
    F.cosine_similarity(prediction, tokenizer(images), dim=-1).mean().backward()
    assert prediction.grad is not None


@pytest.mark.parametrize(
    ("weights", "said"), [(None, "is not given"), ("/nonexistent.pt", "=/nonexistent.pt: no such")]
)
def test_missing_weights_are_one_line_with_the_file_and_its_origin(weights, said):
    with pytest.raises(WeightsError) as refusal:
        VitTokenizer(PLAIN, weights=weights, origin="that file of theirs")
    assert str(refusal.value).startswith("tokenizer.weights")
    assert said in str(refusal.value)
    assert str(refusal.value).endswith("it should be that file of theirs")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("vit_base_patch16_242", {}, r"tokenizer\.model=vit_base_patch16_242 .*did you mean 'vit_base_patch16_224'"),
        ("resnet18", {}, r"tokenizer\.model=resnet18 is no ViT"),
        ("vit_small_patch14_dinov2", {"target": "projected"}, r"has no projection; choose tokenizer\.target=normed"),
        ("eva02_tiny_patch14_224", {}, r"set \+tokenizer\.model_kwargs\.global_pool=token"),
    ],
)
def test_a_setting_that_cannot_be_names_its_key(name, settings, message, tmp_path):
    path = saved(teacher(), tmp_path)
    with pytest.raises(ValueError, match=message):
        VitTokenizer(name, weights=path, model_kwargs={} if name == "resnet18" else SMALL, **settings)


@pytest.mark.parametrize(
    ("key", "value", "choices"),
    [
        ("target", "norm", "projected, normed"),
        ("norm", "nativ", "native, student"),
        ("grid", "resize", "match_input, resize_patch, resize_tokens"),
    ],
)
def test_a_choice_that_is_none_lists_those_there_are(key, value, choices, tmp_path):
    build = inspect.unwrap(VitTokenizer.__init__)  # without the tests' own check of types
    with pytest.raises(ValueError, match=rf"^tokenizer\.{key}={value} is not known; choose one of {choices}$"):
        build(
            VitTokenizer.__new__(VitTokenizer),
            PLAIN,
            weights=saved(teacher(), tmp_path),
            model_kwargs=SMALL,
            **{key: value},
        )


def test_a_file_of_another_patch_size_is_not_resampled_unasked(tmp_path):
    path = saved(teacher(patch_size=14, img_size=56), tmp_path)
    with pytest.raises(WeightsError, match=r"teacher\.pt has patches of another size .*model_kwargs\.patch_size"):
        VitTokenizer(PLAIN, weights=path, image_size=64, model_kwargs=SMALL)


def test_a_file_without_the_projection_is_refused(tmp_path):
    with pytest.raises(
        WeightsError, match=r"target=projected: .*teacher\.pt holds no projection to 24 .*target=normed"
    ):
        tokenizer_of(teacher(img_size=64), tmp_path, target="projected", model_kwargs={"num_classes": 24})
