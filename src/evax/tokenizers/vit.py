"""Frozen ViTs of timm as tokenizers: MGCA, CLIP image towers and their like (EVA-X paper, section 3.1)."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import timm
from jaxtyping import Float
from torch import Tensor, nn

from evax.checkpoints.published import weights_file
from evax.checkpoints.resize import num_prefix_slots, resize_position_table
from evax.checkpoints.weights import LoadReport, WeightsError, load_weights
from evax.data.normalisation import MERGED520K, Normalisation
from evax.hints import nearest
from evax.tokenizers.learned import LearnedTokenizer, check_choice
from evax.tokenizers.precision import Precision
from evax.tokenizers.resampling import resize_films, resize_tokens

log = logging.getLogger(__name__)

Target = Literal["projected", "normed"]
Norm = Literal["native", "student"]
GridRule = Literal["match_input", "resize_patch", "resize_tokens"]


class VitTokenizer(LearnedTokenizer):
    """Patch tokens of a ViT after its final norm (`target` normed), and after its head too (projected).

    `norm`: the ViT sees films in its own normalisation (native) or in EVA-X's (student). `grid`: how a ViT of
    another patch size gives tokens on the student's grid. It reads smaller or larger films (match_input), or its
    patch kernel is resampled by the pseudo-inverse (resize_patch), or it reads films of its own `image_size` and
    its tokens are resampled (resize_tokens). Where null, `image_size` (pixels) is timm's for the model, and `mean`
    and `std` are the file's if its layout tells, else timm's. `model_kwargs` go to `timm.create_model`.
    """

    positions: Tensor | None  # as in the file; none where a ViT has rotary positions only

    def __init__(
        self,
        model: str,
        *,
        weights: str | Path | None,
        weights_key: str | None = None,
        image_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        target: Target = "normed",
        norm: Norm = "native",
        grid: GridRule = "match_input",
        patch_size: int = 16,
        precision: Precision = "auto",
        model_kwargs: Mapping[str, Any] | None = None,
        origin: str = "a file of this model",
    ) -> None:
        for key, value, choices in (("target", target, Target), ("norm", norm, Norm), ("grid", grid, GridRule)):
            check_choice(key, value, get_args(choices))
        path = weights_file(weights, origin)
        vit = build_vit(model, target, image_size, model_kwargs or {})
        report = load_frozen(vit, path, weights_key, target)
        own = report.normalisation or Normalisation(vit.pretrained_cfg["mean"], vit.pretrained_cfg["std"])
        if norm == "student":
            mean, std = MERGED520K
        super().__init__(vit, mean=mean or own.mean, std=std or own.std, patch_size=patch_size, precision=precision)
        self.target, self.grid_rule = target, grid
        self.dim = vit.num_classes if target == "projected" else vit.num_features
        if grid == "resize_patch":
            vit.patch_embed.set_input_size(
                img_size=tuple(side * patch_size for side in vit.patch_embed.grid_size), patch_size=patch_size
            )
        self.native_grid: tuple[int, int] = tuple(vit.patch_embed.grid_size)
        self.register_buffer("positions", None if vit.pos_embed is None else vit.pos_embed.data, persistent=False)

    def render(self, images: Float[Tensor, "B 3 H W"], grid: tuple[int, int]) -> Float[Tensor, "B 3 H2 W2"]:
        """Films at the size on which the ViT's own patches give its grid."""
        rows, columns = self.vit_grid(grid)
        height, width = self.network.patch_embed.patch_size
        return resize_films(images, (rows * height, columns * width))

    def encode(self, images: Float[Tensor, "B 3 H W"], grid: tuple[int, int]) -> Float[Tensor, "B N T"]:
        """Patch tokens without prefix (CLS, registers), normed, projected if asked for, on the student's grid."""
        vit, vit_grid = self.network, self.vit_grid(grid)
        self.set_positions(vit_grid)
        tokens = vit.forward_features(images)[:, vit.num_prefix_tokens :]
        if self.target == "projected":
            tokens = vit.head(tokens)
        return resize_tokens(tokens.to(images.dtype), vit_grid, grid)

    def vit_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns that the ViT computes where the student has `grid`."""
        return self.native_grid if self.grid_rule == "resize_tokens" else grid

    def set_positions(self, grid: tuple[int, int]) -> None:
        """Resample the learned positions from the file's grid, by the rule of the student's; timm's own differs."""
        patch_embed = self.network.patch_embed
        if self.positions is None or tuple(patch_embed.grid_size) == grid:
            return
        table = resize_position_table(self.positions, self.native_grid, grid, num_prefix_slots(self.network))
        self.network.pos_embed.data = table.to(self.network.pos_embed.dtype)
        patch_embed.grid_size = grid


def build_vit(name: str, target: Target, image_size: int | None, model_kwargs: Mapping[str, Any]) -> Any:
    """A ViT of timm for films of any size, with its head where it is the target; ValueError names the key to mend."""
    if not timm.is_model(name):
        raise ValueError(f"tokenizer.model={name} is no model of timm; {nearest(name, timm.list_models())}")
    settings = {"dynamic_img_size": True, **model_kwargs}
    settings |= {"img_size": image_size} if image_size else {}
    settings |= {"num_classes": 0} if target == "normed" else {}
    try:
        vit: Any = timm.create_model(name, **settings)
    except TypeError as error:
        raise ValueError(f"tokenizer.model={name} is no ViT that reads films of any size: {error}") from error
    if not hasattr(vit, "num_prefix_tokens") or not hasattr(vit, "norm"):
        raise ValueError(f"tokenizer.model={name} has no patch tokens; choose a ViT")
    if target == "projected" and isinstance(vit.head, nn.Identity):
        raise ValueError(f"tokenizer.model={name} has no projection; choose tokenizer.target=normed")
    if isinstance(vit.norm, nn.Identity):
        raise ValueError(
            f"tokenizer.model={name} norms the mean of its tokens, not the tokens; "
            "set +tokenizer.model_kwargs.global_pool=token"
        )
    return vit


def load_frozen(vit: Any, path: Path, weights_key: str | None, target: Target) -> LoadReport:
    """Load a file of the ViT's patch size, with the projection where it is the target."""
    report = load_weights(vit, path, key=weights_key)
    log.info("tokenizer: %s", report)
    if "patch_embed.proj.weight" in report.resized:
        raise WeightsError(
            f"{report.file} has patches of another size than tokenizer.model; "
            "set tokenizer.model_kwargs.patch_size to the file's, and choose tokenizer.grid"
        )
    if target == "projected" and "head.weight" not in report.matched:
        raise WeightsError(
            f"tokenizer.target=projected: {report.file} holds no projection to {vit.num_classes} numbers; "
            "choose tokenizer.target=normed"
        )
    return report
