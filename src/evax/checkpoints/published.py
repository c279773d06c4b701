"""Published weights: what they are, where they lie, and under which licence; the only place with addresses."""

from typing import Any, NamedTuple

from evax.data.normalisation import CLIP, CXR14, HALF, IMAGENET, MERGED520K, Normalisation

HUB = "https://huggingface.co"


class Published(NamedTuple):
    """Weights that others published.

    `backbone` is a name for `evax.create_backbone`, `width` wide, at `image_size` pixels; `layout` one of
    `layouts.LAYOUTS`.
    `page` is where people read about the file. Without `url` they fetch it there themselves: `manual` says where.
    `sha256` may be a prefix, as torch writes it into file names; None where nobody states it.
    """

    name: str
    what: str
    backbone: str
    width: int
    layout: str
    normalisation: Normalisation
    file: str
    licence: str
    page: str
    url: str | None = None
    manual: str = ""
    sha256: str | None = None
    image_size: int = 224


def _on_hub(repository: str, path: str, file: str | None = None) -> dict[str, Any]:
    page = f"{HUB}/{repository}"
    return {"file": file or path.rpartition("/")[2], "page": page, "url": f"{page}/resolve/main/{path}"}


def _eva_x(name: str, size: str, width: int, layout: str) -> Published:
    return Published(
        name=name,
        what=f"EVA-X-{size}/16, masked image modelling on Merged520k",
        backbone=name,
        width=width,
        layout=layout,
        normalisation=MERGED520K,
        licence="MIT",
        **_on_hub("MapleF/eva_x", f"{name}_patch16_merged520k_mim.pt"),
    )


def _eva_clip(name: str, what: str, width: int, backbone: str, file: str, image_size: int = 224) -> Published:
    return Published(
        name=name,
        what=f"{what}, image tower",
        backbone=backbone,
        width=width,
        layout="EVA-CLIP fused" if name == "eva_clip_g" else "EVA-CLIP split, sub-LN",
        normalisation=CLIP,
        licence="MIT",
        image_size=image_size,
        **_on_hub("QuanSun/EVA-CLIP", file),
    )


def _medical_mae(name: str, what: str, width: int, backbone: str, file: str) -> Published:
    page = "https://github.com/lambert-x/medical_mae"
    return Published(
        name=name,
        what=what,
        backbone=backbone,
        width=width,
        layout="MAE",
        normalisation=CXR14,
        file=file,
        licence="Apache-2.0",
        page=page,
        manual="the Google Drive link in its README",
    )


PUBLISHED = (
    _eva_x("eva_x_tiny", "Ti", 192, "EVA-02 packed"),
    _eva_x("eva_x_small", "S", 384, "EVA-02 packed"),
    _eva_x("eva_x_base", "B", 768, "EVA-02 split, sub-LN"),
    Published(
        name="mgca_vit_b",
        what="MGCA ViT-B/16, image-report alignment on MIMIC-CXR",
        backbone="vit_base_patch16_224",
        width=768,
        layout="MGCA ViT",
        normalisation=HALF,
        file="vit_base.ckpt",
        licence="not stated by its repository",
        page="https://github.com/HKU-MedAI/MGCA",
        manual="the Google Drive folder in its README",
    ),
    _eva_clip(
        "eva_clip_b",
        "EVA02-CLIP-B/16",
        768,
        "eva02_base_patch16_clip_224",
        "EVA02_CLIP_B_psz16_s8B.pt",
    ),
    _eva_clip(
        "eva_clip_l",
        "EVA02-CLIP-L/14",
        1024,
        "eva02_large_patch14_clip_224",
        "EVA02_CLIP_L_psz14_s4B.pt",
    ),
    _eva_clip(
        "eva_clip_l_336",
        "EVA02-CLIP-L/14 at 336 pixels",
        1024,
        "eva02_large_patch14_clip_336",
        "EVA02_CLIP_L_336_psz14_s6B.pt",
        image_size=336,
    ),
    _eva_clip(
        "eva_clip_g",
        "EVA01-CLIP-g/14",
        1408,
        "eva_giant_patch14_clip_224",
        "EVA01_CLIP_g_14_psz14_s11B.pt",
    ),
    Published(
        name="biomedclip",
        what="BiomedCLIP ViT-B/16, image tower",
        backbone="vit_base_patch16_224",
        width=768,
        layout="OpenCLIP trunk",
        normalisation=CLIP,
        licence="MIT",
        **_on_hub(
            "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
            "open_clip_pytorch_model.bin",
            file="biomedclip.bin",  # its own name is that of every OpenCLIP file
        ),
    ),
    _medical_mae(
        "medical_mae_s",
        "Medical MAE ViT-S/16, CheXpert and ChestX-ray14",
        384,
        "vit_small_patch16_224",
        "vit-s_CXR_0.3M_mae.pth",
    ),
    _medical_mae(
        "medical_mae_b",
        "Medical MAE ViT-B/16, CheXpert, ChestX-ray14 and MIMIC-CXR",
        768,
        "vit_base_patch16_224",
        "vit-b_CXR_0.5M_mae.pth",
    ),
    Published(
        name="deit_s",
        what="DeiT-S/16, ImageNet-1k with labels",
        backbone="deit_small_patch16_224",
        width=384,
        layout="timm ViT",
        normalisation=IMAGENET,
        file="deit_small_patch16_224-cd65a155.pth",
        licence="Apache-2.0",
        page="https://github.com/facebookresearch/deit",
        url="https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth",
        sha256="cd65a155",
    ),
    Published(
        name="eva02_s",
        what="EVA-02-S/14, masked image modelling on ImageNet-21k",
        backbone="eva02_small_patch14_224",
        width=384,
        layout="EVA-02 packed",
        normalisation=CLIP,
        licence="MIT",
        **_on_hub("Yuxin-CV/EVA-02", "eva02/pt/eva02_S_pt_in21k_p14.pt"),
    ),
)
