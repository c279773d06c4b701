"""What kind of file a weight file is, by its content; its name tells nothing."""

import re
import zipfile
from pathlib import Path

from evax.checkpoints.errors import WeightsError
from evax.data.contents import HEAD, mistaken

ZIP = b"PK\x03\x04"
PICKLED = "it is pickled in a way that is not read; save it by torch.save(STATE, FILE), without pickle_protocol"
NEWEST_PROTOCOL = 3  # of pickles that torch reads without running code
_SAVE = "save the weights alone: torch.save(model.state_dict(), FILE)"
_PACKED = "it is packed; unpack it and give the file in it"
_BEGINNINGS = (
    (b"\x89HDF", "it is HDF5, as Keras and TensorFlow write weights; save a PyTorch state dict"),
    (b"\x93NUMPY", "it is an array of numpy; save a PyTorch state dict"),
    (b"GGUF", "it is GGUF; take the model's .safetensors"),
    *((beginning, _PACKED) for beginning in (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf")),
)
_ENDINGS = {  # of kinds whose content tells less
    ".onnx": f"it is ONNX, a program with its weights; where it was made, {_SAVE}",
    ".pb": "it is a graph of TensorFlow; save a PyTorch state dict",
    ".tflite": "it is TensorFlow Lite; save a PyTorch state dict",
    ".json": "it describes weights and holds none; give the file of the weights, or its folder",
}
_SHARD = re.compile(r"-\d{5}-of-(?!00001)\d{5}\.\w+$")  # as the hub numbers them
_JOIN = "join all into one .safetensors, as save_pretrained(FOLDER, max_shard_size='20GB') does"


def check_kind(file: Path) -> None:
    """Raise WeightsError for a file that can hold no weights that are read: what it is, and the fix."""
    with file.open("rb") as opened:
        head = opened.read(HEAD)
    told = mistaken(head) or _told_by_zip(file, head) or _told_otherwise(file, head)
    if told:
        raise WeightsError(f"cannot read {file}: not a file of tensors; {told}")


def is_safetensors(file: Path) -> bool:
    """Whether a file is safetensors, or is called so and is nothing else."""
    with file.open("rb") as opened:
        head = opened.read(9)
    is_header = head[8:] == b"{" and int.from_bytes(head[:8], "little") < file.stat().st_size
    return is_header or (file.suffix == ".safetensors" and not head.startswith((ZIP, b"\x80")))


def _told_otherwise(file: Path, head: bytes) -> str | None:
    told = next((told for beginning, told in _BEGINNINGS if head.startswith(beginning)), None)
    if told or head[257:262] == b"ustar":
        return told or _PACKED
    if file.name.endswith(".index.json"):
        return f"it lists shards; {_JOIN}"
    if _SHARD.search(file.name):
        return f"it is one shard of several; {_JOIN}"
    return _ENDINGS.get(file.suffix.lower())


def _told_by_zip(file: Path, head: bytes) -> str | None:
    """What a zip archive is where `torch.save` has not written it."""
    if not head.startswith(ZIP):
        return None
    if not zipfile.is_zipfile(file):
        return "its end is missing: it was cut short; fetch it again"
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            protocols = [archive.open(name).read(2)[1:] for name in names if name.endswith("/data.pkl")]
    except Exception:  # a damaged list of contents, which is named where the file is checked
        return None
    inner = {name.partition("/")[2] or name for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return (
            "it is a TorchScript archive, a program with its weights; "
            "save those alone: torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE)"
        )
    if any("exported_program" in name or name.endswith("models/model.json") for name in names):
        return f"it is a program of torch.export; where it was made, {_SAVE}"
    if any(name.endswith(".weights.h5") for name in names):
        return "it is a model of Keras; save a PyTorch state dict"
    if any(protocol > bytes([NEWEST_PROTOCOL]) for protocol in protocols):
        return PICKLED
    if all(name.endswith(".npy") for name in names):
        return "it is an archive of numpy arrays; save a PyTorch state dict"
    return None if "data.pkl" in inner else "it is a zip archive that torch.save did not write; unpack it"
