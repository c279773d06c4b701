"""From a file or run to a classifier or segmenter in use."""

import logging
from pathlib import Path
from typing import Any

from evax.backbones.inner_maps import places
from evax.backbones.preprocessing import normalise_as
from evax.checkpoints.classifiers import Described, describe_classifier
from evax.checkpoints.errors import WeightsError
from evax.checkpoints.segmenters import describe_segmenter
from evax.checkpoints.thresholds import thresholds_of
from evax.checkpoints.weight_files import Content, Weights, read_content, under_timm_names
from evax.checkpoints.weights import fill
from evax.data.film_view import FilmView
from evax.heads import AttentiveClassifier, LinearClassifier
from evax.predict.classifier import FilmClassifier
from evax.predict.segmenter import FilmSegmenter
from evax.runs.progress import notes_on_progress
from evax.runs.weights import backbone_name, check_covered, create, recorded_architecture
from evax.tasks.segmentation import build_head as build_decoder

log = logging.getLogger(__name__)


def load_classifier(
    path: str | Path, *, key: str | None = None, backbone: str | None = None, image_size: int | None = None
) -> FilmClassifier:
    """The classifier of a fine-tuning run or its checkpoint, of our export, or of a fine-tuned file of EVA-X.

    `key` names the container in the file in place of the usual order, `backbone` the architecture where nothing near
    the file tells it (`evax.create_backbone`). `image_size` (pixels) is in place of the one
    that it was trained at. Raises WeightsError for a file without classes, such as of pre-training.
    """
    return classifier_in(read_content(path, key=key), backbone=backbone, image_size=image_size)


def classifier_in(content: Content, *, backbone: str | None = None, image_size: int | None = None) -> FilmClassifier:
    """`load_classifier` of a file that has been read."""
    warn_of_progress(content)
    weights = under_timm_names(content)
    described = describe_classifier(content, weights)
    view = view_at(described.view, image_size)
    model = load_backbone(content, weights, backbone, view.image_size, str(described))
    check_covered(model, image_size)
    head = build_head(described, model.num_features)
    return FilmClassifier(model, head, described.classes, view, is_exclusive=described.loss == "exclusive")


def load_segmenter(
    path: str | Path, *, key: str | None = None, backbone: str | None = None, image_size: int | None = None
) -> FilmSegmenter:
    """The segmenter of a segmentation run, its checkpoint or our export; arguments are those of `load_classifier`.

    Its thresholds are those that were chosen when the run was scored (`evax.checkpoints.thresholds`). Raises
    WeightsError for a file without classes of pixels.
    """
    return segmenter_in(read_content(path, key=key), backbone=backbone, image_size=image_size)


def segmenter_in(content: Content, *, backbone: str | None = None, image_size: int | None = None) -> FilmSegmenter:
    """`load_segmenter` of a file that has been read."""
    warn_of_progress(content)
    weights = under_timm_names(content)
    described = describe_segmenter(content, weights)
    view, facts = view_at(described.view, image_size), described.facts
    model = load_backbone(content, weights, backbone, view.image_size, str(described))
    check_covered(model, image_size)
    head = build_decoder(facts, model)
    head.load_state_dict(described.head)
    at = places(model, facts.taps)
    return FilmSegmenter(model, head, at, facts.classes, view, thresholds_of(content, facts.classes))


def warn_of_progress(content: Content) -> None:
    """Say where a training is not complete."""
    for note in notes_on_progress(content.file):
        log.warning("%s: %s", content.file, note)


def view_at(view: FilmView, image_size: int | None) -> FilmView:
    """The view of a file, or the same at a size of the user's."""
    if image_size is None:
        return view
    if image_size < 1:
        raise WeightsError(f"image_size={image_size}: give a whole number of pixels")
    return view.at(image_size)


def load_backbone(content: Content, weights: Weights, name: str | None, image_size: int, head: str) -> Any:
    """The backbone of a file with its weights and normalisation, of which it logs a report.

    `name` is in place of what the file tells; `head` says what is used beside it.
    """
    model: Any = create(
        name or backbone_name(content, weights),
        image_size,
        model_kwargs=recorded_architecture(content).get("model_kwargs"),
    )
    report = fill(model, weights)
    if report.normalisation is not None:
        normalise_as(model, report.normalisation)
    log.info("%s", report.with_head(head))
    return model


def build_head(described: Described, width: int) -> LinearClassifier | AttentiveClassifier:
    """The head with its weights."""
    count = len(described.classes)
    head: LinearClassifier | AttentiveClassifier = (
        LinearClassifier(width, count)
        if described.num_heads is None
        else AttentiveClassifier(width, count, num_heads=described.num_heads)
    )
    head.load_state_dict(described.head)
    return head
