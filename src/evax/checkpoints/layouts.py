"""Declared layouts of weight files: how each names its tensors, and timm's names for them."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from evax.data.normalisation import CLIP, HALF, IMAGENET, UNIT, Normalisation

CONTAINERS = (
    "model_ema",
    "model",
    "module",
    "state_dict",
    "teacher",
)  # tried in this order, then the file itself
WRAPPERS = re.compile(
    r"^(?:module\.|_orig_mod\.)+|_orig_mod\."
)  # what DistributedDataParallel and torch.compile put into names
# May be absent from a file, and may be in a file without being in the model; nothing else may.
OPTIONAL = re.compile(r"mask_token$|(?:head|heads|head_dist|classifier|fc)\.")
# Of losses, scores, optimisers and averages beside a network, by the first part of their names: never its weights.
BESIDE = re.compile(
    r"(?i)(?:\w*(?:loss|criteri|metric|optimi[sz]er|scheduler|auroc|accuracy)\w*"
    r"|(?:\w+_)?(?:auc|acc|f1|dice|iou|pos_weight|class_weights?|n_averaged)|ema)(?:\.|$)|.*\.pos_weight$"
)
# Functions of the patch grid that files hold as buffers
COMPUTED = re.compile(r"(?:.*\.)?rope\.(?!freqs$)")


class Layout(NamedTuple):
    """One way of naming tensors.

    A file has the layout if some name starts with `signature`. Names outside `prefix` are left out, and those that
    start with `drop` behind it; of the rest, the first rule of `rename` whose pattern is found is applied.
    `normalisation` is that of all published files in the layout, None where they differ or names do not tell. Names
    of the model that start with `absent` may be missing from a file: what its authors cut off.
    """

    name: str
    signature: str
    prefix: str = ""
    drop: str = r"(?!)"  # matches nothing
    rename: tuple[tuple[str, str], ...] = ()
    normalisation: Normalisation | None = None
    absent: str = r"(?!)"


# Rotary tables are functions of the grid and are computed; timm's mixed `rope.freqs` are weights.
ROTARY_TABLES_AND_MIM_HEAD = rf"{COMPUTED.pattern}|lm_head\."
PACKED = ((r"\.mlp\.w12\.", ".mlp.fc1."), (r"\.mlp\.w3\.", ".mlp.fc2."))
SPLIT = (
    (r"\.attn\.([qv])_bias$", r".attn.\1_proj.bias"),
    (r"\.attn\.inner_attn_ln\.", ".attn.norm."),
    (r"\.mlp\.w1\.", ".mlp.fc1_g."),
    (r"\.mlp\.w2\.", ".mlp.fc1_x."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
    (r"\.mlp\.ffn_ln\.", ".mlp.norm."),
)
CLASSIFIER = r"(fc|classifier)\."  # of torchvision's CNNs, whose old files have not counted batches
COUNTS = r".*\.num_batches_tracked$"

LAYOUTS = (
    Layout("evax task", signature=r"backbone\.", prefix="backbone."),
    Layout(
        "MGCA ViT",
        signature=r"img_encoder_q\.model\.patch_embed\.",
        prefix="img_encoder_q.model.",
        normalisation=HALF,
    ),
    Layout(
        "MGCA ResNet",
        signature=r"img_encoder_q\.model\.conv1\.",
        prefix="img_encoder_q.model.",
        drop=CLASSIFIER,
        normalisation=HALF,
    ),
    Layout(
        "BioViL",  # BioViL-T's too, of which only the trunk is taken
        signature=r"encoder\.encoder\.conv1\.",
        prefix="encoder.encoder.",
        drop=CLASSIFIER,
        normalisation=UNIT,
    ),
    Layout(
        "MedKLIP",  # a ResNet-50 cut behind its third stage
        signature=r"res_features\.0\.",
        prefix="res_features.",
        rename=(
            (r"^0\.", "conv1."),
            (r"^1\.", "bn1."),
            (r"^4\.", "layer1."),
            (r"^5\.", "layer2."),
            (r"^6\.", "layer3."),
        ),
        normalisation=IMAGENET,
        absent=r"layer4\.",
    ),
    Layout("MoCo", signature=r"encoder_q\.", prefix="encoder_q.", drop=CLASSIFIER),
    Layout("Medical MAE DenseNet", signature=r"model\.encoder\.features\.", prefix="model.encoder."),
    Layout(
        "SelfMedMAE",  # its fixed positions stand beside the encoder
        signature=r"encoder\.blocks\.",
        drop=r"(?!encoder\.|encoder_pos_embed$)",
        rename=((r"^encoder\.", ""), (r"^encoder_pos_embed$", "pos_embed")),
    ),
    Layout(
        "DINOv2 in chunks",  # XRay-DINO
        signature=r"blocks\.\d+\.\d+\.",
        drop=r"mask_token$",
        rename=((r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),),
    ),
    Layout(
        "OpenCLIP trunk",  # a timm model in OpenCLIP's frame: BiomedCLIP, copies of EVA-CLIP
        signature=r"visual\.trunk\.",
        prefix="visual.",
        drop=r"trunk\.rope\.(?!freqs$)",
        rename=((r"^trunk\.", ""), (r"^head\.proj\.", "head.")),
        normalisation=CLIP,
    ),
    Layout(
        "EVA-CLIP split, sub-LN",
        signature=r"visual\.blocks\.0\.mlp\.w1\.",
        prefix="visual.",
        drop=ROTARY_TABLES_AND_MIM_HEAD,
        rename=SPLIT,
        normalisation=CLIP,
    ),
    Layout(
        "EVA-CLIP fused",
        signature=r"visual\.blocks\.0\.attn\.qkv\.",
        prefix="visual.",
        drop=ROTARY_TABLES_AND_MIM_HEAD,
        normalisation=CLIP,
    ),
    Layout(
        "EVA-02 packed",
        signature=r"blocks\.0\.mlp\.w12\.",
        drop=ROTARY_TABLES_AND_MIM_HEAD,
        rename=PACKED,
    ),
    Layout(
        "EVA-02 split, sub-LN",
        signature=r"blocks\.0\.mlp\.w1\.",
        drop=ROTARY_TABLES_AND_MIM_HEAD,
        rename=SPLIT,
    ),
    Layout("MAE", signature=r"decoder_embed\.", drop=r"decoder_|mask_token$"),  # the mask token is the decoder's
    Layout("timm Eva", signature=r"blocks\.0\.attn\.(q_bias|q_proj\.)", drop=ROTARY_TABLES_AND_MIM_HEAD),
    Layout("timm ViT", signature=r"blocks\.0\.attn\.qkv\."),
    Layout("ResNet", signature=r"layer1\.0\.conv1\.", drop=CLASSIFIER, absent=COUNTS),  # of torchvision and timm
    Layout(
        "DenseNet",  # of torchvision and timm; names with a dot are older
        signature=r"features\.denseblock1\.",
        drop=rf"{CLASSIFIER}|op_threshs$",  # torchxrayvision's thresholds
        rename=((r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),),
        absent=COUNTS,
    ),
)
STEM = r"patch_embed\.|pos_embed$|cls_token$"  # of a ViT, before its blocks
AS_NAMED = Layout("as named by the model", signature="")


class Translation(NamedTuple):
    """Tensors under timm's names, the file's names that were left out, and the layout that was found."""

    tensors: dict[str, Tensor]
    dropped: tuple[str, ...]
    layout: Layout


def detect(names: Iterable[str]) -> Layout:
    """The first layout whose signature is among the names; without one, names are taken as they are."""
    names = list(names)
    return next((known for known in LAYOUTS if any(re.match(known.signature, n) for n in names)), AS_NAMED)


def translate(tensors: Mapping[str, Tensor]) -> Translation:
    """Rename a file's tensors to timm's names.

    What is before the names of a layout, such as the attribute of a LightningModule, is taken off, whatever it is
    called, and all outside it is left out. Raises ValueError where there are several such networks.
    """
    plain = {WRAPPERS.sub("", name): tensor for name, tensor in tensors.items()}
    layout, prefix = _located([name for name in plain if not BESIDE.match(name)])
    if layout is AS_NAMED:
        layout, prefix = _located(plain)
    kept, dropped = _translated(plain, layout, prefix)
    inner = detect(kept)
    if inner.rename and inner is not layout:  # such as EVA-X's own names in somebody's task
        kept, more = _translated(kept, inner, "")
        dropped += more
    return Translation(kept, dropped, layout)


def _located(names: Iterable[str]) -> tuple[Layout, str]:
    """The layout of the names, and what is before each of them."""
    names = list(names)
    layout = detect(names)
    return _detect_within(names) if layout is AS_NAMED else (layout, "")


def _detect_within(names: list[str]) -> tuple[Layout, str]:
    """The first layout whose signature is behind a prefix, and the prefix; ValueError where there are several."""
    for layout in LAYOUTS[1:]:  # any task's `backbone.` is found by what is in it
        matches = (re.match(rf"((?:[^.]+\.)+?){layout.signature}", name) for name in names)
        prefixes = sorted({match[1] for match in matches if match})
        prefixes = [prefix for prefix in prefixes if not _is_stage(prefix, names)]
        if len(prefixes) > 1:
            keys = " or ".join(f"weights_key={prefix.removesuffix('.')}" for prefix in prefixes)
            raise ValueError(f"it holds several networks, {', '.join(prefixes)}; name one by {keys}")
        if prefixes:
            return layout, prefixes[0]
    return AS_NAMED, ""


def _is_stage(prefix: str, names: list[str]) -> bool:
    """Whether the blocks behind a prefix are a stage of a network: its stem is further out, or others are numbered."""
    if any(re.match(STEM, name.removeprefix(prefix)) for name in names if name.startswith(prefix)):
        return False
    parts = prefix.split(".")[:-1]
    outer = [".".join([*parts[:number], ""]) if number else "" for number in range(len(parts))]
    if any(name.startswith(each) and re.match(STEM, name[len(each) :]) for name in names for each in outer):
        return True
    siblings = rf"{re.escape(outer[-1])}(?!{parts[-1]}\.)\d+\.blocks\."
    return parts[-1].isdigit() and any(re.match(siblings, name) for name in names)


def _translated(
    tensors: Mapping[str, Tensor], layout: Layout, before: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Tensors under the names that a layout gives them behind a prefix, and the names that are left out."""
    kept: dict[str, Tensor] = {}
    dropped = []
    prefix = before + layout.prefix
    for name, tensor in tensors.items():
        inner = name.removeprefix(prefix)
        if not name.startswith(prefix) or re.match(layout.drop, inner) or BESIDE.match(inner):
            dropped.append(name)
        else:
            kept[_rename(inner, layout)] = tensor
    return kept, tuple(dropped)


def _rename(name: str, layout: Layout) -> str:
    for pattern, replacement in layout.rename:
        if re.search(pattern, name):
            return re.sub(pattern, replacement, name)
    return name
