import numpy as np
import torch
from tiny import batch_of, tiny_backbone, tiny_data, tiny_task
from torch.nn import functional as F

from evax.data.keyed_random import Stream, keyed_generator
from evax.masking import UniformMasking


def learned(data, *, shuffled: bool) -> float:
    """Cosine loss of the last 20 of 200 steps on eight films, over the best that knows the position alone.

    With `shuffled`, each step's targets come from another film, so that only the position can help.
    """
    torch.manual_seed(0)
    task = tiny_task(backbone=tiny_backbone(embed_dim=64), loss="cosine").train()
    images = task.unit_images(batch_of(data)["image"])
    target = task.target(images)
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3, betas=(0.9, 0.98))
    losses = []
    for step in range(200):
        generator = keyed_generator(0, Stream.MASK, index=step)
        is_masked = torch.from_numpy(np.stack([UniformMasking(0.4)(generator, (4, 4)) for _ in range(8)]))
        shift = int(generator.integers(1, 8)) if shuffled else 0
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 20) * (1 - step / 200)
        loss = task.loss(task.predict(images, is_masked), target.roll(shift, 0)[is_masked])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    position_only = 1 - F.normalize(target, dim=-1).mean(0).norm(dim=-1).mean().item()
    return float(np.mean(losses[-20:])) / position_only


def test_200_steps_learn_what_films_show(pack_folder):
    assert learned(tiny_data(pack_folder), shuffled=False) <= 0.8


def test_200_steps_learn_nothing_from_another_films_targets(pack_folder):
    assert learned(tiny_data(pack_folder), shuffled=True) >= 0.95
