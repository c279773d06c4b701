"""What `evaluate.py` reads of a weight file."""

import pytest
from composing import composed

from evax.backbones import create_backbone
from evax.checkpoints.errors import WeightsError
from evax.checkpoints.weights import export_weights
from evax.runs.subject import file_subject


def test_films_that_patches_do_not_cover_are_refused_with_the_nearest_sizes(tmp_path):
    file = tmp_path / "mine.safetensors"
    export_weights(create_backbone("eva_x_tiny", image_size=32), file, {"architecture": {"name": "eva_x_tiny"}})
    with pytest.raises(WeightsError, match="image_size=100 is not a multiple of the patch size 16; use 96 or 112"):
        file_subject(composed(f"weights={file}", "image_size=100", root="evaluate"))
