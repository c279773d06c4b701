import pytest
import torch
from torch import nn

from evax.optim.groups import layer_id, parameter_groups


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 4, 3))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 3))
        self.linear = nn.Linear(3, 3)
        self.norm = nn.LayerNorm(3)

    def no_weight_decay(self):
        return {"pos_embed", "cls_token"}


class Task(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Student()
        self.pos_embed = nn.Parameter(torch.zeros(2, 3))  # same name, another owner: decays


def names(groups):
    return {group["name"]: set(group["param_names"]) for group in groups}


def test_vectors_biases_and_listed_names_do_not_decay():
    assert names(parameter_groups(Student(), 0.05)) == {
        "decay": {"linear.weight", "mask_token"},
        "no_decay": {"linear.bias", "norm.weight", "norm.bias", "pos_embed"},
    }


def test_submodules_are_asked_under_their_prefix():
    groups = names(parameter_groups(Task(), 0.05))
    assert "backbone.pos_embed" in groups["no_decay"]
    assert {"pos_embed", "backbone.mask_token"} <= groups["decay"]


def test_a_bias_matrix_does_not_decay():
    model = nn.Module()
    model.bias_table = nn.Module()
    model.bias_table.bias = nn.Parameter(torch.zeros(2, 2))
    assert names(parameter_groups(model, 0.05)) == {"no_decay": {"bias_table.bias"}}


def test_frozen_parameters_are_left_out():
    model = Student()
    model.linear.requires_grad_(False)
    assert not {"linear.weight", "linear.bias"} & set().union(*names(parameter_groups(model, 0.05)).values())


def test_an_optimizer_takes_each_parameter_once():
    model = Task()
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.05), lr=1.0)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]
    taken = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(taken) == sorted(id(p) for p in model.parameters())


@pytest.mark.parametrize("group", [0, 1])
def test_names_and_parameters_agree(group):
    model = Task()
    entry = parameter_groups(model, 0.05)[group]
    assert all(model.get_parameter(name) is p for name, p in zip(entry["param_names"], entry["params"], strict=True))


class Vit(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.cls_token = nn.Parameter(torch.zeros(1, 1, 3))
        self.backbone.patch_embed = nn.Linear(3, 3)
        self.backbone.blocks = nn.ModuleList(nn.Linear(3, 3) for _ in range(12))
        self.backbone.fc_norm = nn.LayerNorm(3)
        self.head = nn.Linear(3, 2)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("backbone.cls_token", 0),
        ("backbone.pos_embed", 0),
        ("backbone.patch_embed.proj.weight", 0),
        ("backbone.blocks.0.attn.q_bias", 1),
        ("backbone.blocks.11.mlp.fc1.weight", 12),
        ("backbone.fc_norm.weight", 13),
        ("head.projection.bias", 13),
        ("head.pos_embed", 13),  # a head's own
    ],
)
def test_layer_ids_are_those_of_the_published_fine_tuning(name, layer):
    assert layer_id(name, depth=12) == layer


def test_layer_decay_makes_fourteen_rates():
    groups = parameter_groups(Vit(), 0.05, layer_decay=0.55)
    scales = sorted({group["lr_scale"] for group in groups})
    assert len(scales) == 14
    assert scales == pytest.approx([0.55 ** (13 - layer) for layer in range(14)])
    assert scales[0] == pytest.approx(4.2e-4, rel=0.01)
    of = {name: group["lr_scale"] for group in groups for name in group["param_names"]}
    assert (of["backbone.blocks.11.weight"], of["head.weight"]) == (0.55, 1.0)
    assert len(of) == len(dict(Vit().named_parameters()))


def test_layer_decay_without_blocks_is_refused():
    with pytest.raises(ValueError, match=r"optim\.layer_decay needs a backbone of blocks"):
        parameter_groups(Student(), 0.05, layer_decay=0.5)
