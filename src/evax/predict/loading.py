"""From a file or run to a classifier in use."""

import logging
from pathlib import Path
from typing import Any

from evax.backbones.preprocessing import normalise_as
from evax.checkpoints.classifiers import Described, describe_classifier
from evax.checkpoints.errors import WeightsError
from evax.checkpoints.weight_files import read_content, under_timm_names
from evax.checkpoints.weights import fill
from evax.heads import AttentiveClassifier, LinearClassifier
from evax.predict.classifier import FilmClassifier
from evax.run_weights import backbone_name, create, recorded_architecture

log = logging.getLogger(__name__)

PATCH = 16  # pixels


def load_classifier(
    path: str | Path, *, key: str | None = None, backbone: str | None = None, image_size: int | None = None
) -> FilmClassifier:
    """The classifier of a fine-tuning run or its checkpoint, of our export, or of a fine-tuned file of EVA-X.

    `key` names the container in the file in place of the usual order, `backbone` the architecture where nothing near
    the file tells it (`evax.create_backbone`). `image_size` (pixels) is in place of the one
    that it was trained at. Raises WeightsError for a file without classes, such as of pre-training.
    """
    content = read_content(path, key=key)
    weights = under_timm_names(content)
    described = describe_classifier(content, weights)
    if image_size is not None:
        if image_size < PATCH or image_size % PATCH:
            raise WeightsError(f"image_size={image_size} is not a multiple of the patch size {PATCH}")
        described = described._replace(view=described.view.at(image_size))
    model: Any = create(
        backbone or backbone_name(content, weights),
        described.view.image_size,
        model_kwargs=recorded_architecture(content).get("model_kwargs"),
    )
    report = fill(model, weights)
    if report.normalisation is not None:
        normalise_as(model, report.normalisation)
    log.info("%s", report)
    head = build_head(described, model.num_features)
    return FilmClassifier(model, head, described.classes, described.view, is_exclusive=described.loss == "exclusive")


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
