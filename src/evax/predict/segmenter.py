"""A trained segmenter as one module that takes films."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor, nn

from evax.backbones.inner_maps import inner_maps
from evax.backbones.precision import full_precision
from evax.backbones.preprocessing import normalisation_of
from evax.data.film_view import Extent, FilmView, check_grey
from evax.data.pixels import normalise, to_unit
from evax.evaluation.segmentation import MIDDLE, decide
from evax.evaluation.segmenting import fit_to, foreground


# Shapes: B films, C channels of logits (1, or K + 1 with the background first), K classes, S side of what is seen
class FilmSegmenter(nn.Module):
    """Backbone and decoder of a trained segmenter, in evaluation mode, and what a film must become for them.

    `classes` name what a mask shows, from 1; a pixel is of its most probable class where that is above the class's
    threshold, 0.5 without `thresholds`. `places` are where the decoder reads the backbone.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        places: tuple[int, ...],
        classes: tuple[str, ...],
        view: FilmView,
        thresholds: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.head: Any = head
        self.places, self.classes, self.view = places, classes, view
        self.has_thresholds, self.thresholds = thresholds is not None, thresholds or (MIDDLE,) * len(classes)
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        found: torch.device = next(self.backbone.parameters()).device
        return found

    @full_precision()
    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B C S S"]:
        """Logits of normalised images, float32, whatever the caller's autocast."""
        logits = self.head(inner_maps(self.backbone, images, self.places)).float()
        return fit_to(logits, (images.shape[-2], images.shape[-1]))

    def logits(self, squares: UInt8[Tensor, "B 1 S S"]) -> Float[Tensor, "B C S S"]:
        """Logits of what `view` made of films, on this module's device."""
        return self(normalise(to_unit(squares.to(self.device)), *normalisation_of(self.backbone)))

    @torch.inference_mode()
    def segment(self, film: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
        """The mask of a grey film, 0 black to 255 white: 0 background, k + 1 the k-th class."""
        check_grey(film)
        logits = self.logits(torch.from_numpy(self.view(film))[None, None])
        return self.mask_of(logits[0], (film.shape[0], film.shape[1]))

    def mask_of(self, logits: Float[Tensor, "C S S"], shape: tuple[int, int]) -> UInt8[np.ndarray, "H W"]:
        """The mask of a film of (H, W) pixels from the logits of its square; what the square left out is background."""
        on_film, is_seen = on_the_film(logits.cpu(), self.view.extent(*shape), shape)
        odds: Float32[np.ndarray, "K H W"] = foreground(on_film[None])[0].numpy()
        return np.where(is_seen, decide(odds, np.array(self.thresholds)), 0).astype(np.uint8)


def on_the_film(
    logits: Float[Tensor, "C S S"], extent: Extent, shape: tuple[int, int]
) -> tuple[Float[Tensor, "C H W"], Bool[np.ndarray, "H W"]]:
    """Logits at every pixel of a film, bilinear, from those of the square that shows `extent` of it.

    Also which pixels the square shows.
    """
    rows = (torch.arange(shape[0]) + 0.5 - extent.top) / extent.height
    columns = (torch.arange(shape[1]) + 0.5 - extent.left) / extent.width
    is_seen = ((rows >= 0) & (rows <= 1))[:, None] & ((columns >= 0) & (columns <= 1))
    grid = torch.stack(torch.broadcast_tensors(columns[None, :], rows[:, None]), dim=-1)[None] * 2 - 1
    found = F.grid_sample(logits[None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found[0], is_seen.numpy()
