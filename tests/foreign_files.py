"""Key sets and shapes of published weight files that are not EVA-X's, written from their documentation."""

import re
from argparse import Namespace
from typing import Any

import torch
import torchvision
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
State = dict[str, Tensor]
HEAD_DIM = 64  # of rotary tables


def filled(shapes: Shapes, dtype: torch.dtype = torch.float32, seed: int = 0) -> State:
    """Random tensors."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}


def weightless(shapes: Shapes, dtype: torch.dtype = torch.float32) -> State:
    """Tensors that have a shape and take no memory, for files of full size."""
    return {name: torch.empty(shape, dtype=dtype, device="meta") for name, shape in shapes.items()}


def under(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}{name}": shape for name, shape in shapes.items()}


def affine(name: str, fan_in: int, fan_out: int) -> Shapes:
    return {f"{name}.weight": (fan_out, fan_in), f"{name}.bias": (fan_out,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def stem(width: int, patch_size: int, num_slots: int) -> Shapes:
    """Tokens, positions, patch kernel and final norm."""
    return {
        "cls_token": (1, 1, width),
        "pos_embed": (1, num_slots, width),
        "patch_embed.proj.weight": (width, 3, patch_size, patch_size),
        "patch_embed.proj.bias": (width,),
        **norm("norm", width),
    }


def vit_blocks(width: int, depth: int) -> Shapes:
    shapes: Shapes = {}
    for number in range(depth):
        block = norm("norm1", width) | norm("norm2", width)
        block |= affine("attn.qkv", width, 3 * width) | affine("attn.proj", width, width)
        block |= affine("mlp.fc1", width, 4 * width) | affine("mlp.fc2", 4 * width, width)
        shapes |= under(f"blocks.{number}.", block)
    return shapes


def vit(width: int, depth: int = 12, num_slots: int = 197) -> Shapes:
    """A plain ViT/16 without classifier: 150 tensors at depth 12."""
    return stem(width, 16, num_slots) | vit_blocks(width, depth)


def mgca(width: int, depth: int = 12) -> Shapes:
    """State dict of MGCA's Lightning checkpoint (cut short outside the image encoder)."""
    local = {"0.weight": (2048, width, 1), "1.running_mean": (2048,), "3.weight": (128, 2048, 1)}
    return {
        **under("img_encoder_q.model.", vit(width, depth)),
        **under("img_encoder_q.local_embed.head.", local),
        **affine("img_encoder_q.global_embed.head.0", width, 2048),
        **affine("text_encoder_q.model.encoder.layer.0.attention.self.query", 768, 768),
        **affine("patch_local_atten_layer.out_proj", 128, 128),
        **affine("word_local_atten_layer.out_proj", 128, 128),
        "prototype_layer.weight": (500, 128),
    }


def lightning_checkpoint(state: State) -> dict[str, Any]:
    """The fields that Lightning writes, with hyper-parameters as argparse left them."""
    arguments = {"img_encoder": "vit_base", "emb_dim": 128, "softmax_temperature": 0.07, "args": Namespace(gpus=2)}
    loops: dict[str, Any] = {"fit_loop": {"state_dict": {}}}
    fields = {"epoch": 49, "global_step": 3, "pytorch-lightning_version": "1.6.4", "loops": loops}
    return fields | {"state_dict": state, "optimizer_states": [], "hyper_parameters": arguments}


def mae(width: int, depth: int = 12, decoder_width: int = 512, decoder_depth: int = 2) -> Shapes:
    """Encoder, decoder and the decoder's mask token of the MAE code family."""
    return {
        **vit(width, depth),
        "mask_token": (1, 1, decoder_width),
        "decoder_pos_embed": (1, 197, decoder_width),
        **affine("decoder_embed", width, decoder_width),
        **under("decoder_", vit_blocks(decoder_width, decoder_depth)),
        **norm("decoder_norm", decoder_width),
        **affine("decoder_pred", decoder_width, 768),
    }


def mae_checkpoint(state: State) -> dict[str, Any]:
    """As the MAE code family saves: with optimizer, scaler and the arguments' Namespace."""
    arguments = Namespace(model="mae_vit_small_patch16", mask_ratio=0.9, output_dir="/home/somebody/out")
    return {"model": state, "optimizer": {"state": {}}, "epoch": 799, "scaler": {"scale": 1.0}, "args": arguments}


def deit(width: int, depth: int = 12) -> Shapes:
    return vit(width, depth) | affine("head", width, 1000)


def biomedclip(width: int, depth: int = 12, projection: int = 512) -> Shapes:
    """An OpenCLIP file around timm's ViT, whose projection has no bias."""
    text = affine("text.transformer.encoder.layer.0.output.dense", 768, 768) | {"logit_scale": ()}
    return under("visual.trunk.", vit(width, depth)) | {"visual.head.proj.weight": (projection, width)} | text


def eva_clip_split(width: int, depth: int, patch_size: int, num_slots: int, projection: int) -> Shapes:
    """EVA02-CLIP (B, L): split projections, inner LayerNorms, rotary tables, text tower."""
    hidden = int(width * 4 * 2 / 3)
    rope = {f"rope.freqs_{part}": (num_slots - 1, HEAD_DIM) for part in ("cos", "sin")}
    block = norm("norm1", width) | norm("norm2", width) | norm("attn.inner_attn_ln", width)
    block |= {"attn.q_bias": (width,), "attn.v_bias": (width,)} | under("attn.", rope)
    block |= {f"attn.{part}_proj.weight": (width, width) for part in "qkv"} | affine("attn.proj", width, width)
    block |= affine("mlp.w1", width, hidden) | affine("mlp.w2", width, hidden)
    block |= affine("mlp.w3", hidden, width) | norm("mlp.ffn_ln", hidden)
    blocks = {f"blocks.{number}.{name}": shape for number in range(depth) for name, shape in block.items()}
    visual = stem(width, patch_size, num_slots) | affine("head", width, projection) | rope | blocks
    return under("visual.", visual) | text_tower()


def eva_clip_fused(width: int, depth: int, hidden: int, projection: int, num_slots: int = 257) -> Shapes:
    """EVA01-CLIP-g/14: fused qkv with q and v bias, GELU MLP, no rotary tables."""
    block = norm("norm1", width) | norm("norm2", width) | {"attn.q_bias": (width,), "attn.v_bias": (width,)}
    block |= {"attn.qkv.weight": (3 * width, width)} | affine("attn.proj", width, width)
    block |= affine("mlp.fc1", width, hidden) | affine("mlp.fc2", hidden, width)
    blocks = {f"blocks.{number}.{name}": shape for number in range(depth) for name, shape in block.items()}
    visual = stem(width, 14, num_slots) | affine("head", width, projection) | blocks
    return under("visual.", visual) | text_tower()


def text_tower() -> Shapes:
    blocks = affine("text.transformer.resblocks.0.attn.out_proj", 512, 512)
    return blocks | {"text.positional_embedding": (77, 512), "logit_scale": ()}


def torchvision_cnn(name: str) -> Shapes:
    """resnet50 or densenet121 as torchvision names it, with classifier."""
    with torch.device("meta"):
        return {key: tuple(tensor.shape) for key, tensor in getattr(torchvision.models, name)().state_dict().items()}


def uncounted(shapes: Shapes) -> Shapes:
    """As files were before BatchNorm counted its batches."""
    return {name: shape for name, shape in shapes.items() if not name.endswith("num_batches_tracked")}


def old_densenet() -> Shapes:
    """densenet121-a639ec97.pth: dots inside the names of dense layers, no counts."""
    shapes = uncounted(torchvision_cnn("densenet121"))
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): shape for name, shape in shapes.items()}


def moco(shapes: Shapes) -> Shapes:
    """MoCo's two encoders with their MLP in place of the classifier, and its queue."""
    last = [name for name in shapes if name.startswith(("fc.", "classifier."))]
    encoder = {name: shape for name, shape in shapes.items() if name not in last}
    stem = last[0].partition(".")[0]
    encoder |= affine(f"{stem}.0", 2048, 2048) | affine(f"{stem}.2", 2048, 128)
    queue = {"module.queue": (128, 65536), "module.queue_ptr": (1,)}
    return under("module.encoder_q.", encoder) | under("module.encoder_k.", encoder) | queue


def mgca_resnet() -> Shapes:
    """State dict of MGCA's resnet_50.ckpt (cut short outside the image encoder)."""
    trunk = {n: shape for n, shape in torchvision_cnn("resnet50").items() if not n.startswith("fc.")}
    return under("img_encoder_q.model.", trunk) | {n: s for n, s in mgca(768).items() if ".model." not in n}


def biovil() -> Shapes:
    """biovil_image_resnet50_proj_size_128.pt: a ResNet-50 with its unused classifier, and a projector."""
    projector = {"projector.model.0.weight": (128, 2048, 1, 1), "projector.model.3.weight": (128, 128, 1, 1)}
    return under("encoder.encoder.", torchvision_cnn("resnet50")) | projector


def medklip() -> Shapes:
    """MedKLIP's numbered trunk without layer4, and a part of what reads it."""
    numbers = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6"}
    trunk = {}
    for name, shape in torchvision_cnn("resnet50").items():
        stage, _, rest = name.partition(".")
        if stage in numbers:
            trunk[f"module.res_features.{numbers[stage]}.{rest}"] = shape
    return trunk | affine("module.res_l1", 1024, 1024) | {"module.disease_book": (75, 256)}


def medical_mae_densenet() -> Shapes:
    """The encoder of a U-Net of segmentation-models, without classifier, and a part of the decoder."""
    trunk = {n: shape for n, shape in torchvision_cnn("densenet121").items() if not n.startswith("classifier.")}
    head = {"model.segmentation_head.0.weight": (3, 16, 3, 3), "model.segmentation_head.0.bias": (3,)}
    return under("model.encoder.", trunk) | {"model.decoder.blocks.0.conv1.0.weight": (256, 2048, 3, 3)} | head


def torchxrayvision_densenet() -> Shapes:
    """Its state dict: one channel, 18 findings, operating thresholds."""
    shapes = torchvision_cnn("densenet121") | {"features.conv0.weight": (64, 1, 7, 7), "op_threshs": (18,)}
    return shapes | affine("classifier", 1024, 18)


def selfmedmae(width: int, depth: int = 12) -> Shapes:
    """Encoder and decoder with their fixed positions beside them."""
    encoder = {name: shape for name, shape in vit(width, depth).items() if name != "pos_embed"}
    positions = {"encoder_pos_embed": (1, 197, width), "decoder_pos_embed": (1, 197, 512)}
    return under("encoder.", encoder) | positions | under("decoder.", vit_blocks(512, 1)) | {"mask_token": (1, 1, 512)}


def dinov2(width: int, depth: int, patch_size: int, num_slots: int, chunks: int = 1) -> Shapes:
    """A DINOv2 ViT with LayerScale; in `chunks` of blocks, whose layers keep their own number."""
    shapes = stem(width, patch_size, num_slots) | {"mask_token": (1, width)}
    for name, shape in vit_blocks(width, depth).items():
        number = int(name.split(".")[1])
        place = f"blocks.{number // (depth // chunks)}.{number}." if chunks > 1 else f"blocks.{number}."
        shapes[name.replace(f"blocks.{number}.", place)] = shape
        if name.endswith("norm1.weight"):
            shapes |= {f"{place}ls1.gamma": (width,), f"{place}ls2.gamma": (width,)}
    return shapes
