"""Which file a folder means as weights: a run's best checkpoint, the weights of a hub's folder, or the only one."""

from pathlib import Path

from evax.checkpoints.errors import WeightsError
from evax.checkpoints.files import STEP_FILES, newest_valid
from evax.checkpoints.names import BEST, CHECKPOINTS, CONFIG

HUB_FILES = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")
CONFIG_JSON = "config.json"  # of a hub's folder
ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
# What is in the folder that a framework wrote in place of a file, and how to make a file of it
_FOREIGN = (
    ("zero_to_fp32.py", "it is a folder of DeepSpeed: python zero_to_fp32.py FOLDER FILE.pt makes a file of it"),
    ("global_step*/*model_states.pt", "it is a folder of DeepSpeed: its zero_to_fp32.py makes a file of it"),
    ("*.distcp", "its shards are of torch.distributed.checkpoint: dcp_to_torch_save(FOLDER, FILE.pt) joins them"),
    ("*.index.json", "its weights are in shards: join them by save_pretrained(FOLDER, max_shard_size='20GB')"),
    ("saved_model.pb", "it is a model of TensorFlow; save a PyTorch state dict"),
    ("snapshots", "it is a cache of the hub: give the folder in snapshots/"),
)


def file_in(folder: Path) -> Path:
    """The file of a folder's weights.

    A run directory gives its best or newest intact checkpoint, a folder of a hub its `model.safetensors`, and any other
    folder its only file of weights. Raises WeightsError that says what the folder is, or what to choose from.
    """
    for best in (folder / BEST, folder / CHECKPOINTS / BEST):
        if best.is_file():
            return best
    newest = newest_valid(folder / CHECKPOINTS)
    if newest is not None:
        return newest
    nothing = f"weights={folder}: no {BEST} and no intact {CHECKPOINTS}/{STEP_FILES}"
    if (folder / CONFIG).is_file():
        raise WeightsError(f"{nothing}; name a file")
    for hub in HUB_FILES:
        if (folder / hub).is_file():
            return folder / hub
    for pattern, told in _FOREIGN:
        if any(folder.glob(pattern)):
            raise WeightsError(f"weights={folder}: {told}")
    found = [path for place in (folder, folder / CHECKPOINTS) for path in _files(place)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.relative_to(folder).as_posix() for path in found[:3])
        raise WeightsError(f"weights={folder}: it has {len(found)} files of weights ({names}, ...); name one of them")
    raise WeightsError(f"{nothing}, nor {HUB_FILES[0]}; name a file")


def _files(folder: Path) -> list[Path]:
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if path.suffix.lower() in ENDINGS and path.is_file()]
