"""What the student sees and predicts: film, masked film, cosine per hidden patch, colours of its tokens."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from evax.backbones.precision import full_precision
from evax.callbacks.cadence import EveryFewEpochs
from evax.callbacks.hosted import HostedLogger
from evax.explain.tokens import pca_maps
from evax.losses.cosine import token_cosine

TITLES = ("film", "what the student sees", "cosine of hidden patches", "patch tokens (PCA)")


class Views(NamedTuple):
    """What one figure shows of B films; `cosine` is NaN where a patch was visible."""

    rows: list[int]
    films: UInt8[np.ndarray, "B H W"]
    is_masked: Bool[np.ndarray, "B R C"]
    cosine: Float[np.ndarray, "B R C"]
    colours: Float[np.ndarray, "B R C 3"]


class Pictures(Callback):
    """Writes `figures/step-000123.png` of the first validation films every `every_n_epochs` and at the end.

    Films are labelled by their row in the pack, never by id. W&B gets a copy where the data is public.
    """

    def __init__(self, *, every_n_epochs: int = 10, num_films: int = 4) -> None:
        self.cadence = EveryFewEpochs(every_n_epochs, "callbacks.pictures.every_n_epochs")
        self.num_films = num_films

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw on rank 0."""
        if self.cadence.is_due(trainer) and trainer.is_global_zero:
            folder = Path(trainer.default_root_dir) / "figures"
            folder.mkdir(parents=True, exist_ok=True)
            figure = draw(views(trainer.datamodule, pl_module, self.num_films), trainer.global_step)
            file = folder / f"step-{trainer.global_step:06d}.png"
            figure.savefig(file, dpi=110)
            for logger in trainer.loggers:
                if isinstance(logger, HostedLogger):
                    logger.log_figure("figures/views", file, trainer.global_step)


@torch.inference_mode()
@full_precision()
def views(data: Any, task: Any, num_films: int) -> Views:
    """Run the first validation films through the student, masked and whole."""
    batch = next(iter(data.local_loader(data.dataset(data.rows("val")[:num_films]))))
    images, is_masked = task.unit_images(batch["image"].to(task.device)), batch["is_masked"].to(task.device)
    cosine = torch.full(is_masked.shape, torch.nan, device=task.device)
    cosine[is_masked] = token_cosine(task.predict(images, is_masked), task.target(images)[is_masked]).float()
    tokens = task.backbone.forward_tokens(task.student_input(images))
    shape = (len(images), *data.grid)
    return Views(
        rows=[int(row) for row in batch["row"]],
        films=batch["image"][:, 0].numpy(),
        is_masked=is_masked.cpu().numpy().reshape(shape),
        cosine=cosine.cpu().numpy().reshape(shape),
        colours=pca_maps(tokens.float().cpu().numpy(), data.grid),
    )


def draw(view: Views, step: int) -> Figure:
    """One row of four pictures per film."""
    num_films = len(view.rows)
    figure = Figure(figsize=(10, 2.55 * num_films + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(num_films, 4, squeeze=False)
    for i, row in enumerate(view.rows):
        cell = view.films[i].shape[0] // view.is_masked[i].shape[0]
        hidden = np.kron(view.is_masked[i], np.ones((cell, cell), dtype=bool))
        extent = (0, view.films[i].shape[1], view.films[i].shape[0], 0)
        axes[i, 0].imshow(view.films[i], cmap="gray", vmin=0, vmax=255)
        axes[i, 1].imshow(np.where(hidden, 128, view.films[i]), cmap="gray", vmin=0, vmax=255)
        axes[i, 2].imshow(view.films[i], cmap="gray", vmin=0, vmax=255, alpha=0.35, extent=extent)
        heat = axes[i, 2].imshow(view.cosine[i], cmap="viridis", vmin=0, vmax=1, extent=extent)
        axes[i, 3].imshow(view.colours[i], extent=extent)
        axes[i, 0].set_ylabel(f"pack row {row}")
    for axis, title in zip(axes[0], TITLES, strict=True):
        axis.set_title(title, fontsize=10)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.colorbar(heat, ax=axes[:, 2], shrink=0.6, location="bottom")
    figure.suptitle(f"step {step}", fontsize=10)
    return figure
