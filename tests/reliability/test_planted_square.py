"""Is a map right? A network that knows only one faint square must be seen to look at it.

A CNN learns the square from labels alone. A Vision Transformer whose labels say no more than "a square somewhere" needs
more films than a test has: its tokens are shown where the squares are before its classifier learns from labels.
"""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from jaxtyping import Bool, UInt8
from tiny import tiny_backbone
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits
from torchmetrics.functional.classification import binary_auroc

from evax.backbones import create_foreign
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.sources.phantom import PhantomSource
from evax.explain import METHODS, Explainable, to_pixels
from evax.optim import AdamWCosine
from evax.tasks import Classifier

pytestmark = pytest.mark.slow  # two trainings of a minute or two

SIZE, PATCH, BATCH = 96, 8, 16  # 12 x 12 patches, and as many places of the CNN's last map
WIDTH = 64


class Films(NamedTuple):
    """Films of one split and where their squares are."""

    images: UInt8[Tensor, "N 1 S S"]
    masks: Bool[Tensor, "N S S"]

    @property
    def labels(self) -> Tensor:
        return self.masks.flatten(1).any(1).float()


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "square"
    prepare(PhantomSource(num_films=2000, size=SIZE, planted="square"), folder, size=SIZE, workers=0)
    pack = Pack(folder)
    return {
        split: films_of(pack, np.flatnonzero(pack.is_in("official", [split])).tolist()) for split in ("train", "test")
    }


def films_of(pack, rows):
    images = np.stack([pack.image(row) for row in rows])
    masks = np.stack([pack.mask("lesions", row) > 0 for row in rows])
    return Films(torch.from_numpy(images)[:, None], torch.from_numpy(masks))


@pytest.fixture(scope="module")
def transformer(films):
    torch.manual_seed(0)
    backbone = tiny_backbone(img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=1, mask_token=False)
    task = Classifier(backbone=backbone, classes=["Square"], optim=AdamWCosine(lr=1e-3), seed=0, head="attentive")
    show_where(task, films["train"])
    learn_labels(task, films["train"], backbone_rate=1e-4, head_rate=1e-3)
    return task.eval()


@pytest.fixture(scope="module")
def cnn(films):
    torch.manual_seed(0)
    backbone = create_foreign("resnet10t", image_size=SIZE, model_kwargs={"output_stride": PATCH})
    task = Classifier(backbone=backbone, classes=["Square"], optim=AdamWCosine(lr=2e-3), seed=0)
    learn_labels(task, films["train"], backbone_rate=2e-3, head_rate=2e-3)
    return task.eval()


def show_where(task, films):
    """Teach the tokens which share of their patch is a square's."""
    reader = nn.Linear(WIDTH, 1)
    shares = avg_pool2d(films.masks[:, None].float(), PATCH).flatten(1)

    def loss(rows):
        tokens = task.backbone.forward_tokens(task.student_input(task.unit_images(films.images[rows])))
        return binary_cross_entropy_with_logits(reader(tokens)[..., 0], shares[rows])

    descend([{"params": [*task.backbone.parameters(), *reader.parameters()], "rate": 2e-3}], loss, len(shares), 5)


def learn_labels(task, films, *, backbone_rate, head_rate):
    """Learn whether there is a square, from labels alone."""
    task.train()

    def loss(rows):
        return binary_cross_entropy_with_logits(task(task.unit_images(films.images[rows]))[:, 0], films.labels[rows])

    rates = {task.backbone: backbone_rate, task.head: head_rate}
    groups = [{"params": part.parameters(), "rate": rate} for part, rate in rates.items()]
    descend(groups, loss, len(films.images), 2)


def descend(groups, loss, count, epochs):
    """AdamW along half a cosine after a tenth of the steps as warm-up."""
    optimizer = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.05)
    batches = [rows for _ in range(epochs) for rows in torch.randperm(count).split(BATCH) if len(rows) == BATCH]
    parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
    for step, rows in enumerate(batches):
        share = min(1, (step + 1) / (0.1 * len(batches))) * 0.5 * (1 + np.cos(np.pi * step / len(batches)))
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * share
        optimizer.zero_grad()
        loss(rows).backward()
        nn.utils.clip_grad_norm_(parameters, 3.0)
        optimizer.step()


@pytest.fixture(scope="module")
def shown(films):
    """The test films with a square."""
    chosen = films["test"].labels.bool()
    return Films(films["test"].images[chosen], films["test"].masks[chosen])


def shares(task, shown, methods, layer=None):
    """How often each map peaks inside the square."""
    explainable, classes = Explainable(task, layer), torch.zeros(len(shown.images), dtype=torch.long)
    batches = list(zip(explainable.images(shown.images).split(32), classes.split(32), strict=True))
    maps = {name: torch.cat([METHODS[name](explainable, *batch) for batch in batches]) for name in methods}
    return {name: share_inside(to_pixels(each, SIZE), shown.masks) for name, each in maps.items()}


def share_inside(maps, masks):
    peaks = maps.flatten(1).argmax(1, keepdim=True)
    return masks.flatten(1).gather(1, peaks).float().mean().item()


def auroc(task, films):
    with torch.no_grad():
        logits = torch.cat([task.logits(batch) for batch in films.images.split(64)])[:, 0]
    return binary_auroc(logits, films.labels.long()).item()


def test_both_networks_learn_the_square(cnn, transformer, films):
    assert min(auroc(cnn, films["test"]), auroc(transformer, films["test"])) > 0.99


def test_maps_of_labels_alone_peak_inside_the_square(cnn, shown):
    found = shares(cnn, shown, ["grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam"], "layer4")
    few = Films(shown.images[:64], shown.masks[:64])  # a pass through the network for each of 144 places
    found |= shares(cnn, few, ["occlusion"], "layer4")
    assert min(found.values()) >= 0.95, found


def test_attention_with_its_gradient_and_occlusion_peak_inside_the_square(transformer, shown):
    found = shares(transformer, shown, ["gradient_attention", "occlusion"])
    assert min(found.values()) >= 0.95, found


def test_what_knows_no_class_or_no_model_is_told(cnn, transformer, shown, record_property):
    told = shares(transformer, shown, ["attention", "rollout", "eigen_cam"]) | {
        f"{name} of the CNN's last BatchNorm": share for name, share in shares(cnn, shown, ["grad_cam"]).items()
    }
    for name, share in told.items():
        record_property(name, round(share, 3))
    assert share_inside(shown.images.float(), shown.masks) < 0.2
    assert max(shares(transformer, shown, ["random", "centre"]).values()) < 0.3
