import torch
from explained import Toy, classes, images, toy

from evax.explain import METHODS, Explainable


def test_gradient_attention_equals_an_independent_computation():
    model, films = Toy("vit").double().eval(), images().double()
    seen = []

    def keep(_module, _given, weights):
        weights.retain_grad()
        seen.append(weights)

    for block in model.backbone.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(keep)
    logits = model(films)
    (logits[0, 0] + logits[1, 1]).backward()
    first, second = ((weights * weights.grad).clamp(min=0).mean(1).detach() for weights in seen)
    relevance = torch.eye(17).double() + first
    expected = (relevance + second @ relevance)[:, 0, 1:]
    ours = METHODS["gradient_attention"](Explainable(Toy("vit").double()), films, classes())
    torch.testing.assert_close(ours.flatten(1), expected.float())


def test_an_attentive_head_tells_which_patches_it_read():
    explainable = toy(attentive=True)
    maps = METHODS["gradient_attention"](explainable, images(), classes())
    others = METHODS["gradient_attention"](explainable, images(), classes() + 1)
    assert maps.shape == (2, 4, 4)
    assert maps.max() > 0
    assert not torch.allclose(maps, others)
