"""A trained classifier as one module that takes films."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from evax.backbones.precision import full_precision
from evax.backbones.preprocessing import normalisation_of
from evax.data.film_view import FilmView, check_grey
from evax.data.pixels import normalise, to_unit


class Reading(NamedTuple):
    """What a classifier makes of images: a logit per class, and the features that its head read."""

    logits: Float[Tensor, "B C"]
    embeddings: Float[Tensor, "B D"]


class FilmClassifier(nn.Module):
    """Backbone and head of a trained classifier, in evaluation mode, and what a film must become for them.

    `classes` name the logits. `view` turns a film of any shape into the square that the backbone was trained on, and
    `preprocess` that into an image for `forward`. Features are the backbone's pooled output; of an attentive head,
    which reads patch tokens, their mean. All is computed in the precision of the weights, whatever the caller's
    autocast.
    """

    def __init__(
        self, backbone: nn.Module, head: nn.Module, classes: tuple[str, ...], view: FilmView, *, is_exclusive: bool
    ) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.head: Any = head
        self.classes, self.view, self.is_exclusive = classes, view, is_exclusive
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        found: torch.device = next(self.parameters()).device
        return found

    def preprocess(self, film: UInt8[np.ndarray, "H W"]) -> Float[Tensor, "3 S S"]:
        """A grey film, 0 black to 255 white, as one image for `forward`; `evax.read_grey` reads one from a file."""
        check_grey(film)
        return self.images(torch.from_numpy(self.view(film))[None, None])[0]

    def images(self, squares: UInt8[Tensor, "B 1 S S"]) -> Float[Tensor, "B 3 S S"]:
        """What `view` made, normalised as the backbone's weights ask."""
        return normalise(to_unit(squares), *normalisation_of(self.backbone))

    @full_precision()
    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B C"]:
        """Logits of preprocessed images."""
        return self.head(self._features(images))

    @full_precision()
    def read(self, images: Float[Tensor, "B 3 S S"]) -> Reading:
        """Logits and features of preprocessed images, from one pass."""
        features = self._features(images)
        return Reading(self.head(features), features.mean(1) if self.head.reads_tokens else features)

    @torch.inference_mode()
    def probabilities(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B C"]:
        """Probabilities in [0, 1] of preprocessed images: one a class, or of exclusive classes, adding up to 1."""
        return self.odds(self(images))

    def odds(self, logits: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
        """The probabilities that logits stand for."""
        return logits.softmax(1) if self.is_exclusive else logits.sigmoid()

    def _features(self, images: Tensor) -> Tensor:
        return self.backbone.forward_tokens(images) if self.head.reads_tokens else self.backbone(images)
