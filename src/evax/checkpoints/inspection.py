"""What a weight file is, in words: container, layout, shape, and which backbones it fits."""

from collections import Counter
from collections.abc import Callable, Mapping
from math import isqrt
from typing import Any, NamedTuple

from torch import Tensor, nn

from evax.checkpoints.errors import WeightsError, quote
from evax.checkpoints.layouts import OPTIONAL
from evax.checkpoints.published import PUBLISHED, Published
from evax.checkpoints.weight_files import FLAT, Content, Weights
from evax.checkpoints.weights import HEAD, KERNEL, TABLE, LoadReport, fit_weights, left_out
from evax.data.normalisation import MERGED520K, Normalisation

Build = Callable[[str, int], nn.Module]  # backbone name and image size in pixels; a model on any device


class Fit(NamedTuple):
    """A published backbone that takes a file, and what would be loaded."""

    entry: Published
    report: LoadReport


def image_size_of(tensors: Mapping[str, Tensor]) -> int | None:
    """Side in pixels of the square images of a position table (with or without CLS); None where it does not tell."""
    if TABLE not in tensors or KERNEL not in tensors:
        return None
    num_slots, patch_size = tensors[TABLE].shape[1], tensors[KERNEL].shape[-1]
    sides = (isqrt(num_slots - prefix) for prefix in (1, 0) if isqrt(num_slots - prefix) ** 2 == num_slots - prefix)
    return next((side * patch_size for side in sides), None)


def find_fits(weights: Weights, build: Build) -> list[Fit]:
    """Published backbones that take the file, those without resampling and of its image size first.

    One entry for each backbone, if possible one of the file's layout; a CNN's must be of its layout.
    """
    size = image_size_of(weights.tensors) or 0
    width = weights.tensors[KERNEL].shape[0] if KERNEL in weights.tensors else None
    entries: dict[str, Published] = {}
    for entry in sorted(PUBLISHED, key=lambda entry: entry.layout != weights.layout):
        if entry.width == width or (width is None and entry.layout == weights.layout):
            entries.setdefault(entry.backbone, entry)
    fits = []
    for entry in entries.values():
        try:
            fits.append(Fit(entry, fit_weights(build(entry.backbone, entry.image_size), weights)[1]))
        except WeightsError:
            continue
    return sorted(fits, key=lambda fit: (len(fit.report.resized), abs(fit.entry.image_size - size)))


def describe(content: Content, weights: Weights) -> dict[str, str]:
    """Facts of a file, from label to text."""
    tensors = {name: tensor for name, tensor in weights.tensors.items() if not OPTIONAL.match(name)}
    numbers = sum(tensor.numel() for tensor in tensors.values())
    facts = {
        "file": f"{content.file.name}, {content.file.stat().st_size / 1e6:,.1f} MB",
        "container": _container(content),
        "layout": weights.layout,
        "tensors": f"{len(content.tensors)}, of them {len(tensors)} of an image encoder: "
        f"{numbers:,} parameters in {_dtypes(content.tensors)}",
        "images": _images(weights.normalisation),
    }
    heads = [name for name in weights.dropped if name.startswith(HEAD)]
    if beside := [name for name in weights.tensors if name not in tensors] + heads:
        facts["with it"] = quote(beside)
    if rest := left_out([name for name in weights.dropped if name not in heads]):
        facts["left out"] = "; ".join(rest)
    if KERNEL in tensors:
        facts["shape"] = _shape(tensors)
    return facts


def known_as(weights: Weights, fits: list[Fit]) -> list[Published]:
    """Published files of the same layout, backbone and image size."""
    backbones = {fit.entry.backbone for fit in fits if not fit.report.resized}
    return [entry for entry in PUBLISHED if entry.layout == weights.layout and entry.backbone in backbones]


def describe_known(weights: Weights, fits: list[Fit]) -> dict[str, str]:
    """Which published files it could be, and a normalisation where the file itself does not tell."""
    entries = known_as(weights, fits)
    facts = {"could be": "; ".join(f"{entry.name} ({entry.what})" for entry in entries)} if entries else {}
    # Every EVA-X backbone normalises alike, whoever trained it.
    likely = entries or [fit.entry for fit in fits[:1] if fit.entry.normalisation == MERGED520K]
    if weights.normalisation is None and len({entry.normalisation for entry in likely}) == 1:
        facts["images"] = f"{_images(likely[0].normalisation)}, if it is {likely[0].name}"
    return facts


def _container(content: Content) -> str:
    if content.file.suffix == ".safetensors":
        kind = "safetensors"
    else:
        kind = "tensors at the top level" if content.container == FLAT else content.container
    values = [_value(name, value) for name, value in content.beside.items()]
    return f"{kind}; beside it {', '.join(values)}" if values else kind


def _value(name: str, value: Any) -> str:
    return f"{name} {value}" if isinstance(value, int | float) else name


def _dtypes(tensors: Mapping[str, Tensor]) -> str:
    counts = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())
    return ", ".join(name for name, _ in counts.most_common())


def _images(normalisation: Normalisation | None) -> str:
    if normalisation is None:
        return "neither names nor a .json tell how they were normalised; see docs/weights.md"
    mean, std = (" ".join(map(str, values)) for values in normalisation)
    return f"mean {mean}, std {std}"


def _shape(tensors: Mapping[str, Tensor]) -> str:
    width, channels, _, patch_size = tensors[KERNEL].shape
    depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    size = image_size_of(tensors)
    images = f"{size} × {size} pixels" if size else "no square size"
    return f"{width} wide, {depth} blocks, patches of {patch_size} pixels, images of {images} in {channels} channels"
