"""Published weights: what they are, where they lie, and under which licence; the only place with addresses."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from evax.checkpoints.errors import WeightsError
from evax.checkpoints.names import BEST, CHECKPOINTS
from evax.data.normalisation import (
    CLIP,
    CXR14,
    HALF,
    IMAGENET,
    MERGED520K,
    RAD_DINO,
    SELFMEDMAE,
    TORCHXRAYVISION,
    UNIT,
    Normalisation,
)

HUB = "https://huggingface.co"
RUN_PARTS = (BEST, CHECKPOINTS)  # one of them tells a run directory


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


def _medical_mae(
    name: str,
    what: str,
    width: int,
    backbone: str,
    file: str,
    layout: str = "MAE",
    normalisation: Normalisation = CXR14,
) -> Published:
    """Files of the table in Medical MAE's README, which links all that its paper compares."""
    return Published(
        name=name,
        what=what,
        backbone=backbone,
        width=width,
        layout=layout,
        normalisation=normalisation,
        file=file,
        licence="Apache-2.0",
        page="https://github.com/lambert-x/medical_mae",
        manual="the Google Drive link in its README",
    )


def _torchvision(name: str, what: str, width: int, backbone: str, layout: str, file: str, sha256: str) -> Published:
    return Published(
        name=name,
        what=f"{what}, ImageNet-1k with labels",
        backbone=backbone,
        width=width,
        layout=layout,
        normalisation=IMAGENET,
        file=file,
        licence="BSD-3-Clause",
        page="https://pytorch.org/vision/stable/models.html",
        url=f"https://download.pytorch.org/models/{file}",
        sha256=sha256,
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
    _torchvision(
        "resnet50_imagenet", "ResNet-50", 2048, "resnet50", "ResNet", "resnet50-19c8e357.pth", sha256="19c8e357"
    ),
    _medical_mae(
        "resnet50_mocov2",
        "ResNet-50, MoCo v2 on ImageNet",
        2048,
        "resnet50",
        "resnet50_imagenet_mocov2.pth",
        layout="ResNet",
        normalisation=IMAGENET,
    ),
    Published(
        name="resnet50_mgca",
        what="MGCA ResNet-50, image-report alignment on MIMIC-CXR",
        backbone="resnet50",
        width=2048,
        layout="MGCA ResNet",
        normalisation=HALF,
        file="resnet_50.ckpt",
        licence="not stated by its repository",
        page="https://github.com/HKU-MedAI/MGCA",
        manual="the Google Drive folder in its README",
    ),
    Published(
        name="resnet50_biovil",
        what="BioViL ResNet-50, image-report alignment on MIMIC-CXR",
        backbone="resnet50",
        width=2048,
        layout="BioViL",
        normalisation=UNIT,
        licence="MIT",
        **_on_hub("microsoft/BiomedVLP-CXR-BERT-specialized", "biovil_image_resnet50_proj_size_128.pt"),
    ),
    Published(
        name="resnet50_medklip",
        what="MedKLIP ResNet-50 without its last stage, image-report alignment on MIMIC-CXR",
        backbone="resnet50",
        width=2048,
        layout="MedKLIP",
        normalisation=IMAGENET,
        file="medklip_resnet50.pth",
        licence="not stated by its repository",
        page="https://github.com/MediaBrain-SJTU/MedKLIP",
        manual="the way to its checkpoint (rename it medklip_resnet50.pth)",
    ),
    _torchvision(
        "densenet121_imagenet",
        "DenseNet-121",
        1024,
        "densenet121",
        "DenseNet",
        "densenet121-a639ec97.pth",
        sha256="a639ec97",
    ),
    _medical_mae(
        "densenet121_mocov2",
        "DenseNet-121, MoCo v2 on CheXpert and ChestX-ray14",
        1024,
        "densenet121",
        "densenet121_CXR_0.3M_mocov2.pth.tar",
        layout="DenseNet",
    ),
    _medical_mae(
        "densenet121_medical_mae",
        "Medical MAE DenseNet-121, CheXpert and ChestX-ray14",
        1024,
        "densenet121",
        "densenet121_CXR_0.3M_mae.pth",
        layout="Medical MAE DenseNet",
    ),
    _medical_mae(
        "mae_s",
        "MAE ViT-S/16, ImageNet-1k",
        384,
        "vit_small_patch16_224",
        "mae_vit_s.pth",
        normalisation=IMAGENET,
    )._replace(manual="the Google Drive link in its README (rename it mae_vit_s.pth)"),
    Published(
        name="selfmedmae_b",
        what="SelfMedMAE ViT-B/16, ChestX-ray14",
        backbone="vit_base_patch16_224",
        width=768,
        layout="SelfMedMAE",
        normalisation=SELFMEDMAE,
        file="selfmedmae_vit_b.pth.tar",
        licence="not stated by its repository",
        page="https://github.com/cvlab-stonybrook/SelfMedMAE",
        manual="its pre-training (it links no weights of chest X-rays; call yours selfmedmae_vit_b.pth.tar)",
    ),
    Published(
        name="rad_dino",
        what="RAD-DINO ViT-B/14, DINOv2 on chest X-rays",
        backbone="vit_base_patch14_dinov2",
        width=768,
        layout="timm ViT",
        normalisation=RAD_DINO,
        licence="MIT",
        image_size=518,
        **_on_hub("microsoft/rad-dino", "backbone_compatible.safetensors", file="rad_dino.safetensors"),
    ),
    Published(
        name="xray_dino",
        what="XRay-DINO ViT-L/16, DINOv2 on chest X-rays",
        backbone="vit_large_patch14_dinov2",
        width=1024,
        layout="DINOv2 in chunks",
        normalisation=IMAGENET,
        file="xray_dino_vitl16_pretrained-ad31c2b0.pth",
        licence="FAIR non-commercial",
        page="https://github.com/facebookresearch/dinov2",
        manual="the request form that its README links",
        sha256="ad31c2b0",
        image_size=512,
    ),
    Published(
        name="densenet121_xrv",
        what="torchxrayvision DenseNet-121, seven data sets with labels",
        backbone="densenet121",
        width=1024,
        layout="DenseNet",
        normalisation=TORCHXRAYVISION,
        file="densenet121_xrv.pt",
        licence="Apache-2.0",
        page="https://github.com/mlmed/torchxrayvision",
        manual="its package, which reads its files by running code: import torchxrayvision, torch; "
        "torch.save(torchxrayvision.models.DenseNet(weights='densenet121-res224-all').state_dict(), "
        "'densenet121_xrv.pt')",
    ),
)


def published_file(weights: str | Path, name: str | None) -> Path:
    """What `weights` means where the weights called `name` are meant: their file, if it is the folder of it.

    Raises WeightsError that says where to get them, where there is nothing at all.
    """
    path = Path(weights)
    entry = next((entry for entry in PUBLISHED if entry.name == name), None)
    if entry is None:
        return path
    if (path / entry.file).is_file():
        return path / entry.file
    if not path.exists() or (path.is_dir() and not any((path / part).exists() for part in RUN_PARTS)):
        raise WeightsError(f"weights={path}: there is no {entry.file}; {where_to_get(entry, str(path))}")
    return path


def missing_weights(key: str, path: str | Path) -> WeightsError:
    """Why nothing is read where `path` names neither a file nor a folder; `key` is where the user wrote it."""
    name, message = str(path), f"{key}={path}: no such file or folder"
    if re.match(r"https?:/", name):
        return WeightsError(f"{message}; weights are read from files, so download it and name the file")
    if any(name == entry.name for entry in PUBLISHED):
        return WeightsError(f"{message}; `python -m evax.checkpoints fetch {name}` fetches it, then name the file")
    return WeightsError(message)


def weights_file(weights: str | Path | None, origin: str) -> Path:
    """What `tokenizer.weights` names; WeightsError says which it should be and where it comes from."""
    if weights is None:
        raise WeightsError(f"tokenizer.weights is not given; it should be {origin}")
    if not Path(weights).exists():
        raise WeightsError(f"{missing_weights('tokenizer.weights', weights)}; it should be {origin}")
    return Path(weights)


def where_to_get(entry: Published, folder: str) -> str:
    """How people come by the file of published weights, to lie in `folder`."""
    return (
        f"`python -m evax.checkpoints fetch {entry.name} --to {folder}`"
        if entry.url
        else f"open {entry.page}, follow {entry.manual}, and put {entry.file} into {folder}"
    )
