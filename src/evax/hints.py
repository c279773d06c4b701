"""What a misspelt name was meant to be, and what people who come from other tools type for it."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

LONG_LIST, CATALOGUE = 20, 100  # names: shown whole without a close match; never shown whole
NUM_NEAREST = 3
CLOSE = 0.75  # likeness of names that do not stand beside each other

# Other tools' names of a key, and what may stand for it, of which the first that a command has is meant.
KEYS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lr", "learning_rate", "base_lr", "blr"), ("optim.lr",)),
    **dict.fromkeys(("min_lr", "lr_min"), ("optim.final_lr",)),
    **dict.fromkeys(("wd", "decay"), ("optim.weight_decay",)),
    **dict.fromkeys(("warmup", "warmup_steps"), ("optim.warmup_epochs",)),
    **dict.fromkeys(("epochs", "num_epochs", "n_epochs", "epoch", "max_steps", "steps"), ("trainer.max_epochs",)),
    **dict.fromkeys(("gpus", "gpu", "num_gpus", "ngpu", "n_gpus", "num_devices"), ("trainer.devices",)),
    **dict.fromkeys(("nodes",), ("trainer.num_nodes",)),
    **dict.fromkeys(("device", "cuda", "cpu"), ("trainer.accelerator",)),
    **dict.fromkeys(("amp", "fp16", "bf16", "dtype"), ("trainer.precision", "precision")),
    **dict.fromkeys(("grad_clip", "clip_grad", "max_grad_norm"), ("trainer.gradient_clip_val",)),
    **dict.fromkeys(("val_every", "eval_every"), ("trainer.check_val_every_n_epoch",)),
    **dict.fromkeys(("mask_ratio", "masking_ratio", "mask"), ("masking.ratio",)),
    **dict.fromkeys(("batch", "bs", "batchsize", "global_batch_size", "train_batch_size"), ("batch_size",)),
    **dict.fromkeys(("micro_batch", "micro_batch_size", "batch_size_per_gpu"), ("per_device_batch",)),
    **dict.fromkeys(("accumulate", "accum_iter", "accumulate_grad_batches"), ("per_device_batch",)),
    **dict.fromkeys(("size", "img_size", "input_size", "resolution", "img"), ("image_size",)),
    **dict.fromkeys(("image_size",), ("image_size", "size")),
    **dict.fromkeys(("workers", "num_worker", "n_workers"), ("data.num_workers", "workers")),
    **dict.fromkeys(("pack_dir", "data_dir", "data_path"), ("raw_dir", "data.pack")),
    **dict.fromkeys(("raw", "root", "input"), ("raw_dir",)),
    **dict.fromkeys(("dataset", "data_set"), ("data",)),
    **dict.fromkeys(("arch", "encoder", "network"), ("backbone",)),
    **dict.fromkeys(("teacher", "target"), ("tokenizer",)),
    **dict.fromkeys(("optimizer", "optimiser"), ("optim",)),
    **dict.fromkeys(("ckpt", "checkpoint", "pretrained", "init", "finetune"), ("weights",)),
    **dict.fromkeys(("resume_from", "continue"), ("resume",)),
    **dict.fromkeys(("exp", "config"), ("experiment",)),
    **dict.fromkeys(("output", "out", "output_dir", "out_dir", "save_dir"), ("hydra.run.dir",)),
    **dict.fromkeys(("run_dir", "model_path"), ("run", "weights")),
    **dict.fromkeys(("image", "folder", "films"), ("images",)),
    **dict.fromkeys(("method",), ("methods",)),
    **dict.fromkeys(("wandb", "use_wandb"), ("logger=wandb",)),
    **dict.fromkeys(("tensorboard",), ("logger=tensorboard",)),
    **dict.fromkeys(("ema", "use_ema"), ("callbacks=ema",)),
    **dict.fromkeys(("slurm",), ("trainer=slurm",)),
    **dict.fromkeys(("ddp",), ("trainer=ddp",)),
    **dict.fromkeys(("dry_run", "estimate"), ("plan=true",)),
    **dict.fromkeys(("lora",), ("adapt=lora",)),
    **dict.fromkeys(("linear_probe",), ("adapt=linear",)),
}
SIZES = {  # of EVA-X, as other tools write them
    **dict.fromkeys(("vit_ti", "vit_tiny", "vit_t", "tiny", "eva_x_ti", "eva_x_t", "ti"), "eva_x_tiny"),
    **dict.fromkeys(("vit_s", "vit_small", "small", "eva_x_s", "s"), "eva_x_small"),
    **dict.fromkeys(("vit_b", "vit_base", "vit", "base", "eva_x_b", "b"), "eva_x_base"),
}
# By group: other names of a choice. A choice of another group is written with it.
CHOICES: dict[str, dict[str, str]] = {
    "backbone": SIZES,
    "model": {
        **{name: f"backbone={choice}" for name, choice in SIZES.items()},
        **{choice: f"backbone={choice}" for choice in SIZES.values()},
        **dict.fromkeys(("classification", "cls"), "classifier"),
        **dict.fromkeys(("segmentation", "seg", "upernet"), "segmenter"),
        **dict.fromkeys(("pretrain", "mae", "pretraining", "masked_image_modelling"), "mim"),
    },
    "data": {
        **dict.fromkeys(("nih", "nih14", "nih_cxr14", "chestxray14", "chest_xray14", "chestx-ray14"), "cxr14"),
        **dict.fromkeys(("chestxray", "chestxray8", "nih-chest-xrays"), "cxr14"),
        **dict.fromkeys(("mimic_cxr", "mimic-cxr", "mimic_cxr_jpg", "mimiccxr"), "mimic"),
        **dict.fromkeys(("covidx", "covid"), "covidx3"),
        **dict.fromkeys(("pneumothorax", "siim_acr"), "siim"),
        **dict.fromkeys(("pneumonia",), "rsna"),
        **dict.fromkeys(("tuberculosis", "tb"), "shenzhen"),
        **dict.fromkeys(("demo", "synthetic"), "phantom"),
        **dict.fromkeys(("custom", "own"), "folder"),
    },
    "tokenizer": dict.fromkeys(("mgca",), "mgca_vit_b")
    | dict.fromkeys(("eva_clip", "clip"), "eva_clip_b")
    | dict.fromkeys(("pixel", "mae"), "pixels"),
    "masking": {"random": "uniform", "block": "blockwise"},
    "logger": {"wb": "wandb", "tb": "tensorboard"},
    "adapt": {"linear_probe": "linear", "finetune": "full"},
    "optim": dict.fromkeys(("adamw", "adam"), "eva_x"),
}
# Choices that are only the beginning of others, or need a name of their own: never a hint.
BASES = {"backbone": ("eva_x", "timm"), "tokenizer": ("timm",), "data": ("pack", "masked")}

OF_FOLDERS = ("raw_dir", "run")  # what a path alone stands for, where a command has it

# Hydra's own options; those of the second line take a word.
FLAGS: tuple[str, ...] = ("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m")
FLAGS += ("--shell-completion", "-sc")
TAKING: tuple[str, ...] = (
    "--cfg",
    "-c",
    "--package",
    "-p",
    "--config-path",
    "-cp",
    "--config-name",
    "-cn",
    "--config-dir",
    "-cd",
)
TAKING += ("--experimental-rerun", "--info", "-i")


def nearest(name: str, valid: Iterable[Any]) -> str:
    """A hint such as "did you mean 'ratio'? (valid: ratio, topup)"; a long list gives way to a close match."""
    options = sorted({str(option) for option in valid if not str(option).startswith("_")})
    close = difflib.get_close_matches(name, options, n=1)
    if close and len(options) > LONG_LIST:
        return f"did you mean '{close[0]}'?"
    if len(options) > CATALOGUE:
        return f"the nearest are {', '.join(difflib.get_close_matches(name, options, n=NUM_NEAREST, cutoff=0.0))}"
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}(valid: {', '.join(options) or 'none'})"


def nearest_choice(group: str, name: str, valid: Iterable[str]) -> str:
    """The hint for a choice of a group that there is not; a base of other choices is none."""
    options = [each for each in valid if each not in BASES.get(group, ())]
    known = CHOICES.get(group, {}).get(name.lower())
    if known is not None and ("=" in known or known in options):
        return f"did you mean '{known}'?"
    return nearest(name, options)


def nearest_key(name: str, beside: Iterable[Any], everywhere: Sequence[str]) -> str:
    """The hint for a key that there is not: another tool's name of one, one of its name elsewhere, or one `beside`.

    `everywhere` are all keys of the command by their full names ("optim.lr").
    """
    meant = meant_key(name, everywhere)
    if meant is not None:
        return f"did you mean '{meant}'?"
    siblings = [str(each) for each in beside]
    if not difflib.get_close_matches(name, siblings, n=1):
        leaves = {key.rpartition(".")[2] for key in everywhere}
        leaves |= {name for name, keys in KEYS.items() if "=" not in keys[0]}
        for close in difflib.get_close_matches(name, sorted(leaves), n=NUM_NEAREST, cutoff=CLOSE):
            if meant := meant_key(close, everywhere):
                return f"did you mean '{meant}'?"
    return nearest(name, siblings)


def meant_key(name: str, everywhere: Sequence[str]) -> str | None:
    """The key that another tool calls `name`, or the one nearest to the root that is called so; None without any."""
    name = name.replace("-", "_")
    known = next((key for key in KEYS.get(name.lower(), ()) if key.partition("=")[0] in everywhere), None)
    found = sorted((key for key in everywhere if key.rpartition(".")[2] == name), key=lambda key: key.count("."))
    return known or (found[0] if found else None)


def misread(words: Sequence[str], everywhere: Sequence[str]) -> str | None:
    """Of the words of a command line the first that Hydra would take for something else, and how to write it.

    `everywhere` are the keys that the command has, as far as they are known before it is composed.
    """
    place = 0
    while place < len(words):
        word, following = words[place], words[place + 1] if place + 1 < len(words) else None
        name = word.partition("=")[0]
        is_flag = word in FLAGS and not (word == "--run" and _is_value(following))
        if name in TAKING:
            place += 1 if "=" in word or not _is_value(following) else 2
        elif is_flag:
            place += 1
        elif word.startswith("-"):
            return _with_dashes(word, following, everywhere)
        elif told := _with_blanks(words, place, everywhere):
            return told
        else:
            place += 1
    return None


def _is_value(word: str | None) -> bool:
    """Whether a word can be the value of the one before it: neither an option nor KEY=VALUE."""
    return word is not None and "=" not in word and (not word.startswith("-") or word[1:2].isdigit())


def _with_dashes(word: str, following: str | None, everywhere: Sequence[str]) -> str:
    """What to write in place of --KEY VALUE, --KEY=VALUE or -KEY."""
    name, is_given, value = word.lstrip("-").partition("=")
    typed = word
    if not is_given and _is_value(following):
        value, typed = str(following), f"{word} {following}"
    name = name.replace("-", "_")
    key = name if name in everywhere or "." in name else meant_key(name, everywhere)
    if key is None:
        close = difflib.get_close_matches(word, [*FLAGS, *TAKING], n=1, cutoff=CLOSE)
        hint = f" (did you mean {close[0]}?)" if close and close[0] != word else ""
        return f"{typed}: no such option{hint}; settings are written KEY=VALUE without dashes, --help lists them"
    return f"{typed}: write {key}" if "=" in key else f"{typed}: write {key}={value or 'VALUE'}"


def _with_blanks(words: Sequence[str], place: int, everywhere: Sequence[str]) -> str | None:
    """What to write in place of KEY VALUE, KEY = VALUE, or a list with blanks outside quotes."""
    word, following = words[place], words[place + 1 : place + 3]
    if "=" not in word and "/" in word and (key := next((key for key in OF_FOLDERS if key in everywhere), None)):
        return f"{word}: write {key}={word}"
    apart = re.fullmatch(r"([\w.@/]+)(\s*)=(\s*)(.+)", word)
    if apart and (apart[2] or apart[3]):
        return f"{word}: write {apart[1]}={apart[4]}"
    if not following:
        return None
    if word.endswith("=") and word != "=" and _is_value(following[0]):
        return f"{word} {following[0]}: write {word}{following[0]}"
    if "=" not in word and following[0].startswith("="):
        value = following[0][1:] or "".join(following[1:])
        return f"{word} {' '.join(following[: 1 if following[0] != '=' else 2])}: write {word}={value}"
    if word.count("[") > word.count("]"):
        together = word
        for each in words[place + 1 :]:
            together += each
            if together.count("[") == together.count("]"):
                return f"{word} …: has blanks; write '{together}'"
    if "=" not in word and not word.startswith("~") and _is_value(following[0]):
        key = word if word in everywhere else meant_key(word, everywhere)
        if key is not None and "=" not in key:
            return f"{word} {following[0]}: write {key}={following[0]}"
    return None
