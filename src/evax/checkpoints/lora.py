"""Files with low-rank adapters, read as if they had been merged."""

from collections.abc import Mapping

from torch import Tensor

# How `torch.nn.utils.parametrize` names what `evax.backbones.lora` adds to a weight
ORIGINAL = ".parametrizations.weight.original"
UPDATE = ".parametrizations.weight.0."


def merged(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with every adapted weight as a plain one, computed in its own precision."""
    plain = {name: tensor for name, tensor in tensors.items() if ORIGINAL not in name and UPDATE not in name}
    for name, weight in tensors.items():
        if name.endswith(ORIGINAL):
            linear = name.removesuffix(ORIGINAL)
            scale, up, down = (tensors[f"{linear}{UPDATE}{part}"] for part in ("scale", "up", "down"))
            plain[f"{linear}.weight"] = weight + scale * (up @ down)
    return plain
