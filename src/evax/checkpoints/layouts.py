"""Declared layouts of weight files: how each names its tensors, and evax's (timm's) names for them."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

CONTAINERS = (
    "model_ema",
    "model",
    "module",
    "state_dict",
    "teacher",
)  # tried in this order, then the file itself
WRAPPERS = re.compile(r"_orig_mod\.|^module\.")  # what torch.compile and DistributedDataParallel put into names
# May be absent from a file, and may be in a file without being in the model; nothing else may.
OPTIONAL = re.compile(r"mask_token$|head\.")


class Layout(NamedTuple):
    """One way of naming tensors.

    A file has the layout if some name starts with `signature`. Names outside `prefix` and those that start
    with `drop` are left out; of the rest, the first rule of `rename` whose pattern is found is applied.
    """

    name: str
    signature: str
    prefix: str = ""
    drop: str = r"(?!)"  # matches nothing
    rename: tuple[tuple[str, str], ...] = ()


# Rotary tables are functions of the grid and are computed; `norm` of a model that averages is its `fc_norm`.
FIXED_TABLES_AND_MIM_HEAD = r"(.*\.)?rope\.|lm_head\."
FINAL_NORM = (r"^norm\.", "fc_norm.")

LAYOUTS = (
    Layout("evax task", signature=r"backbone\.", prefix="backbone."),
    Layout(
        "EVA-02 packed",
        signature=r"blocks\.0\.mlp\.w12\.",
        drop=FIXED_TABLES_AND_MIM_HEAD,
        rename=((r"\.mlp\.w12\.", ".mlp.fc1."), (r"\.mlp\.w3\.", ".mlp.fc2."), FINAL_NORM),
    ),
    Layout(
        "EVA-02 split, sub-LN",
        signature=r"blocks\.0\.mlp\.w1\.",
        drop=FIXED_TABLES_AND_MIM_HEAD,
        rename=(
            (r"\.attn\.([qv])_bias$", r".attn.\1_proj.bias"),
            (r"\.mlp\.w1\.", ".mlp.fc1_g."),
            (r"\.mlp\.w2\.", ".mlp.fc1_x."),
            (r"\.mlp\.w3\.", ".mlp.fc2."),
            (r"\.mlp\.ffn_ln\.", ".mlp.norm."),
            FINAL_NORM,
        ),
    ),
    Layout(
        "timm Eva",
        signature=r"blocks\.0\.attn\.(q_bias|q_proj\.)",
        drop=FIXED_TABLES_AND_MIM_HEAD,
        rename=(FINAL_NORM,),
    ),
)
AS_NAMED = Layout("as named by the model", signature="")


class Translation(NamedTuple):
    """Tensors under evax's names, the file's names that were left out, and the layout that was found."""

    tensors: dict[str, Tensor]
    dropped: tuple[str, ...]
    layout: str


def detect(names: Iterable[str]) -> Layout:
    """The first layout whose signature is among the names; without one, names are taken as they are."""
    names = list(names)
    return next((known for known in LAYOUTS if any(re.match(known.signature, n) for n in names)), AS_NAMED)


def translate(tensors: Mapping[str, Tensor]) -> Translation:
    """Rename a file's tensors to evax's names."""
    plain = {WRAPPERS.sub("", name): tensor for name, tensor in tensors.items()}
    layout = detect(plain)
    kept: dict[str, Tensor] = {}
    dropped = []
    for name, tensor in plain.items():
        ours = _rename(name.removeprefix(layout.prefix), layout)
        is_taken = ours != name and ours in plain  # `fc_norm` of a fine-tuned file stands before its `norm`
        if not name.startswith(layout.prefix) or re.match(layout.drop, name) or is_taken:
            dropped.append(name)
        else:
            kept[ours] = tensor
    return Translation(kept, tuple(dropped), layout.name)


def _rename(name: str, layout: Layout) -> str:
    for pattern, replacement in layout.rename:
        if re.search(pattern, name):
            return re.sub(pattern, replacement, name)
    return name
