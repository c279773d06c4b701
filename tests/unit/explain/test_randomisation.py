import numpy as np
import pytest
import torch
from explained import BACKBONES, Toy, classes, images, toy

from evax.explain import METHODS, Explainable, cascade
from evax.explain.randomisation import learned_layers, spearman


@pytest.mark.parametrize("name", BACKBONES)
def test_every_weight_is_in_one_layer(name):
    explainable = toy(name)
    weights = [id(weight) for _, layer in learned_layers(explainable) for weight in layer]
    assert len(weights) == len(set(weights))
    parts = (explainable.backbone, explainable.head)
    assert set(weights) == {id(weight) for part in parts for weight in part.parameters()}


def test_layers_go_from_the_head_down():
    names = [name for name, _ in learned_layers(toy())]
    assert names == ["head", "norm", "blocks.1", "blocks.0", "embedding"]
    names = [name for name, _ in learned_layers(toy("resnet"))]
    assert names == ["head", "layer4", "layer3", "layer2", "layer1", "embedding"]


def test_a_densenet_is_shuffled_from_its_last_norm_down_and_transitions_with_the_block_before_them():
    explainable = toy("densenet")
    layers = dict(learned_layers(explainable))
    assert list(layers) == ["head", "norm", *(f"features.denseblock{i}" for i in (4, 3, 2, 1)), "embedding"]
    names = {id(weight): name for name, weight in explainable.backbone.named_parameters()}
    held = {layer: {names[id(weight)].split(".")[1] for weight in layers[layer]} for layer in list(layers)[1:]}
    assert held["norm"] == {"norm5"}
    assert held["features.denseblock4"] == {"denseblock4"}
    assert held["features.denseblock1"] == {"denseblock1", "transition1"}
    assert held["embedding"] == {"conv0", "norm0"}


def test_a_map_loses_its_likeness_and_the_model_nothing():
    model = Toy()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    steps = cascade(Explainable(model), images(4), classes(4), METHODS["hires_cam"])
    assert steps[0].layer == "head"
    assert all(step.rho.shape == (4,) for step in steps)
    assert abs(steps[-1].rho.mean()) < 0.5
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_a_map_of_no_model_stays_the_same():
    for step in cascade(toy(), images(), classes(), METHODS["centre"]):
        np.testing.assert_allclose(step.rho, 1)


def test_weights_are_back_after_an_error():
    model = Toy()
    before = model.head.projection.weight.clone()
    calls = []

    def fails(explainable, films, chosen):
        calls.append(explainable)
        if len(calls) == 3:
            raise RuntimeError("enough")
        return torch.rand(2, 4, 4)

    with pytest.raises(RuntimeError, match="enough"):
        cascade(Explainable(model), images(), classes(), fails)
    assert torch.equal(model.head.projection.weight, before)


def test_the_same_seed_gives_the_same_check():
    explainable = toy()
    first, again, other = (
        cascade(explainable, images(), classes(), METHODS["eigen_cam"], seed=seed)[-1].rho for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again, equal_nan=True)
    assert not np.array_equal(first, other)


def test_rank_correlation_knows_order_only():
    maps = torch.arange(12.0).reshape(1, 3, 4)
    assert spearman(maps, maps.exp()) == pytest.approx(1)
    assert spearman(maps, -maps) == pytest.approx(-1)
    assert np.isnan(spearman(maps, torch.zeros_like(maps))).all()
