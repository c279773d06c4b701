"""What a command line of `explain.py` asks for, checked before anything is computed."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from evax.config import ConfigError
from evax.explain import METHODS, Explainable, Method, attention
from evax.hints import nearest
from evax.runs.early import check_source
from evax.runs.settings import PROTOCOLS

FOLDER = "explanation"  # in a run directory
USUAL = ("grad_cam", "grad_cam_plus_plus", "gradient_attention", "attention", "rollout")
OF_NO_MODEL = ("random", "centre")  # are scored beside the others, always
OF_FILES = ("data", "images")  # keys that go with weights=


def check_asked(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse what does not say, or says twice, whose maps of which films are meant."""
    check_source(cfg)
    of_file = [key for key in OF_FILES if cfg.get(key) is not None]
    of_file = of_file or [word for word in overrides if word.lstrip("+~").startswith("data")]
    if cfg.run is not None and of_file:
        raise ConfigError(f"{of_file[0]}: run={cfg.run} is explained on its own films; leave this out, or use weights=")
    if cfg.weights is not None and len([key for key in OF_FILES if cfg.get(key) is not None]) != 1:
        raise ConfigError(f"weights={cfg.weights} needs films: data=NAME, a pack with boxes, or images=FOLDER")
    if cfg.protocol not in PROTOCOLS:
        raise ConfigError(f"protocol={cfg.protocol} is not known; choose {' or '.join(PROTOCOLS)}")
    for key, least in (("batch_size", 1), ("num_films", 1), ("num_checked", 1), ("draws", 1), ("num_figures", 0)):
        is_all = key == "num_films" and cfg[key] is None
        if not is_all and (not isinstance(cfg[key], int) or cfg[key] < least):
            raise ConfigError(f"{key}={cfg[key]}: give a whole number {'above 0' if least else 'from 0'}")
    for key in ("methods", "findings", "heads"):
        if cfg[key] is not None and (isinstance(cfg[key], str | int) or not len(cfg[key])):
            raise ConfigError(f"{key}={cfg[key]}: give a list, [{cfg[key] or '...'}]")
    if unknown := [name for name in cfg.methods or () if name not in METHODS]:
        raise ConfigError(f"methods: there is no {unknown[0]!r}; {nearest(unknown[0], METHODS)}")
    if cfg.point is not None and not is_point(list(cfg.point)):
        raise ConfigError(
            f"point={cfg.point}: give [x,y] from 0 to 1 of what the network sees, from its top left corner"
        )
    if cfg.point is not None and not cfg.num_figures:
        raise ConfigError(f"point={cfg.point}: is drawn on num_figures=0 films; raise that, or leave point out")


def is_point(values: list[Any]) -> bool:
    """Whether these are two shares of a film's sides."""
    return len(values) == 2 and all(isinstance(each, int | float) and 0 <= each <= 1 for each in values)


def chosen_methods(cfg: DictConfig, explainable: Explainable) -> list[Method]:
    """The methods of the command line, or those of USUAL that the network has; ValueError where one does not fit it."""
    names = list(dict.fromkeys(cfg.methods or ()))
    if not names:
        names = [name for name in USUAL if explainable.has_attention or not METHODS[name].of_attention]
    methods = [METHODS[name] for name in names if name not in OF_NO_MODEL]
    if not methods:
        raise ConfigError(f"methods={names}: these look at no network, and are scored anyway; name another one")
    for method in methods:
        method.check(explainable)
    if cfg.point is not None and not explainable.has_attention:
        raise ConfigError(f"point: {explainable.name} does not attend; leave this out")
    if cfg.heads is None:
        return methods
    if "attention" not in names:
        raise ConfigError("heads: is of method attention; add it to methods=, or leave this out")
    chosen = replace(METHODS["attention"], compute=partial(attention, heads=list(cfg.heads)))
    return [chosen if method.name == "attention" else method for method in methods]


def folder_of(cfg: DictConfig, output_dir: Path) -> Path:
    """Where an explanation is kept: the same for the same command, so that it goes on."""
    official = "_official" if cfg.protocol == "official" else ""
    if cfg.run is not None:
        return Path(cfg.run) / FOLDER / (cfg.name or f"{cfg.split}{official}")
    return output_dir / (cfg.name or f"{Path(cfg.weights).stem}{official}")
