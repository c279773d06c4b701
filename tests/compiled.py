"""Compare compiled with plain backbones; a process of its own, since dynamo cannot trace run-time type checks."""

import numpy as np
import torch
from tiny import SUB_LN, tiny_backbone

from evax.backbones.drop_path import draw_drop_path


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference."""
    return (a - b).abs().max().item()


@torch.no_grad()
def masked_tokens(**settings: object) -> float:
    """Difference of the whole graph, compiled without a break, on masked images."""
    backbone = tiny_backbone(**settings).eval()
    compiled = torch.compile(backbone.forward_tokens, backend="aot_eager", fullgraph=True)
    images, is_masked = torch.randn(2, 3, 64, 64), torch.rand(2, 16) < 0.4
    return distance(compiled(images, is_masked), backbone.forward_tokens(images, is_masked))


@torch.no_grad()
def drawn_paths() -> tuple[float, float]:
    """Largest difference over three draws of drop path, and how much the draws themselves differ."""
    backbone = tiny_backbone(drop_path_rate=0.5).train()
    compiled = torch.compile(backbone.forward_tokens, backend="eager", fullgraph=True)
    images, outputs, differences = torch.randn(4, 3, 64, 64), [], []
    for step in range(3):
        draw_drop_path(backbone, np.random.default_rng(step), 4, slice(0, 4))
        outputs.append(compiled(images))
        differences.append(distance(outputs[-1], backbone.forward_tokens(images)))
    return max(differences), distance(outputs[0], outputs[1])


if __name__ == "__main__":
    torch.manual_seed(0)
    print(masked_tokens(), masked_tokens(**SUB_LN), *drawn_paths())  # noqa: T201
