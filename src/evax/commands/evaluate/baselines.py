"""EVA-X and its rivals: which of them a multirun can run, and what each costs."""

import logging
import sys
import time
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from evax.checkpoints.published import PUBLISHED, Published, where_to_get
from evax.config import ConfigError, instantiate, register_schemas
from evax.report.baselines import Size, read_baselines

log = logging.getLogger(__name__)

KEY = "backbone"
SIDE = 224  # pixels
BATCH = {"cuda": 256, "cpu": 4}  # films whose time is taken


class OnlyWithWeights(Callback):
    """Hydra's hook before a multirun over `backbone`: those without a weight file are named and left out."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Keep the backbones whose file is in the folder `weights`."""
        try:
            present = present_backbones(asked_for(config), config.weights)
        except ConfigError as error:  # Hydra would make a warning of it
            sys.exit(f"error: {error}")
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.sweeper.params[KEY] = ",".join(present)
            tasks = [word for word in config.hydra.overrides.task if not word.startswith(f"{KEY}=")]
            config.hydra.overrides.task = tasks


def asked_for(config: DictConfig) -> list[str]:
    """The backbones of the command line, else those of the sweep; ConfigError for one without published weights."""
    words = [word for word in config.hydra.overrides.task if word.startswith(f"{KEY}=")]
    names = (words[-1].partition("=")[2] if words else config.hydra.sweeper.params[KEY]).replace(" ", "").split(",")
    known = [name for name in entries() if not name.startswith("eva_x")]  # that has experiments of its own
    if "recipe=paper" in config.hydra.overrides.task:
        raise ConfigError("recipe=paper: the rivals have one recipe, that of the published scripts; leave it out")
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"backbone={unknown[0]}: this sweep is over {', '.join(known)}")
    return names


def present_backbones(names: list[str], weights: str | None) -> list[str]:
    """Those whose file is in the folder `weights`; one message names the others. ConfigError where all are missing."""
    known = entries()
    if weights is None or not Path(weights).is_dir():
        raise ConfigError(f"weights={weights}: give the folder that holds the files of {', '.join(names)}")
    missing = [name for name in names if not (Path(weights) / known[name].file).is_file()]
    said = [f"{name} ({known[name].file}): {where_to_get(known[name], str(weights))}" for name in missing]
    if len(missing) == len(names):
        raise ConfigError(f"weights={weights}: holds none of the files: {'; '.join(said)}")
    if missing:
        lines = "\n  ".join(said)
        log.warning("left out, %d of %d, for want of a file in %s:\n  %s", len(missing), len(names), weights, lines)
    return [name for name in names if name not in missing]


def entries() -> dict[str, Published]:
    """The published weights of every backbone of the table."""
    known = {entry.name: entry for entry in PUBLISHED}
    return {row.backbone: known[row.weights] for row in read_baselines()}


def measured(conf: Path, *, with_speed: bool = False) -> dict[str, Size]:
    """Parameters and multiply-adds of every backbone of the table on a film of 224 pixels, and its speed if asked."""
    if not conf.is_dir():
        raise ConfigError(f"{conf}: no such folder; run this where conf/ is, or name it by --conf")
    register_schemas()
    with initialize_config_dir(str(conf.absolute()), version_base="1.3"):
        nodes = {name: backbone_node(name) for name in entries()}
    one_of_each = {architecture(node): node for node in nodes.values()}
    sizes = {known: count(node) for known, node in one_of_each.items()}
    speeds = films_per_second(one_of_each) if with_speed else {}
    return {
        name: sizes[architecture(node)]._replace(films_per_second=speeds.get(architecture(node)))
        for name, node in nodes.items()
    }


def architecture(node: Any) -> str:
    """What backbones share that differ in their weights alone."""
    return f"{node.name} {node.get('model_kwargs')}"


def backbone_node(name: str) -> Any:
    """conf/backbone/NAME.yaml as a classifier would have it, without weights."""
    return compose("train", [f"backbone={name}", "model=classifier", f"image_size={SIDE}"]).backbone


def count(node: Any) -> Size:
    """A backbone's parameters and multiply-adds for one film, products of attention included; nothing is computed."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model = instantiate(node).eval()
        model(torch.empty(1, 3, SIDE, SIDE))
    return Size(sum(parameter.numel() for parameter in model.parameters()), counter.get_total_flops() // 2)


def films_per_second(nodes: dict[str, Any], *, rounds: int = 10) -> dict[str, float]:
    """Best speed of each backbone over some rounds, in bf16 where that is faster; all take turns, as ratios must.

    On a CPU the seconds are those of the processor, so that other programs do not count.
    """
    import torch

    from evax.tokenizers.precision import has_fast_bf16

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    films = torch.rand(BATCH[device.type], 3, SIDE, SIDE, device=device)
    models = {name: instantiate(node).eval().to(device) for name, node in nodes.items()}
    best = dict.fromkeys(models, 0.0)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bf16(device)):
        for _ in range(1 + rounds):  # kernels are chosen in the first
            for name, model in models.items():
                start = clock()
                model(films).sum().item()  # waits for the device
                best[name] = max(best[name], len(films) / (clock() - start))
    return best
