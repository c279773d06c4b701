"""Small backbones, data and trainers for tests that need a whole task."""

from pathlib import Path
from typing import Any

import timm
import torch
from lightning.pytorch import Trainer

from evax.backbones import EvaX
from evax.data.module import PackDataModule
from evax.masking import UniformMasking
from evax.optim import AdamWCosine
from evax.tasks import MaskedImageModeling
from evax.tokenizers import HogTokenizer, Tokenizer

SIZE = 64  # pixels: a 4 x 4 grid
SUB_LN = {"scale_mlp": True, "qkv_fused": False}  # as EVA-X-B


def tiny_backbone(**settings: Any) -> EvaX:
    """EVA-X with two narrow blocks for films of 64 pixels."""
    sizes = {"img_size": SIZE, "embed_dim": 32, "depth": 2, "num_heads": 2, "mask_token": True}
    return timm.create_model("eva_x_tiny_patch16_224", **(sizes | settings))


def tiny_data(pack: Path, **settings: Any) -> PackDataModule:
    """Films of 64 pixels in batches of 8, five of the sixteen patches hidden."""
    chosen = {"image_size": SIZE, "batch_size": 8, "seed": 7, "masking": UniformMasking(0.3), "num_workers": 0}
    return PackDataModule(pack=pack, **(chosen | settings))


def batch_of(data: PackDataModule, count: int = 8) -> dict[str, torch.Tensor]:
    """The first whole training films as one batch, with the masks of epoch 0."""
    samples = [data.dataset(data.train_rows)[0, position] for position in range(count)]
    return {name: torch.stack([torch.as_tensor(sample[name]) for sample in samples]) for name in samples[0]}


def tiny_task(
    *, backbone: EvaX | None = None, tokenizer: Tokenizer | None = None, **settings: Any
) -> MaskedImageModeling:
    """A tiny student of HOG tokens."""
    optim = AdamWCosine(lr=1e-3, final_lr=1e-5, warmup_epochs=0.5)
    parts = {"backbone": backbone or tiny_backbone(), "tokenizer": tokenizer or HogTokenizer()}
    return MaskedImageModeling(**parts, **({"optim": optim, "seed": 7} | settings))


def tiny_trainer(folder: Path, **settings: Any) -> Trainer:
    """A quiet trainer of one epoch on one CPU that writes nothing by itself."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "num_sanity_val_steps": 0, "use_distributed_sampler": False}
    quiet |= {"log_every_n_steps": 1, "max_epochs": 1}
    return Trainer(accelerator="cpu", devices=1, default_root_dir=folder, **(quiet | settings))
