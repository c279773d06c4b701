"""What a weight file tells about its classifier: the classes, what they are shown, and the head's tensors."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, NamedTuple

from torch import Tensor

from evax.checkpoints.errors import WeightsError
from evax.checkpoints.inspection import image_size_of
from evax.checkpoints.layouts import WRAPPERS
from evax.checkpoints.weight_files import Content, Weights
from evax.checkpoints.weights import HEAD, KERNEL
from evax.data.film_view import FilmView
from evax.data.findings import CXR14

Loss = Literal["binary", "exclusive"]
TINY = 192  # width of EVA-X-Ti, whose CheXpert films were not cropped
DEFAULT_SIZE = 224


class PublishedClasses(NamedTuple):
    """The classes of a published fine-tuned file, in the order of its logits, and what it was trained for."""

    names: tuple[str, ...]
    loss: Loss
    benchmark: str


# EVA-X's fine-tuned files do not name their classes; their number tells the benchmark (its training scripts).
PUBLISHED_CLASSES = {
    len(known.names): known
    for known in (
        PublishedClasses(CXR14, "binary", "ChestX-ray14"),
        PublishedClasses(
            ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"), "binary", "CheXpert"
        ),
        PublishedClasses(("normal", "pneumonia", "COVID-19"), "exclusive", "CovidX-CXR-3"),
        PublishedClasses(("negative", "positive"), "exclusive", "CovidX-CXR-4"),
    )
}


class Described(NamedTuple):
    """A classifier without its backbone; `head` holds tensors of one of `evax.heads`, float32.

    `loss` says how logits become probabilities: "binary", a sigmoid each, or "exclusive", a softmax over all.
    """

    classes: tuple[str, ...]
    loss: Loss
    num_heads: int | None  # of an attentive head
    view: FilmView
    head: dict[str, Tensor]

    def __str__(self) -> str:
        return f"classification head ({len(self.classes)} class{'es' if len(self.classes) > 1 else ''})"

    def to_json(self) -> dict[str, Any]:
        """What an export's `.json` and a checkpoint say of it, beside `preprocessing`."""
        return classifier_facts(self.classes, self.loss, self.num_heads)


def classifier_facts(classes: tuple[str, ...], loss: str, num_heads: int | None) -> dict[str, Any]:
    """The fields by which a file is known to hold a classifier."""
    return {"classes": list(classes), "loss": loss, "num_heads": num_heads}


def is_classifier(content: Content, weights: Weights) -> bool:
    """Whether a file knows classes: its own names, or by a published fine-tuning head."""
    return bool(content.beside.get("classes")) or _is_published(head_tensors(content, weights), weights)


def describe_classifier(content: Content, weights: Weights) -> Described:
    """The classifier in a file; WeightsError for a file without one, such as of pre-training."""
    head = head_tensors(content, weights)
    size = image_size_of(weights.tensors) or DEFAULT_SIZE
    if classes := content.beside.get("classes"):
        view = recorded_view(content.beside, size)
        loss, num_heads = content.beside.get("loss", "binary"), content.beside.get("num_heads")
        return Described(tuple(classes), loss, num_heads, view, head)
    if not _is_published(head, weights):
        raise WeightsError(_refusal(content, head))
    known = PUBLISHED_CLASSES[len(head["weight"])]
    view = published_view(known, size, weights.tensors[KERNEL].shape[0])
    tensors = {f"projection.{name}": tensor for name, tensor in head.items()}
    return Described(known.names, known.loss, None, view, tensors)


def head_tensors(content: Content, weights: Weights) -> dict[str, Tensor]:
    """Tensors of the head under their names in it, float32: of a task, or within the network of others."""
    plain = weights.tensors | {WRAPPERS.sub("", name): tensor for name, tensor in content.tensors.items()}
    return {n.removeprefix(HEAD): t.float() for n, t in plain.items() if n.startswith(HEAD)}


def recorded_view(beside: Mapping[str, Any], image_size: int) -> FilmView:
    """The view that a file's `preprocessing` tells; where it tells nothing, whole films at `image_size`."""
    told = beside.get("preprocessing") or {}
    return FilmView(**{"image_size": image_size} | {f.name: told[f.name] for f in fields(FilmView) if f.name in told})


def published_view(known: PublishedClasses, image_size: int, width: int) -> FilmView:
    """What EVA-X's fine-tuning tests on: short side to 256, middle 224, except where it uses the short side itself."""
    is_whole = known.loss == "exclusive" or (known.benchmark == "CheXpert" and width == TINY)
    return FilmView(image_size, None if is_whole else math.ceil(image_size * 256 / 224))


def _is_published(head: Mapping[str, Tensor], weights: Weights) -> bool:
    is_eva_x = weights.layout.startswith("EVA-02")
    return is_eva_x and head.keys() == {"weight", "bias"} and len(head["weight"]) in PUBLISHED_CLASSES


def _refusal(content: Content, head: Mapping[str, Tensor]) -> str:
    count = len(head["weight"]) if head.keys() == {"weight", "bias"} else 0
    what = f"has {count} outputs, which are no findings" if count else "was not trained for classification"
    return (
        f"{content.file}: {what}; fine-tune it first: "
        f"python train.py experiment=finetune_cxr14_vit_s weights={content.file} (its backbone and data are yours)"
    )
