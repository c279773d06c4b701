import pytest
import torch
from tiny import tiny_backbone

from evax.backbones.drop_path import GlobalDropout, GlobalDropPath, draw_drop_path, replace_drop_path
from evax.data.keyed_random import Stream, keyed_generator


def generator(step=0):
    return keyed_generator(7, Stream.DROP_PATH, index=step)


def layers(model):
    return [module for module in model.modules() if isinstance(module, GlobalDropPath)]


def model_with_drops():
    model = torch.nn.Sequential(*(GlobalDropPath(rate) for rate in (0.2, 0.5)))
    return model.train()


def test_every_drop_path_of_a_backbone_is_global():
    assert len(layers(tiny_backbone(drop_path_rate=0.2))) == 2  # the first block's rate is 0


def test_replacing_leaves_other_modules_alone():
    model = torch.nn.Sequential(torch.nn.Dropout(0.1), torch.nn.Linear(2, 2))
    replace_drop_path(model)
    assert [type(module) for module in model] == [torch.nn.Dropout, torch.nn.Linear]


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_slices_by_rank_are_the_rows_of_the_global_draw(world_size):
    model, share = model_with_drops(), 8 // world_size
    draw_drop_path(model, generator(), 8, slice(0, 8))
    whole = [layer.factors for layer in layers(model)]
    parts = []
    for rank in range(world_size):
        draw_drop_path(model, generator(), 8, slice(rank * share, (rank + 1) * share))
        parts.append([layer.factors for layer in layers(model)])
    for layer, factors in enumerate(whole):
        assert torch.equal(torch.cat([part[layer] for part in parts]), factors)


def test_layers_and_steps_draw_differently():
    model = torch.nn.Sequential(GlobalDropPath(0.5), GlobalDropPath(0.5))
    draw_drop_path(model, generator(0), 64, slice(0, 64))
    first, second = (layer.factors for layer in model)
    draw_drop_path(model, generator(1), 64, slice(0, 64))
    assert not torch.equal(first, second)
    assert not torch.equal(first, model[0].factors)


def test_a_residual_is_dropped_or_scaled_whole():
    model = torch.nn.Sequential(GlobalDropPath(0.25)).train()
    draw_drop_path(model, generator(), 16, slice(0, 16))
    scaled = model(torch.ones(16, 3, 4))
    assert scaled.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(scaled, scaled[:, :1, :1].expand(-1, 3, 4))
    assert torch.equal(scaled[:, 0, 0], model[0].factors.float())


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_the_expectation_is_preserved(rate):
    model = torch.nn.Sequential(GlobalDropPath(rate)).train()
    draw_drop_path(model, generator(), 40_000, slice(0, 40_000))
    assert model(torch.ones(40_000, 1)).mean() == pytest.approx(1, abs=0.02)  # 4 sigma


def test_another_batch_than_drawn_is_an_error():
    model = model_with_drops()
    draw_drop_path(model, generator(), 8, slice(0, 8))
    with pytest.raises(ValueError, match="drawn for 8 samples, but the batch has 7"):
        model(torch.ones(7, 2))


def test_evaluation_ignores_the_draw():
    model = model_with_drops()
    draw_drop_path(model, generator(), 8, slice(0, 8))
    assert torch.equal(model.eval()(torch.ones(3, 2)), torch.ones(3, 2))


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_drop_the_features_of_the_global_draw(world_size):
    features, share = torch.ones(8, 16), 8 // world_size
    dropout = GlobalDropout(0.25, width=16).train()
    draw_drop_path(dropout, generator(), 8, slice(0, 8))
    whole = dropout(features)
    parts = []
    for rank in range(world_size):
        rows = slice(rank * share, (rank + 1) * share)
        draw_drop_path(dropout, generator(), 8, rows)
        parts.append(dropout(features[rows]))
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=0)
    assert whole.unique().tolist() == pytest.approx([0.0, 1 / 0.75])


def test_features_are_dropped_as_often_as_asked_and_only_in_training():
    dropout = GlobalDropout(0.2, width=500).train()
    draw_drop_path(dropout, generator(), 100, slice(0, 100))
    features = torch.ones(100, 500)
    assert (dropout(features) == 0).double().mean() == pytest.approx(0.2, abs=0.01)
    torch.testing.assert_close(dropout.eval()(features), features, rtol=0, atol=0)
    with pytest.raises(ValueError, match="dropout was drawn for 100 samples, but the batch has 3"):
        dropout.train()(features[:3])


def test_no_dropout_draws_nothing():
    """The draws of drop path stay what they are."""
    with_head = torch.nn.Sequential(GlobalDropout(0.0, width=4), model_with_drops()).train()
    without = model_with_drops()
    for model in (with_head, without):
        draw_drop_path(model, generator(), 8, slice(0, 8))
    for left, right in zip(layers(with_head), layers(without), strict=True):
        assert torch.equal(left.factors, right.factors)


def test_whole_maps_are_dropped_with_or_without_a_draw():
    dropout, maps = GlobalDropout(0.25, width=64).train(), torch.ones(8, 64, 3, 3)
    torch.manual_seed(0)
    own = dropout(maps)
    draw_drop_path(dropout, generator(), 8, slice(0, 8))
    drawn = dropout(maps)
    torch.testing.assert_close(drawn[..., 0, 0], dropout(torch.ones(8, 64)), rtol=0, atol=0)
    for each in (own, drawn):
        assert torch.equal(each, each[..., :1, :1].expand_as(each))
        assert each.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
