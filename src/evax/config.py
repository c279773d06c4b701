"""Configuration safety: closed schemas, an allow-list of targets, and errors that name the key.

Imports neither torch nor timm, so that `--help` is instant.
"""

import inspect
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field, make_dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from evax.data.atomic import write_atomically
from evax.hints import BASES, KEYS, misread, nearest, nearest_choice, nearest_key

# A target must live under one of these names, and be a class defined there or one of FUNCTIONS.
PACKAGES = ("evax", "lightning.pytorch", "torch.optim", "torch.utils.data")
FUNCTIONS = ("evax.backbones.create_backbone", "evax.backbones.create_foreign", "evax.callbacks.wandb_logger")
HYDRA_KEYS = ("_target_", "_args_", "_convert_", "_partial_", "_recursive_")

# Top-level keys of each root configuration. None: a value, or a node that its constructor describes.
ANY = object()  # values under names of one's own
PROBE_KEYS = (
    *("precision", "readouts", "classifier", "strengths", "neighbors", "temperatures"),
    *("min_positives", "repeats", "draws"),
)
TRAIN_KEYS: dict[str, Any] = {
    **dict.fromkeys(("name", "seed", "protocol", "recipe", "paper_epochs", "image_size")),
    **dict.fromkeys(("batch_size", "per_device_batch", "weights", "weights_sha256", "teacher_sha256")),
    **dict.fromkeys(("resume", "plan")),
    **dict.fromkeys(("backbone", "tokenizer", "masking", "data", "model", "optim", "trainer")),
    **dict.fromkeys(("cluster", "callbacks", "logger")),
    "then": dict.fromkeys((*PROBE_KEYS, "experiment", "overrides", "config")) | {"sizes": ANY},
    "sweep": dict.fromkeys(("axis", "paper")) | {"settings": ANY},
    "paper_rates": ANY,
    "paths": dict.fromkeys(("packs", "runs")),
}
TRAIN_KEYS["then"]["config"] = {key: keys for key, keys in TRAIN_KEYS.items() if key != "then"} | {"then": None}
# Of the backbone of a file, whose name the file may tell.
BACKBONE_KEYS = (
    *("_target_", "name", "image_size", "weights", "weights_key", "mask_token"),
    *("attention", "drop_path", "gradient_checkpointing", "initialise"),
    *("published", "mean", "std", "model_kwargs"),  # of a rival
)
PREPARE_KEYS: dict[str, Any] = {
    **dict.fromkeys(("data", "source", "raw_dir", "size", "fit", "workers", "shard_size", "max_quarantine")),
    "paths": dict.fromkeys(("packs", "runs")),
}
EVALUATE_KEYS: dict[str, Any] = {
    **dict.fromkeys(("run", "weights", "mean", "std", "compare", "names", "flip", "window", "stride")),
    "backbone": dict.fromkeys(BACKBONE_KEYS) | {"model_kwargs": ANY},
    **dict.fromkeys(("features", "target", "against", "name", "method", "notes", "data", "masking", "seed")),
    **dict.fromkeys(PROBE_KEYS),
    **dict.fromkeys(("image_size", "batch_size", "per_device_batch")),
    "paths": dict.fromkeys(("packs", "runs")),
}
EXPLAIN_KEYS: dict[str, Any] = {
    **dict.fromkeys(("run", "weights", "weights_key", "images", "name", "split", "protocol", "data")),
    **dict.fromkeys(("methods", "findings", "layer", "heads", "point", "num_films", "batch_size")),
    **dict.fromkeys(("faithfulness", "randomise", "num_checked", "num_figures", "draws", "seed")),
    **dict.fromkeys(("image_size", "per_device_batch", "masking")),
    "paths": dict.fromkeys(("packs", "runs")),
}
SCHEMAS = {
    "train_schema": TRAIN_KEYS,
    "prepare_schema": PREPARE_KEYS,
    "evaluate_schema": EVALUATE_KEYS,
    "explain_schema": EXPLAIN_KEYS,
}

GROUPS = ("experiment", "adapt", "debug")  # that leave no key of their own

# Trainer arguments that follow from other keys, or would break what a resume relies on; and what to use instead.
RESERVED = {
    "accumulate_grad_batches": "per_device_batch",
    "log_every_n_steps": "nothing, every step is recorded",
    "max_steps": "trainer.max_epochs",
    "val_check_interval": "trainer.check_val_every_n_epoch",
    "use_distributed_sampler": "nothing, samplers know ranks",
    "num_sanity_val_steps": "debug=one_step",
    "enable_progress_bar": "~callbacks.progress",
    "enable_checkpointing": "callbacks.checkpointing",
    "default_root_dir": "hydra.run.dir",
    "callbacks": "callbacks",
    "logger": "logger",
    "plugins": "nothing",
}
# Arguments of Lightning's Trainer that conf/trainer leaves at their default.
ADDABLE = ("benchmark", "detect_anomaly", "deterministic", "gradient_clip_algorithm", "profiler", "sync_batchnorm")

# Set by a run for the ranks that it starts: where it is, and its settled configuration as YAML.
RUN_DIR_VARIABLE, RUN_CONFIG_VARIABLE = "EVAX_RUN_DIR", "EVAX_RUN_CONFIG"
# What is looked for in one place and found in another.
ELSEWHERE = {"adapt=knn": "nearest neighbours train nothing; score by python evaluate.py run=RUN classifier=knn"}
MULTIRUN = "multirun.yaml"  # that Hydra writes before a multirun's first job
JOB = "job.json"  # what a job of a multirun was asked to do, and how far it is


class ConfigError(ValueError):
    """A mistake in the configuration; the message names the key and the fix."""


def register_schemas() -> None:
    """Let Hydra refuse unknown top-level keys, also those in experiment files."""
    for name, keys in SCHEMAS.items():
        schema = make_dataclass(name, [(key, Any, field(default=None)) for key in keys])
        ConfigStore.instance().store(name=name, node=schema)


def check_config(cfg: DictConfig, keys: Mapping[str, Any], path: str = "") -> None:
    """Refuse unknown keys and forbidden targets at every level, before anything is built.

    `keys` is the schema of the levels that no constructor describes: a name maps to None (anything with its own
    constructor, or a value), to ANY, or to the keys of its own node. Raises ConfigError naming the first bad key.
    """
    check_names(cfg, keys, path)
    for key in cfg:
        node, inner = cfg._get_node(key), keys[str(key)]
        if isinstance(node, DictConfig) and isinstance(inner, Mapping):
            check_config(node, inner, f"{path}{key!s}.")
            continue
        if isinstance(node, DictConfig) and not _has_target(node) and inner is not ANY:
            check_named_nodes(node, f"{path}{key!s}")
        check_node(node, f"{path}{key!s}")


def check_names(cfg: DictConfig, keys: Mapping[str, Any], path: str = "") -> None:
    """Refuse unknown keys at the levels that no constructor describes, for which nothing need be imported."""
    for key in cfg:
        if key not in keys:
            others = [name for name in names_of(cfg._get_root()) if name != f"{path}{key!s}"]
            raise ConfigError(f"{path}{key!s}: no such key; {nearest_key(str(key), keys, others)}")
        node, inner = cfg._get_node(key), keys[str(key)]
        if isinstance(node, DictConfig) and isinstance(inner, Mapping):
            check_names(node, inner, f"{path}{key!s}.")


def names_of(cfg: Any, path: str = "") -> list[str]:
    """The full names of all keys of a configuration, without those of Hydra but its run directory."""
    found = ["hydra.run.dir", *(GROUPS if "trainer" in cfg else ())] if not path else []
    for key, child in _children(cfg):
        name = f"{path}.{key}" if path else str(key)
        if isinstance(key, str) and name != "hydra":
            found += [name, *names_of(child, name)]
    return found


def check_named_nodes(nodes: DictConfig, path: str) -> None:
    """Each child, of callbacks or loggers, must have its constructor, or be null; a misspelt name has none."""
    built = [str(key) for key, child in _children(nodes) if _has_target(child)]
    for key, child in _children(nodes):
        if str(key) not in built and not child._is_none():
            raise ConfigError(f"{path}.{key}: no such key, or its _target_ is missing; {nearest(str(key), built)}")


def check_node(node: Any, path: str) -> None:
    """Check the arguments of every `_target_` in a node against its signature, through all dicts and lists."""
    if _has_target(node):
        check_arguments(node, path)
    for key, child in _children(node):
        if child._is_missing():
            raise ConfigError(f"{path}.{key}: has no value; give one, or choose a file that does")
        check_node(child, f"{path}.{key}")


def check_arguments(node: DictConfig, path: str) -> None:
    """Refuse a forbidden target, and arguments that it does not have."""
    if OmegaConf.is_missing(node, "_target_"):
        raise ConfigError(f"{path} is only the base of other files; choose one of those")
    parameters = parameters_of(locate(node["_target_"], path))
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for key in node:
        known = key in parameters or (takes_any and not str(key).startswith("_"))
        if not known and key not in HYDRA_KEYS:
            raise ConfigError(f"{path}.{key!s}: no such key; {nearest(str(key), parameters)}")


def parameters_of(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The arguments of a target; a class of ours that passes `**settings` on to a base of ours has its too."""
    parameters = dict(inspect.signature(target).parameters)
    passed_on = [name for name, parameter in parameters.items() if parameter.kind is parameter.VAR_KEYWORD]
    base = target.__mro__[1] if inspect.isclass(target) else object
    if not passed_on or not base.__module__.startswith("evax."):
        return parameters
    return parameters_of(base) | {name: each for name, each in parameters.items() if name not in passed_on}


def _has_target(node: Any) -> bool:
    return isinstance(node, DictConfig) and "_target_" in node.keys()  # noqa: SIM118, `in node` skips a missing value


def _children(node: Any) -> list[tuple[Any, Any]]:
    """Keys and unresolved children of a dict or list; none of a value, null or an interpolation."""
    if not isinstance(node, DictConfig | ListConfig) or node._is_none() or node._is_interpolation():
        return []
    if isinstance(node, DictConfig):
        return [(key, node._get_node(key)) for key in node]
    return [(index, node._get_node(index)) for index in range(len(node))]


def locate(target: Any, path: str) -> Callable[..., Any]:
    """The class or function behind an allowed `_target_`; ConfigError naming `path` otherwise.

    The found object must itself be defined in an allowed package, so that a path through a module's imports
    (`evax.config.os.system`) leads nowhere.
    """
    where = f"{path}._target_={target}"
    refusal = ConfigError(f"{where} is not allowed; targets are classes of {', '.join(PACKAGES)}")
    if not is_inside_packages(str(target)):
        raise refusal
    module_name, _, name = str(target).rpartition(".")
    try:
        module = import_module(module_name)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigError(f"{where} does not exist: there is no module {error.name}") from error
        raise ConfigError(f"{where} cannot be imported: {error}") from error
    if not hasattr(module, name):
        names = [each for each in dir(module) if is_target(module, each)]
        raise ConfigError(f"{where} does not exist; {nearest(name, names)}")
    if not is_target(module, name):
        raise refusal
    found: Callable[..., Any] = getattr(module, name)
    return found


def is_inside_packages(name: str) -> bool:
    """Whether a dotted name lies under one of PACKAGES."""
    return name.startswith(tuple(f"{package}." for package in PACKAGES))


def is_target(module: ModuleType, name: str) -> bool:
    """Whether a name of a module may be built: a class defined in PACKAGES, or one of FUNCTIONS."""
    found = getattr(module, name)
    is_class_here = inspect.isclass(found) and is_inside_packages(f"{found.__module__}.")
    return is_class_here or f"{module.__name__}.{name}" in FUNCTIONS


def instantiate(node: DictConfig, **extra: Any) -> Any:
    """Build a node, with extra arguments for its constructor.

    It is checked once more as it is built: an interpolation may stand for a whole node with a target.
    """
    resolved = OmegaConf.create(OmegaConf.to_container(node, resolve=True))
    check_node(resolved, node._get_full_key(None))
    return hydra.utils.instantiate(node, _convert_="all", **extra)


def innermost(error: BaseException) -> BaseException:
    """What really went wrong: the exception inside Hydra's wrappers."""
    while type(error).__module__.startswith("hydra.") and not isinstance(error, OverrideParseException):
        cause = error.__cause__ or error.__context__
        if cause is None:
            break
        error = cause
    return error


def explain(error: BaseException) -> str:
    """One line for a user: the innermost message, with the nearest valid name where a name was wrong."""
    root = innermost(error)
    first_line = str(root).strip().partition("\n")[0]
    if isinstance(root, ConfigAttributeError | ConfigKeyError) and root.parent_node is not None:
        return _key_hint(root)
    if isinstance(root, MissingConfigException) and root.missing_cfg_file and root.options:
        return _choice_hint(root)
    if isinstance(root, HydraException):
        return _of_composition(root)
    if isinstance(root, OmegaConfBaseException) and root.full_key:
        return f"{root.full_key}: {first_line}"
    if is_of_user(root):
        return first_line if not isinstance(root, OSError) or root.strerror is None else _of_file(root)
    built = re.search(r"full_key: (\S+)", str(error)) if isinstance(root, TypeError) else None
    return f"{type(root).__name__}: {first_line}" + (f" (in {built[1]})" if built else "")


def _of_composition(root: HydraException) -> str:
    """What Hydra could not read or compose."""
    if isinstance(root, OverrideParseException):
        return f"{root.override}: cannot be read; write KEY=VALUE, with a VALUE of special characters in quotes"
    if missing := re.match(r"You must specify '(\w+)', .*Available options:(.*)", str(root), re.DOTALL):
        group, options = missing[1], [each for each in missing[2].split() if each not in BASES.get(missing[1], ())]
        return f"{group}: is not given; write {group}=NAME, one of {', '.join(options)}"
    if ambiguous := re.match(r"Ambiguous value for argument '([^']*)'", str(root)):
        return f"{ambiguous[1]}: commas make a sweep, which needs -m; a list is written [A,B]"
    return " ".join(str(root).split())


def is_of_user(error: BaseException) -> bool:
    """Whether an error tells a user what to mend: one of evax, or of files; others are defects, and named as such."""
    if isinstance(error, OSError) or type(error).__module__.startswith("evax."):
        return True
    *_, (frame, _) = [(None, 0), *traceback.walk_tb(error.__traceback__)]
    return isinstance(error, ValueError) and frame is not None and frame.f_globals["__name__"].startswith("evax.")


def _of_file(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename is not None else str(error.strerror)


def _key_hint(root: Any) -> str:
    """Which key is refused, and which was meant."""
    key, name, parent = str(root.full_key), str(root.key), root.parent_node
    if key == f"trainer.{name}" and name in RESERVED:
        return not_yours(name)
    if key == f"trainer.{name}" and name in ADDABLE:
        return f"{key}: is not set in conf/trainer; write +{key}=VALUE"
    return f"{key}: no such key; {nearest_key(name, parent.keys(), names_of(parent._get_root()))}"


def not_yours(key: str) -> str:
    """Why a trainer argument is refused."""
    instead = RESERVED[key]
    advice = instead.replace("nothing", "leave it out", 1) if instead.startswith("nothing") else f"use {instead}"
    return f"trainer.{key} is not yours to set; {advice}"


def _choice_hint(root: MissingConfigException) -> str:
    """Which choice of a group was asked for, and which was meant."""
    missing = str(root.missing_cfg_file)
    typed = (word.lstrip("+").partition("=") for word in sys.argv[1:])
    here = ((group, choice) for group, _, choice in typed if f"{group}/{choice}" == missing)
    group, choice = next(here, (missing.rpartition("/")[0], missing.rpartition("/")[2]))
    asked = f"{group}={choice}"
    if group == "data" and "/" in choice:
        return (
            f"{asked}: data= names a data set; give the folder of a download by raw_dir={choice} (prepare.py), that of "
            f"a pack by data.pack={choice}; {nearest_choice(group, '', root.options or ())}"
        )
    return f"{asked}: {ELSEWHERE.get(asked) or f'no such choice; {nearest_choice(group, choice, root.options or ())}'}"


class Terminal(logging.StreamHandler):
    """Logs to what stdout is at the moment, so that lines stand above a progress bar and not in it."""

    @property
    def stream(self) -> Any:
        """The present stdout."""
        return sys.stdout

    @stream.setter
    def stream(self, value: Any) -> None:
        """Nothing is kept."""


@contextmanager
def clear_errors() -> Iterator[None]:
    """End the program with one clear line and exit code 1 on any error; EVAX_TRACEBACK=1 adds the traceback.

    A job of a multirun only ends itself.
    """
    try:
        yield
    except Exception as error:  # the last frame before the shell
        job = multirun_job()
        where = "" if job is None else f"job {job.job.num}: "
        lines = [f"error: {where}{explain(error)}\n"]
        if os.environ.get("EVAX_TRACEBACK"):
            lines += traceback.format_exception(error)
        else:
            lines.append("(EVAX_TRACEBACK=1 shows where)\n")
        sys.stderr.write("".join(lines))
        if job is None:
            sys.exit(1)


def multirun_job() -> Any:
    """Hydra's settings of the present job, where it is one of a multirun; else None."""
    is_job = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    return HydraConfig.get() if is_job else None


class EmptyFolders(Callback):
    """Hydra's hook before it makes the folder of a run or multirun: which folders were not there."""

    made: ClassVar[list[Path]] = []  # the deepest first

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """A single run."""
        self._note(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """A multirun, in whose folder each job has one of its own."""
        self._note(config.hydra.sweep.dir)

    def _note(self, folder: str) -> None:
        path = Path(folder).absolute()
        self.made.extend(each for each in (path, *path.parents) if not each.exists())

    @classmethod
    def remove(cls) -> None:
        """Remove those that stayed empty, as of a command that was refused; of a multirun, those without a job."""
        for folder in cls.made[:1]:
            for job in folder.glob("*/"):
                _remove_empty(job)
            if [each.name for each in folder.glob("*")] == [MULTIRUN]:
                (folder / MULTIRUN).unlink()
        for folder in cls.made:
            _remove_empty(folder)
        cls.made.clear()


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def entry_point(main: Callable[[], Any], example: str | None = None) -> None:
    """Run a Hydra main, with errors of composition as clear as those of the run.

    `example` is an override for a choice without default, which `--help` needs to show a configuration.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let exceptions reach us
    if example and {"--help", "-h"} & set(sys.argv):
        words = [word for word in sys.argv[1:] if word not in ("--help", "-h")]
        is_chosen = any(word.startswith(example.partition("=")[0] + "=") for word in words)
        sys.argv[1:] = [*words, *([] if is_chosen else [example]), "--help"]
    with clear_errors():
        check_words(sys.argv[1:], Path(sys.argv[0]))
        try:
            main()
        finally:
            EmptyFolders.remove()


def check_words(words: Sequence[str], script: Path) -> None:
    """Refuse words of the command line that Hydra would take for something else, such as --experiment NAME."""
    if {"--shell-completion", "-sc"} & set(words):
        return
    schema = SCHEMAS.get(f"{script.stem}_schema", TRAIN_KEYS)
    usual = {key for keys in KEYS.values() for key in keys if re.split("[.=]", key)[0] in schema}
    if told := misread(words, [*_names_in(schema), *(GROUPS if schema is TRAIN_KEYS else ()), *usual]):
        composed = _names_composed(words, script)
        raise ConfigError((composed and misread(words, composed)) or told)


def _names_composed(words: Sequence[str], script: Path) -> list[str]:
    """All keys of the command whose words these are, as far as they can be composed."""
    overrides = [word for word in words if re.match(r"[~+\w][^ ]*=.", word)]
    folder = str(script.parent.absolute() / "conf")
    for each in (overrides, [word for word in overrides if word.startswith("data=")]):
        with suppress(Exception), hydra.initialize_config_dir(folder, version_base="1.3"):
            return names_of(hydra.compose(script.stem, overrides=each))
    return []


def _names_in(keys: Mapping[str, Any], path: str = "") -> list[str]:
    inner = (_names_in(node, f"{path}{key}.") for key, node in keys.items() if isinstance(node, Mapping))
    return [*(f"{path}{key}" for key in keys), *(name for names in inner for name in names)]


@contextmanager
def announced(cfg: DictConfig, run_dir: Path) -> Iterator[None]:
    """Tell processes that start meanwhile which run they belong to."""
    before = dict(os.environ)
    os.environ[RUN_DIR_VARIABLE], os.environ[RUN_CONFIG_VARIABLE] = str(run_dir), OmegaConf.to_yaml(cfg)
    try:
        yield
    finally:  # Lightning leaves rank and port behind, and the next job of a sweep would take them for its own
        for name in set(os.environ) - set(before):
            del os.environ[name]


def save_config(cfg: DictConfig, path: Path) -> None:
    """Write a settled configuration, whole or not at all."""
    write_atomically(path, OmegaConf.to_yaml(cfg).encode())
