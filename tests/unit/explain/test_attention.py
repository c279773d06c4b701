import pytest
import torch
from explained import CNNS, TRANSFORMERS, Toy, classes, images, toy

from evax.backbones.attention import rotary_table, rotate, use_attention
from evax.explain import METHODS, Explainable, attention, reference_attention
from evax.explain.attention import attention_of

SIZE = (64, 96)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_written_weights_give_the_attentions_output(name):
    explainable, films = toy(name, SIZE), images(size=SIZE)
    explainable.backbone.eval()
    inputs, outputs = [], []
    for block in explainable.blocks:
        block.attn.register_forward_hook(lambda _, given, made: (inputs.append(given[0]), outputs.append(made))[1])
    with torch.no_grad():
        explainable.backbone(films)
    plain, fused = outputs.copy(), attention_of(explainable, films)
    for block, given, made, weights in zip(explainable.blocks, inputs, plain, fused, strict=False):
        attn = block.attn
        value = attn.v_proj(given) if attn.qkv is None else values(attn, given)
        mixed = (weights @ value.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)).transpose(1, 2).flatten(2)
        torch.testing.assert_close(attn.proj(attn.norm(mixed)), made, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))


def values(attn, given):
    value = attn.qkv(given).chunk(3, dim=-1)[2]
    return value if getattr(attn, "v_bias", None) is None else value + attn.v_bias


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_the_kernel_stays_as_chosen_and_does_not_matter(kernel):
    model = Toy()
    expected = attention(Explainable(model), images())
    use_attention(model.backbone, kernel)
    torch.testing.assert_close(attention(Explainable(model), images()), expected)
    assert {block.attn.kernel for block in model.backbone.blocks} == {kernel}


def by_hand(explainable, films):
    """Attention of the last block, (B, H, N, N), from its input."""
    backbone = explainable.backbone.eval()
    tokens, _ = backbone._pos_embed(backbone.patch_embed(films))
    rope = rotary_table(backbone.rope.get_embed(shape=[4, 6]), 1)
    tokens = backbone.blocks[0](tokens, rope=rope)
    attn = backbone.blocks[1].attn
    q, k, _ = attn._project(backbone.blocks[1].norm1(tokens))
    q, k = (rotate(each.unflatten(-1, (attn.num_heads, -1)), rope).transpose(1, 2) for each in (q, k))
    return (q @ k.mT * attn.scale).softmax(-1)


@torch.no_grad()
def test_attention_of_a_point_is_that_of_its_patch():
    explainable, films = toy(), images(size=SIZE)
    weights = by_hand(explainable, films)
    points = torch.tensor([[0.0, 0.0], [0.99, 0.6]])
    maps = reference_attention(explainable, films, points, heads=[1])
    torch.testing.assert_close(maps[0].flatten(), weights[0, 1, 1, 1:])
    torch.testing.assert_close(maps[1].flatten(), weights[1, 1, 1 + 2 * 6 + 5, 1:])
    edge = reference_attention(explainable, films, torch.ones(2, 2))
    torch.testing.assert_close(edge[0].flatten(), weights[0].mean(0)[-1, 1:])


@torch.no_grad()
def test_attention_is_of_the_patches_that_are_pooled():
    explainable, films = toy(), images(size=SIZE)
    torch.testing.assert_close(
        attention(explainable, films, heads=[0]).flatten(1), by_hand(explainable, films)[:, 0, 1:, 1:].mean(1)
    )


def test_attention_is_of_the_class_token_where_that_is_read():
    explainable = toy("vit_registers")
    weights = attention_of(explainable, images())[-1]
    torch.testing.assert_close(attention(explainable, images()).flatten(1), weights.mean(1)[:, 0, 4:])


@pytest.mark.parametrize("method", ["attention", "rollout", "gradient_attention"])
@pytest.mark.parametrize("name", CNNS)
def test_a_cnn_has_no_attention(method, name):
    with pytest.raises(ValueError, match=f"{method} reads attention, which (ResNet|DenseNet) does not have"):
        METHODS[method](toy(name), images(), classes())


@pytest.mark.parametrize("heads", [[2], [], [-1]])
def test_a_head_that_is_not_there_is_named(heads):
    with pytest.raises(ValueError, match="are not all of 0 to 1"):
        attention(toy(), images(), heads=heads)


def test_a_point_outside_the_film_is_refused():
    with pytest.raises(ValueError, match="from the film's top left corner"):
        reference_attention(toy(), images(), torch.tensor([[0.5, 1.2], [0.0, 0.0]]))


@torch.no_grad()
def test_rollout_of_uniform_attention_is_uniform():
    explainable = toy()
    for block in explainable.blocks:
        block.attn.qkv.weight[:64] = 0  # q and k
        block.attn.q_bias.zero_()
    maps = METHODS["rollout"](explainable, images(), classes())
    torch.testing.assert_close(maps, torch.full_like(maps, maps[0, 0, 0].item()))


def test_rollout_is_the_product_of_half_attention():
    explainable = toy("vit")
    first, second = (0.5 * each.mean(1) + 0.5 * torch.eye(17) for each in attention_of(explainable, images()))
    maps = METHODS["rollout"](explainable, images(), classes())
    torch.testing.assert_close(maps.flatten(1), (second @ first)[:, 0, 1:])
