"""evax: Vision Transformers for chest X-rays, pre-trained by masked image modelling the EVA-X way.

Names are imported on first use, so that `import evax` costs nothing.
"""

import os
from importlib import import_module
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask the network for news

__version__ = "0.2.0"

_HOME = {
    "create_backbone": "evax.backbones",
    "EvaX": "evax.backbones",
    "Pack": "evax.data.pack",
    "read_grey": "evax.data.reading",
    "load_classifier": "evax.predict.loading",
    "load_segmenter": "evax.predict.loading",
}
__all__ = ["EvaX", "Pack", "__version__", "create_backbone", "load_classifier", "load_segmenter", "read_grey"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'evax' has no attribute '{name}'; it offers {', '.join(sorted(__all__))}")
    return getattr(import_module(_HOME[name]), name)
