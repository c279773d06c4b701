"""What a weight file tells about its segmenter: the classes, how its head is built, and the head's tensors."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from torch import Tensor

from evax.checkpoints.classifiers import DEFAULT_SIZE, head_tensors, recorded_view
from evax.checkpoints.errors import WeightsError
from evax.checkpoints.inspection import image_size_of
from evax.checkpoints.weight_files import Content, Weights
from evax.data.film_view import FilmView

FIELD = "segmentation"  # of a checkpoint


class SegmenterFacts(NamedTuple):
    """How a segmenter is built on its backbone: arguments of `evax.tasks.Segmenter` that decide its tensors."""

    classes: tuple[str, ...]
    decoder: str
    taps: Literal["last", "four"]
    channels: int
    norm_features: bool

    def to_plain(self) -> dict[str, Any]:
        """What a checkpoint says of it."""
        return {FIELD: self._asdict() | {"classes": list(self.classes)}}


class DescribedSegmenter(NamedTuple):
    """A segmenter without its backbone; `head` holds float32 tensors of `Segmenter.head`."""

    facts: SegmenterFacts
    view: FilmView
    head: dict[str, Tensor]

    def __str__(self) -> str:
        return f"segmentation head ({len(self.classes)} class{'es' if len(self.classes) > 1 else ''})"

    @property
    def classes(self) -> tuple[str, ...]:
        """What a mask shows, from 1."""
        return self.facts.classes

    def to_json(self) -> dict[str, Any]:
        """What an export's `.json` says of it, beside `preprocessing`."""
        return self.facts.to_plain()


def is_segmenter(content: Content) -> bool:
    """Whether a file knows classes of pixels."""
    return isinstance(content.beside.get(FIELD), Mapping)


def describe_segmenter(content: Content, weights: Weights) -> DescribedSegmenter:
    """The segmenter in a file; WeightsError for a file without one."""
    if not is_segmenter(content):
        raise WeightsError(
            f"{content.file}: was not trained for segmentation; fine-tune it first: "
            f"python train.py experiment=segment_lung_vit_s weights={content.file} (its backbone and data are yours)"
        )
    told: dict[str, Any] = dict(content.beside[FIELD])
    facts = SegmenterFacts(**told | {"classes": tuple(told["classes"])})
    size = image_size_of(weights.tensors) or DEFAULT_SIZE
    return DescribedSegmenter(facts, recorded_view(content.beside, size), head_tensors(content, weights))
