import gc

import numpy as np
import pytest
import pytorch_grad_cam
import torch
from explained import Toy, classes, images, num_hooks, toy
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from evax.explain import METHODS, Explainable, to_pixels

LIBRARY = {
    "grad_cam": pytorch_grad_cam.GradCAM,
    "grad_cam_plus_plus": pytorch_grad_cam.GradCAMPlusPlus,
    "hires_cam": pytorch_grad_cam.HiResCAM,
    "layer_cam": pytorch_grad_cam.LayerCAM,
}
SIZE = (64, 96)


def library_maps(kind, explainable, model, films, chosen):
    """Their maps; the layer must be one that nothing changes in place, as the library does not copy what it sees."""
    with kind(model, [explainable.layer], reshape_transform=lambda out: explainable.on_grid(out, films)) as cam:
        return cam(films.clone(), [ClassifierOutputTarget(int(each)) for each in chosen])


@pytest.mark.parametrize("name", ["eva_x", "vit", "resnet"])
@pytest.mark.parametrize("method", LIBRARY)
def test_maps_equal_the_grad_cam_library(name, method):
    model, films = Toy(name, SIZE).eval(), images(size=SIZE)
    explainable = Explainable(model, layer="layer4.0" if name == "resnet" else None)
    expected = library_maps(LIBRARY[method], explainable, model, films, classes())
    ours = to_pixels(METHODS[method](explainable, films, classes()), SIZE).numpy()
    np.testing.assert_allclose(ours, expected, atol=2e-4)


@pytest.mark.parametrize("name", ["eva_x", "resnet"])
def test_eigen_cam_is_the_librarys_but_for_its_sign(name):
    model, films = Toy(name, SIZE).eval(), images(size=SIZE)
    explainable = Explainable(model)
    shown = []
    with explainable.layer.register_forward_hook(lambda *seen: shown.append(seen[2].detach().clone())):
        model(films)
    places = explainable.on_grid(shown[0], films)
    expected = pytorch_grad_cam.eigen_cam.get_2d_projection(places.numpy())
    for ours, theirs in zip(METHODS["eigen_cam"](explainable, films, classes()).numpy(), expected, strict=True):
        signed = theirs if theirs.max() >= -theirs.min() else -theirs
        np.testing.assert_allclose(ours, signed.clip(min=0), atol=1e-4 * np.abs(theirs).max())


def test_grad_cam_of_a_vit_equals_an_independent_computation():
    model, films = Toy().double().eval(), images().double()
    backbone = model.backbone
    tokens, rope = backbone._pos_embed(backbone.patch_embed(films))
    tokens = backbone.blocks[0](tokens, rope=rope)
    last = backbone.blocks[1]
    shown = last.norm1(tokens).detach().requires_grad_()
    tokens = tokens + last.attn(shown, rope=rope)
    tokens = tokens + last.mlp(last.norm2(tokens))
    logits = model.head(backbone.fc_norm(tokens[:, 1:].mean(1)))
    logits[0, 0].backward()
    slope, seen = shown.grad[0, 1:], shown[0, 1:].detach()
    expected = (seen * slope.mean(0)).sum(1).clamp(min=0).reshape(4, 4)
    ours = METHODS["grad_cam"](Explainable(model), films, classes())
    assert expected.max() > 0
    torch.testing.assert_close(ours[0], expected, rtol=1e-9, atol=1e-12)


def test_the_logit_keeps_its_sign():
    """A map of a negative logit must speak for the class: the absolute value would turn every gradient."""
    model = Toy()
    torch.nn.init.constant_(model.head.projection.bias, -100.0)
    below = METHODS["hires_cam"](Explainable(model), images(), classes())
    torch.testing.assert_close(below, METHODS["hires_cam"](toy(), images(), classes()))


@pytest.mark.parametrize("method", ["grad_cam", "gradient_attention"])
def test_five_hundred_films_leave_nothing_behind(method):
    explainable = toy()
    alive = []
    for batch in range(25):
        METHODS[method](explainable, images(20, (32, 32)), classes(20))
        if batch in (5, 24):
            gc.collect()
            alive.append(sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects()))
    assert alive[1] <= alive[0]
    assert num_hooks(explainable.backbone) == 0
