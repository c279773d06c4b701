"""Configuration safety: closed schemas, an allow-list of targets, and errors that name the key.

Imports neither torch nor timm, so that `--help` is instant.
"""

import difflib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, make_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

# A target must live under one of these names, and be a class defined there or one of FUNCTIONS.
PACKAGES = ("evax", "lightning.pytorch", "torch.optim", "torch.utils.data")
FUNCTIONS = ("evax.backbones.create_backbone", "evax.callbacks.wandb_logger")


# Top-level keys of each root configuration. None: a value, or a node that its constructor describes.
TRAIN_KEYS: dict[str, Any] = {
    **dict.fromkeys(("name", "seed", "protocol", "image_size", "batch_size", "per_device_batch")),
    **dict.fromkeys(("weights", "resume")),
    **dict.fromkeys(("backbone", "tokenizer", "masking", "data", "model", "optim", "trainer")),
    **dict.fromkeys(("callbacks", "logger")),
    "paths": dict.fromkeys(("packs", "runs")),
}
PREPARE_KEYS: dict[str, Any] = {
    **dict.fromkeys(("data", "source", "raw_dir", "size", "fit", "workers", "shard_size", "max_quarantine")),
    "paths": dict.fromkeys(("packs", "runs")),
}
SCHEMAS = {"train_schema": TRAIN_KEYS, "prepare_schema": PREPARE_KEYS}

RUN_DIR_VARIABLE = "EVAX_RUN_DIR"  # set by a run for the ranks that it starts


class ConfigError(ValueError):
    """A mistake in the configuration; the message names the key and the fix."""


def register_schemas() -> None:
    """Let Hydra refuse unknown top-level keys, also those in experiment files."""
    for name, keys in SCHEMAS.items():
        schema = make_dataclass(name, [(key, Any, field(default=None)) for key in keys])
        ConfigStore.instance().store(name=name, node=schema)


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint such as "did you mean 'ratio'? (valid: ratio, topup)"."""
    valid = sorted(str(option) for option in valid)
    close = difflib.get_close_matches(name, valid, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}(valid: {', '.join(valid)})"


def check_config(cfg: DictConfig, keys: Mapping[str, Any]) -> None:
    """Refuse unknown keys and forbidden targets at every level, before anything is built.

    `keys` is the schema of the levels that no constructor describes: a name maps to None (anything with its own
    constructor, or a value), or to the keys of its own node. Raises ConfigError naming the first bad key.
    """
    for key in cfg:
        if key not in keys:
            raise ConfigError(f"{key!s}: no such key; {nearest(str(key), keys)}")
        node = cfg._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none():
            if isinstance(inner := keys[str(key)], Mapping):
                check_config(node, inner)
            else:
                check_node(node, str(key))


def check_node(node: DictConfig, path: str) -> None:
    """Check one node: the arguments of a `_target_` against its signature, or each child of a plain node."""
    if "_target_" in node:
        target = locate(node["_target_"], path)
        parameters = inspect.signature(target).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            for key in node:
                if not str(key).startswith("_") and key not in parameters:
                    raise ConfigError(f"{path}.{key!s}: no such key; {nearest(str(key), parameters)}")
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
            check_node(child, f"{path}.{key!s}")


def locate(target: str, path: str) -> Callable[..., Any]:
    """The class or function behind an allowed `_target_`; ConfigError naming `path` otherwise.

    The found object must itself be defined in an allowed package, so that a path through a module's imports
    (`evax.config.os.system`) leads nowhere.
    """
    refusal = ConfigError(f"{path}._target_={target} is not allowed; targets are classes of {', '.join(PACKAGES)}")
    if not target.startswith(tuple(f"{package}." for package in PACKAGES)):
        raise refusal
    module_name, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module_name), name)
    except ModuleNotFoundError as error:
        if error.name and not module_name.startswith(error.name):
            raise  # the target exists; something it needs does not
        raise ConfigError(f"{path}._target_={target} does not exist: there is no module {error.name}") from error
    except AttributeError as error:
        names = dir(import_module(module_name))
        raise ConfigError(f"{path}._target_={target} does not exist; {nearest(name, names)}") from error
    is_class_here = inspect.isclass(found) and found.__module__.startswith(PACKAGES)
    if not (is_class_here or target in FUNCTIONS):
        raise refusal
    return found


def instantiate(node: DictConfig, **extra: Any) -> Any:
    """Build an already checked node; extra arguments are passed to its constructor."""
    return hydra.utils.instantiate(node, _convert_="all", **extra)


def innermost(error: BaseException) -> BaseException:
    """What really went wrong: the exception inside Hydra's wrappers."""
    while type(error).__module__.startswith("hydra.") and (cause := error.__cause__ or error.__context__):
        error = cause
    return error


def explain(error: BaseException) -> str:
    """One line for a user: the innermost message, with the nearest valid key where a key was wrong."""
    root = innermost(error)
    if isinstance(root, ConfigAttributeError | ConfigKeyError) and root.parent_node is not None:
        return f"{root.full_key}: no such key; {nearest(str(root.key), root.parent_node.keys())}"
    first_line = str(root).strip().splitlines()[0] if str(root).strip() else ""
    return first_line if isinstance(root, ConfigError) else f"{type(root).__name__}: {first_line}"


@contextmanager
def clear_errors() -> Iterator[None]:
    """End the program with one clear line and exit code 1 on any error; EVAX_TRACEBACK=1 adds the traceback."""
    try:
        yield
    except Exception as error:  # the last frame before the shell
        lines = [f"error: {explain(error)}\n"]
        if os.environ.get("EVAX_TRACEBACK"):
            lines += traceback.format_exception(error)
        else:
            lines.append("(EVAX_TRACEBACK=1 shows where)\n")
        sys.stderr.write("".join(lines))
        sys.exit(1)


def entry_point(main: Callable[[], Any]) -> None:
    """Run a Hydra main, with errors of composition as clear as those of the run."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let exceptions reach us
    with clear_errors():
        main()


def started_by_parent() -> Callable[[], Any] | None:
    """The work of a rank that another process started, which must not compose a configuration of its own."""
    run_dir = os.environ.get(RUN_DIR_VARIABLE)
    if run_dir is None:
        return None

    def join() -> None:
        from evax.run import join

        join(Path(run_dir))

    return join


def save_config(cfg: DictConfig, path: Path) -> None:
    """Write the resolved configuration, by same-folder rename."""
    temporary = path.with_suffix(".tmp")
    OmegaConf.save(OmegaConf.create(OmegaConf.to_container(cfg, resolve=True)), temporary)
    temporary.replace(path)
