import pytest
import torch
from explained import BACKBONES, CNNS, Toy, classes, images, num_hooks, toy
from tiny import tiny_backbone, tiny_task

from evax.explain import METHODS, Explainable, cascade, deletion, insertion

SIZE = (64, 96)


@pytest.mark.parametrize("name", BACKBONES)
def test_grid_and_maps_follow_films_that_are_not_square(name):
    explainable = toy(name, SIZE)
    grid = (2, 3) if name in CNNS else (4, 6)
    assert explainable.grid(images(size=SIZE)) == grid
    for method in METHODS.values():
        if method.of_attention and name in CNNS:
            continue
        maps = method(explainable, images(size=SIZE), classes())
        assert maps.shape == (2, *grid), method.name
        assert maps.isfinite().all(), method.name
        assert not maps.requires_grad, method.name


@pytest.mark.parametrize("size", [(32, 32), (48, 80), (112, 112)])
def test_eva_x_is_mapped_at_other_sizes_than_its_own(size):
    maps = METHODS["grad_cam"](toy(), images(size=size), classes())
    assert maps.shape == (2, size[0] // 16, size[1] // 16)


@pytest.mark.parametrize("name", ["eva_x", "vit", "resnet"])
def test_a_frozen_model_in_inference_mode_has_the_same_maps(name):
    expected = {key: METHODS[key](toy(name), images(), classes()) for key in ("grad_cam", "layer_cam")}
    model = Toy(name).requires_grad_(False)
    with torch.inference_mode():
        for key, maps in expected.items():
            torch.testing.assert_close(METHODS[key](Explainable(model), images(), classes()), maps)


@pytest.mark.parametrize("name", ["eva_x", "vit", "resnet"])
def test_weights_in_half_precision_give_nearly_the_same_maps(name):
    exact = METHODS["hires_cam"](toy(name), images(), classes())
    maps = METHODS["hires_cam"](Explainable(Toy(name).bfloat16()), images(), classes())
    assert maps.dtype == torch.float32
    assert torch.corrcoef(torch.stack([exact.flatten(), maps.flatten()]))[0, 1] > 0.95


@pytest.mark.parametrize("name", ["eva_x", "resnet"])
def test_the_callers_autocast_changes_nothing(name):
    model, films = Explainable(Toy(name).eval()), images()
    heat = torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(2))

    def fits(method):
        return model.has_attention or not method.of_attention

    def seen():
        yield from (method(model, films, classes()) for method in METHODS.values() if fits(method))
        yield from (model.logits(films), model.probabilities(films), model.tokens(films))
        yield from (check(model, films, classes(), heat, steps=3).probabilities for check in (insertion, deletion))
        yield from (torch.from_numpy(each.rho) for each in cascade(model, films, classes(), METHODS["grad_cam"]))

    exact = list(seen())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = list(seen())
    for one, other in zip(exact, again, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", ["eva_x", "resnet"])
def test_a_model_is_left_as_it_was(name):
    model = Toy(name)
    model.backbone.eval()
    next(model.parameters()).requires_grad_(False)
    before = [(m, m.training) for m in model.modules()]
    asked = [w.requires_grad for w in model.parameters()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    for method in METHODS.values():
        if name == "eva_x" or not method.of_attention:
            method(Explainable(model), images(), classes())
    assert num_hooks(model) == 0
    assert all(module.training == mode for module, mode in before)
    assert [w.requires_grad for w in model.parameters()] == asked
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_gradient_checkpoints_change_nothing():
    model = Toy("vit")
    expected = METHODS["gradient_attention"](Explainable(model), images(), classes())
    model.backbone.set_grad_checkpointing(True)
    torch.testing.assert_close(METHODS["gradient_attention"](Explainable(model), images(), classes()), expected)
    assert model.backbone.grad_checkpointing


def test_an_error_leaves_no_hook():
    model = Toy()
    with pytest.raises(RuntimeError):
        METHODS["grad_cam"](Explainable(model), images(), torch.tensor([0, 9]))
    assert num_hooks(model) == 0
    assert model.training


def test_logits_are_the_models():
    model = Toy().eval()
    torch.testing.assert_close(Explainable(model).logits(images()), model(images()))


@pytest.mark.parametrize("student", [tiny_backbone(), tiny_task()])
def test_a_student_without_classes_has_maps_that_need_none(student):
    explainable = Explainable(student)
    assert not explainable.has_classes
    for method in METHODS.values():
        if not method.of_class:
            assert method(explainable, images(), classes()).shape == (2, 4, 4)
    with pytest.raises(ValueError, match="grad_cam explains a class, but EvaX has no classifier"):
        METHODS["grad_cam"](explainable, images(), classes())


def test_another_layer_is_chosen_by_name():
    usual, chosen = Explainable(Toy()), Explainable(Toy(), layer="blocks.0.norm2")
    assert chosen.layer is chosen.backbone.blocks[0].norm2
    maps = [METHODS["hires_cam"](each, images(), classes()) for each in (usual, chosen)]
    assert not torch.allclose(*maps)
    with pytest.raises(ValueError, match=r"layer=blocks\.9\.norm1 is none of EvaX"):
        Explainable(Toy(), layer="blocks.9.norm1")
