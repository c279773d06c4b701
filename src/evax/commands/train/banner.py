"""What a run says of itself before its first step and after its last one."""

from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch import Trainer
from omegaconf import DictConfig
from torch import nn

from evax.checkpoints.index import read_index
from evax.checkpoints.names import BEST
from evax.data.module import PackDataModule
from evax.progress import duration
from evax.runs.settings import is_segmenter, is_supervised

SIZES = {"eva_x_tiny": "vit_ti", "eva_x_small": "vit_s", "eva_x_base": "vit_b"}  # in the names of experiments
SPLITS = ("train", "val", "test")


def banner(cfg: DictConfig, run_dir: Path, data: PackDataModule, task: nn.Module, trainer: Trainer) -> str:
    """Where a run is and what it is made of, a line each."""
    world, steps = trainer.world_size, data.steps_per_epoch
    accumulation = data.accumulation(world)
    share = data.batch_size // world // accumulation
    times = f" x {accumulation} accumulated" if accumulation > 1 else ""
    device = trainer.strategy.root_device.type
    name = cfg.backbone.get("name") or type(task.backbone).__name__
    lines = {
        "run": short(run_dir),
        "images": images_told(data),
        "model": f"{name} at {data.image_size} pixels, {parameters_told(task)}",
        "steps": f"{trainer.max_epochs} epochs of {steps:,} = {(trainer.max_epochs or 0) * steps:,} steps",
        "batch": f"{data.batch_size} = {world} device{'s' * (world > 1)} x {share} images{times}",
        "device": f"{device}, {trainer.precision} (training); scores are float32",
        "then": then_told(cfg.get("then")),
    }
    return "\n".join(f"{name:<8}{text}" for name, text in lines.items() if text)


def short(path: Path) -> str:
    """A path as it is typed from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def images_told(data: PackDataModule) -> str:
    """Which images train, and how many there are in each split."""
    counts = [f"{int(data.pack.is_in(data.split, (split,)).sum()):,} {split}" for split in SPLITS if data.holds(split)]
    part = f", a fraction of {data.fraction:g}" if data.fraction < 1 else ""
    trained = f"trains on {len(data.train_rows):,} ({' + '.join(data.fit_on)}{part})"
    return f"{short(Path(data.pack.folder).absolute())}, split {data.split}: {', '.join(counts)}; {trained}"


def parameters_told(task: nn.Module) -> str:
    """The parameters that the task brings and that it trains; a teacher is none of them."""
    owned = [each for name, each in task.named_parameters() if "tokenizer" not in name]
    every, trained = (sum(each.numel() for each in owned if each.requires_grad or is_all) for is_all in (True, False))
    part = "" if trained == every else f", of which {in_millions(trained)} are trained"
    return f"{in_millions(every)} parameters{part}"


def in_millions(count: int) -> str:
    """A number of parameters as people say it."""
    return f"{count / 1e6:,.1f} M" if count >= 1e5 else f"{count:,}"


def then_told(then: DictConfig | None) -> str:
    """What follows the run."""
    if then is None:
        return ""
    return "a probe of frozen features, before and after" if then.get("experiment") is None else str(then.experiment)


def ending(cfg: DictConfig, run_dir: Path, scores: Mapping[str, float], seconds: float) -> str:
    """How a run ended: its best checkpoint, its test score, and the commands that may follow."""
    monitor = cfg.callbacks.checkpointing.monitor if cfg.callbacks.get("checkpointing") else None
    entry = read_index(run_dir).get(BEST)
    lines = [f"finished {short(run_dir)} in {duration(seconds)}"]
    if entry is not None:
        value = "" if entry.metric is None else f"{monitor} {entry.metric:.4f} at "
        lines.append(f"best: {value}step {entry.step:,}, {short(run_dir / BEST)}")
    lines += [f"{name} {value:.4f}" for name, value in scores.items() if name.startswith("test/")]
    commands = following(cfg, run_dir)
    return "\n".join([*lines, *(f"next: {command}" for command in commands)])


def following(cfg: DictConfig, run_dir: Path) -> list[str]:
    """The commands that a finished run is for."""
    run = short(run_dir)
    if is_supervised(cfg):
        predict = f"python -m evax.predict --weights {run} --images FOLDER"
        return [predict] if is_segmenter(cfg) else [predict, f"python explain.py weights={run} images=FOLDER"]
    probe = [] if cfg.get("then") is not None else [f"python evaluate.py run={run}"]
    return probe + ([f"python train.py {finetuning(cfg)} weights={run}"] if finetuning(cfg) else [])


def finetuning(cfg: DictConfig) -> str:
    """The words of a fine-tuning that a pre-trained backbone fits; none of a backbone that none is for."""
    size, data = SIZES.get(cfg.backbone.get("name")), str(cfg.data["_target_"]).rpartition(".")[2]
    if size is None:
        return ""
    if data == "PhantomData":
        return "experiment=demo_finetune" if size == "vit_ti" else ""
    if data == "ChestXray14Data" and (cfg.data.split == "sample" or cfg.name.startswith("sample")):
        split = "" if cfg.data.split == "sample" else f" data.split={cfg.data.split}"
        return f"experiment=sample_finetune{split}" if size == "vit_ti" else ""
    return f"experiment=finetune_cxr14_{size}"
