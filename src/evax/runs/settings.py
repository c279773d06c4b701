"""What the configuration of a run must be, and what it becomes before anything is built: settled, pinned, resumed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from evax.checkpoints.names import CONFIG
from evax.checkpoints.published import published_file
from evax.config import RESERVED, TRAIN_KEYS, ConfigError, check_config, check_names, locate, not_yours
from evax.data.atomic import sha256_of
from evax.data.splits import OFFICIAL, TRAIN
from evax.runs.launch import placed

# What may change when a run goes on: where it runs, for how long, and what follows. Pack and teacher are known by
# their digests.
RESUMABLE = (
    *("trainer", "cluster", "logger", "paths", "per_device_batch"),
    *("data.num_workers", "data.per_device_batch", "data.pack", "then"),
    *("tokenizer.weights", "model.tokenizer.weights"),
)
ONE_PLACE = {  # keys that hold what another decides, which is the one that checks read
    "backbone.weights": "weights",
    "model.backbone.weights": "weights",
    "model.tokenizer.weights": "tokenizer.weights",
}
PROTOCOLS = {"clean": "val", "official": "test"}  # and the films that choose the best checkpoint
FRACTIONS = {"clean": "patients", "official": "films"}  # what data.fraction draws
RECIPES = ("code", "paper")  # of protocol=official, where what was published disagrees; the first is the default
USUAL = {"split": OFFICIAL, "fit_on": list(TRAIN)}  # of the data, where nothing was published or nobody asks for it
CALLBACKS = {"Classifier": "classification", "Segmenter": "segmentation"}  # that fit a task
PATH_KEYS = ("weights", "pack", "packs", "runs")
PLACE = ("accelerator", "devices", "num_nodes", "strategy")  # what another `trainer=` may say of a resumed run
PLACES = (*(key for key in RESUMABLE if key != "trainer"), *(f"trainer.{key}" for key in PLACE))  # say where a run runs
LIMITS = ("limit_train_batches", "limit_val_batches")  # of the trainer: a number of batches, or their share
PRECISIONS = {  # that are supported, by the names that Lightning has for them
    **dict.fromkeys(("bf16-mixed", "bf16"), "bf16-mixed"),
    **dict.fromkeys(("32-true", "32"), "32-true"),
    **dict.fromkeys(("64-true", "64"), "64-true"),
    "auto": "auto",
}
# Callbacks of Lightning that decide after how many steps a run ends, in place of trainer.max_epochs and batch_size.
ENDING = {"EarlyStopping", "Timer", "GradientAccumulationScheduler", "BatchSizeFinder", "LearningRateFinder"}


def decided(cfg: DictConfig) -> DictConfig:
    """The configuration of a new run, checked, settled and pinned: what its directory will say."""
    check_run(cfg)
    return identified(pinned(settled(placed(for_cluster(cfg)))))


def check_run(cfg: DictConfig) -> None:
    """Refuse a configuration that no run could have; looks at no file."""
    check_settings(cfg)
    check_config(cfg, TRAIN_KEYS)
    check_callbacks(cfg)
    check_monitor(cfg)


def check_settings(cfg: DictConfig) -> None:
    """Refuse settings that contradict each other, as far as that can be seen without torch."""
    check_names(cfg, TRAIN_KEYS)
    check_student(cfg)
    check_protocol(cfg)
    check_trainer(cfg.trainer)
    check_one_start(cfg)


def check_student(cfg: DictConfig) -> None:
    """Refuse to pre-train a backbone that cannot hide patches."""
    if str(cfg.backbone.get("_target_")).endswith(".create_foreign") and not is_supervised(cfg):
        raise ConfigError(
            f"backbone.name={cfg.backbone.name}: pre-training needs a mask token, which eva_x_tiny, eva_x_small and "
            "eva_x_base have; others are for fine-tuning (experiment=finetune_cxr14_vit_s, for one)"
        )


def check_one_start(cfg: DictConfig) -> None:
    """Refuse weights under a key that no check reads: what a run starts from is `weights`, and nothing else."""
    for key, known in ONE_PLACE.items():
        given, weights = OmegaConf.select(cfg, key), OmegaConf.select(cfg, known)
        if given != weights:
            raise ConfigError(f"{key}={given} is not {known}={weights}: say {known}= alone, which all checks read")


def check_protocol(cfg: DictConfig) -> None:
    """Refuse what a protocol does not have: a choice on test films under clean, pre-training under official."""
    if cfg.protocol not in PROTOCOLS:
        raise ConfigError(f"protocol={cfg.protocol} is not known; choose {' or '.join(PROTOCOLS)}")
    if not is_supervised(cfg) and cfg.protocol != "clean":
        raise ConfigError(f"protocol={cfg.protocol}: pre-training has one protocol, clean")
    if cfg.protocol == "clean" and is_supervised(cfg) and "val" in (cfg.data.fit_on or ()):
        raise ConfigError(
            "data.fit_on holds val, on which protocol=clean chooses; leave it out or use protocol=official"
        )
    if cfg.protocol == "clean" and cfg.data.select_on == "test":
        raise ConfigError(
            "data.select_on=test: protocol=clean never chooses on test films; use val or protocol=official"
        )
    if cfg.get("recipe") not in (None, *RECIPES):
        raise ConfigError(f"recipe={cfg.recipe} is not known; choose {' or '.join(RECIPES)}")
    if cfg.protocol == "clean" and cfg.get("recipe") is not None:
        raise ConfigError(f"recipe={cfg.recipe}: is of protocol=official, what was published; leave it out under clean")
    if is_segmenter(cfg) and cfg.get("recipe") == "paper":
        check_paper_optimizer(cfg)
    if is_classifier(cfg) and cfg.get("recipe") == "paper" and cfg.model.head == "attentive":
        raise ConfigError("recipe=paper: its drop-out is of what a linear head reads; use recipe=code, or adapt=full")


def check_paper_optimizer(cfg: DictConfig) -> None:
    """Refuse the wrong one of the two optimizers that the paper segments with; Hydra cannot choose it by the recipe."""
    optim = "sgd" if cfg.model.decoder == "unet" else "segment"
    if str(cfg.optim["_target_"]).endswith(".SGDPolynomial") != (optim == "sgd"):
        raise ConfigError(f"recipe=paper: the paper trains a U-Net by SGD and UPerNet by AdamW; say optim={optim}, too")


def is_classifier(cfg: DictConfig) -> bool:
    """Whether a run's task is classification."""
    return str(cfg.model["_target_"]).endswith(".Classifier")


def is_segmenter(cfg: DictConfig) -> bool:
    """Whether a run's task is segmentation."""
    return str(cfg.model["_target_"]).endswith(".Segmenter")


def is_supervised(cfg: DictConfig) -> bool:
    """Whether a run learns from labels or masks, and so has protocols."""
    return is_classifier(cfg) or is_segmenter(cfg)


def check_trainer(trainer: DictConfig) -> None:
    """Refuse trainer settings that would be overwritten, or that a resume could not keep."""
    for key in RESERVED:
        if key in trainer:
            raise ConfigError(not_yours(key))
    for key in ("max_epochs", "check_val_every_n_epoch"):
        value = trainer.get(key, 1)
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"trainer.{key}={value}: give a whole number of epochs, 1 or more")
    check_limits(trainer)
    if str(trainer.get("precision", "auto")) not in PRECISIONS:
        raise ConfigError(f"trainer.precision={trainer.precision} is not supported; use bf16-mixed or 32-true")


def check_limits(trainer: DictConfig) -> None:
    """Refuse to train or to choose on a part of the images, but for a trial of one epoch."""
    for key in LIMITS:
        value = trainer.get(key)
        if not isinstance(value, int | float | None) or isinstance(value, bool) or (value is not None and value <= 0):
            raise ConfigError(f"trainer.{key}={value}: give a number of batches, or a share of them up to 1.0")
    if is_trial(trainer) and trainer.max_epochs != 1:
        raise ConfigError("trainer.limit_train_batches works for one epoch only; use data.fraction to train on less")
    if not is_trial(trainer) and is_limited(trainer.get("limit_val_batches")):
        raise ConfigError(
            f"trainer.limit_val_batches={trainer.limit_val_batches}: the best checkpoint is chosen on all validation "
            "images; leave it out, or try a run out by debug=one_step"
        )


def is_trial(trainer: DictConfig) -> bool:
    """Whether a run takes a part of its steps alone, to see if it works; its scores are no result."""
    return is_limited(trainer.get("limit_train_batches"))


def is_limited(limit: Any) -> bool:
    """Whether one of LIMITS leaves anything out; 1 is one batch, 1.0 are all."""
    return limit is not None and not (isinstance(limit, float) and limit == 1.0)


def check_callbacks(cfg: DictConfig) -> None:
    """Refuse callbacks that end a run elsewhere than after its epochs."""
    for name, node in (cfg.callbacks or {}).items():
        kind = locate(node["_target_"], f"callbacks.{name}") if node else None
        if found := ENDING & {each.__name__ for each in getattr(kind, "__mro__", ())}:
            raise ConfigError(
                f"callbacks.{name}: {found.pop()} changes where a run ends, and what ends before its last step is no "
                "result; leave it out (best.ckpt is of the best epoch), and lower trainer.max_epochs for a shorter run"
            )


def check_monitor(cfg: DictConfig) -> None:
    """Refuse to choose the best checkpoint by what nobody records, as where callbacks are of another task."""
    monitor = OmegaConf.select(cfg, "callbacks.checkpointing.monitor")
    task = str(cfg.model["_target_"]).rpartition(".")[2]
    recorders = [cfg.model] if is_supervised(cfg) else [cfg.model, *filter(None, cfg.callbacks.values())]  # and probes
    known = [each for node in recorders for each in getattr(locate(node["_target_"], "callbacks"), "monitors", ())]
    if monitor is None or monitor in (*known, "train/loss"):
        return
    usual = CALLBACKS.get(task, "default")
    averaged = "ema" if usual == "default" else f"{usual}_ema"
    raise ConfigError(
        f"callbacks.checkpointing.monitor={monitor}: {task} records {', '.join(known)}; use callbacks={usual}, or "
        f"{averaged} for an average of the weights, or name one of these"
    )


def for_cluster(cfg: DictConfig) -> DictConfig:
    """The configuration with what would be looked up on this machine decided for the nodes: bf16 on their GPUs."""
    if cfg.get("cluster") is None or cfg.trainer.accelerator == "cpu":
        return cfg
    cfg = cfg.copy()
    with open_dict(cfg):
        if cfg.trainer.get("precision") == "auto":
            cfg.trainer.precision = "bf16-mixed"
        for tokenizer in tokenizers_of(cfg):
            if tokenizer.get("precision") == "auto":
                tokenizer.precision = "bf16"
    return cfg


def settled(cfg: DictConfig) -> DictConfig:
    """A copy in which everything that depends on the machine is decided, so that the run directory says it."""
    plain = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    assert isinstance(plain, DictConfig)
    with open_dict(plain):
        if "precision" in plain.trainer:
            plain.trainer.precision = PRECISIONS[str(plain.trainer.precision)]
        if plain.trainer.get("precision") == "auto":
            plain.trainer.precision = best_precision(plain.trainer.get("accelerator", "auto"))
        make_paths_absolute(plain)
        if is_supervised(plain):
            settle_protocol(plain)
        for tokenizer in tokenizers_of(plain):
            if tokenizer.get("precision") == "auto":
                has_bf16 = best_precision(plain.trainer.get("accelerator", "auto")) == "bf16-mixed"
                tokenizer.precision = "bf16" if has_bf16 else "fp32"
    return plain


def tokenizers_of(cfg: DictConfig) -> list[DictConfig]:
    """Where a configuration describes the tokenizer: nowhere, or in two places that agree."""
    return [cfg.tokenizer, cfg.model.tokenizer] if cfg.tokenizer is not None else []


def settle_protocol(cfg: DictConfig) -> None:
    """Write down, in place, what the protocol of a fine-tuning decides and no other key has decided."""
    settle_published(cfg.data, cfg.protocol)
    for key, choices in (("select_on", PROTOCOLS), ("fraction_of", FRACTIONS)):
        if cfg.data.get(key) is None:
            cfg.data[key] = choices[cfg.protocol]
    if cfg.data.get("masks") is not None:
        settle_mask(cfg.data.masks, cfg.protocol)
    if cfg.protocol == "official" and cfg.get("recipe") is None:
        cfg.recipe = RECIPES[0]


def settle_published(data: DictConfig, protocol: str) -> None:
    """Write down, in place, which films train and test, where nobody has named them: under official as published.

    Films that train were published of one split, and are not taken for those of another that the user names.
    """
    published = (data.get("published") or {}) if protocol == "official" else {}
    if data.get("split") not in (None, published.get("split")):
        published = {}
    for key, usual in USUAL.items():
        if data.get(key) is None:
            data[key] = published.get(key, usual)


def settle_mask(masks: DictConfig, protocol: str) -> None:
    """Write down, in place, which mask is read, where nobody has named it: under official as published."""
    if "mask" in masks and masks.mask is None:
        masks.mask = (masks.get("published") if protocol == "official" else None) or masks.get("usual")


def make_paths_absolute(node: DictConfig) -> None:
    """Let every path in the configuration, in place, mean the same from any folder: each text under PATH_KEYS."""
    for key, value in node.items():
        if isinstance(value, DictConfig):
            make_paths_absolute(value)
        elif key in PATH_KEYS and isinstance(value, str):
            node[key] = str(Path(value).absolute())


def pinned(cfg: DictConfig) -> DictConfig:
    """The settled configuration with the very file that teaches, and its sha256; about 1 s a GB.

    A run directory as teacher becomes the checkpoint that is its best now. Raises ConfigError where the run began
    with another file. One that is missing is left for the tokenizer to name.
    """
    weights = cfg.tokenizer.get("weights") if cfg.tokenizer is not None else None
    if not weights or not Path(weights).exists():
        return cfg
    from evax.checkpoints.weight_files import find_file

    file = find_file(weights)
    sha256, known = sha256_of(file), cfg.get("teacher_sha256")
    if known not in (None, sha256):
        raise ConfigError(
            f"tokenizer.weights={file}: its sha256 is {sha256[:12]}…, and the run began with {known[:12]}…; "
            "name a copy of that file by tokenizer.weights=, or start a new run"
        )
    cfg = cfg.copy()
    with open_dict(cfg):
        cfg.tokenizer.weights = cfg.model.tokenizer.weights = str(file)
        cfg.teacher_sha256 = sha256
    return cfg


def identified(cfg: DictConfig) -> DictConfig:
    """The configuration with the sha256 of the weights that the run starts from, where they are there."""
    weights = cfg.get("weights")
    if not isinstance(weights, str) or not Path(weights).exists():
        return cfg
    from evax.checkpoints.weight_files import find_file

    file = find_file(published_file(weights, cfg.backbone.get("published")))
    cfg = cfg.copy()
    with open_dict(cfg):
        cfg.weights_sha256 = sha256_of(file)
    return cfg


def best_precision(accelerator: str) -> str:
    """bf16 autocast where the device is faster so (`has_fast_bf16`), else float32."""
    import torch

    from evax.tokenizers.precision import has_fast_bf16

    device = torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    return "bf16-mixed" if has_fast_bf16(device) else "32-true"


def check_run_dir(key: str, run_dir: Path) -> None:
    """Refuse what is no run directory."""
    if not (run_dir / CONFIG).exists():
        above = next((each for each in run_dir.parents if (each / CONFIG).exists()), None)
        hint = f", {key}={above}" if above is not None and run_dir.exists() else ""
        raise ConfigError(f"{key}={run_dir}: there is no {CONFIG}; name a run directory{hint}")


def changed_keys(overrides: Sequence[str]) -> list[str]:
    """The keys that words of the command line change in a resumed run; ConfigError for one that may not change."""
    keys = []
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~").partition("@")[0].replace("/", ".")
        if key == "resume" or key.startswith("hydra."):
            continue
        if key.removeprefix("trainer.") in LIMITS:
            raise ConfigError(f"{key}: a run keeps it from its first step on; leave it out, or start a new run")
        if not f"{key}.".startswith(tuple(f"{allowed}." for allowed in RESUMABLE)):
            raise ConfigError(
                f"{key}: a resumed run keeps its saved configuration; only {', '.join(RESUMABLE)} may change"
            )
        keys.append(key)
    return keys


def resumed_config(cfg: DictConfig, run_dir: Path, overrides: Sequence[str]) -> DictConfig:
    """The configuration saved in `run_dir`, with the allowed overrides of the command line put over it."""
    check_run_dir("resume", run_dir)
    saved = OmegaConf.load(run_dir / CONFIG)
    assert isinstance(saved, DictConfig)
    if saved.get("then") is not None:
        saved.then.pop("precision", None)  # which earlier versions wrote; all scores are computed in float32
    for key in changed_keys(overrides):
        for part in (*(f"trainer.{part}" for part in PLACE), "cluster") if key == "trainer" else (key,):
            OmegaConf.update(saved, part, OmegaConf.select(cfg, part), merge=False, force_add=True)
        if key == "per_device_batch":
            saved.data.per_device_batch = cfg.per_device_batch
    check_config(saved, TRAIN_KEYS)
    check_trainer(saved.trainer)
    check_callbacks(saved)
    return settled(placed(for_cluster(saved)))
