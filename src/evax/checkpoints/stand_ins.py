"""Python objects beside the tensors of a file: none is ever built; those that only hold data become stand-ins."""

import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from evax.checkpoints.errors import quote

# Dictionaries and lists by other names, whose items are read: the weights may be among them.
_DICTS = re.compile(
    r"collections\.defaultdict|easydict\.EasyDict|addict\.(?:addict\.)?Dict|yacs\.config\.CfgNode"
    r"|(?:pytorch_lightning|lightning_fabric|lightning)\.[\w.]*\.AttributeDict|mmengine\.config\.config\.ConfigDict"
)
_LISTS = re.compile(r"collections\.deque")
# Numbers, paths, dates and settings: they say something about the weights, and are none.
_DATA = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|typing\.\w+|uuid\.UUID|decimal\.Decimal|fractions\.Fraction"
    r"|builtins\.(?:bool|bytearray|bytes|complex|dict|float|frozenset|int|list|range|set|slice|str|tuple)"
    r"|datetime\.\w+|pathlib\.\w+|zoneinfo\.ZoneInfo(?:\._unpickle)?"
    r"|numpy\.(?:dtype|ndarray|(?:_core|core)\.multiarray\.(?:scalar|_reconstruct)|dtypes\.\w+|bool_?|str_|bytes_)"
    r"|numpy\.u?(?:int|float|complex)\d+|numpy\.random\.(?:_pickle|_pcg64|_mt19937|bit_generator|mtrand)\.\w+"
    r"|omegaconf\.[\w.]+|(?:pytorch_lightning|lightning)\.[\w.]*callbacks\.[\w.]+"
    r"|mmengine\.logging\.history_buffer\.HistoryBuffer"
)
_MODULES = re.compile(r"torch\.nn\.modules\.|torch\.fx\.|timm\.models\.|torchvision\.models\.")
_CODE = re.compile(  # what a pickle that attacks its reader calls
    r"(?:os|posix|nt|sys|io|subprocess|commands|shutil|socket|pty|runpy|importlib|ctypes|code|pickle|webbrowser|operator)\."
    r"|builtins\.(?!getattr$)"
)
_NUM_PICKLES = 4  # in a file of torch.save's former format: magic number, version, system, content
# Names of Python 2, by which torch.save's pickles still call some types
_FORMER = {
    "__builtin__.long": "builtins.int",
    "__builtin__.xrange": "builtins.range",
    "__builtin__.unicode": "builtins.str",
}


class StandIn:
    """An object that was not built; its class has the object's name."""

    def __new__(cls, *_arguments: Any, **_settings: Any) -> Any:
        """Whatever it is made of is passed over."""
        return object.__new__(cls)

    def __init__(self, *_arguments: Any, **_settings: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class _DictStandIn(StandIn):
    def __new__(cls, *_arguments: Any, **_settings: Any) -> Any:
        return OrderedDict()  # the one dictionary whose attributes torch's reader sets as well


class _ListStandIn(StandIn):
    def __new__(cls, *_arguments: Any, **_settings: Any) -> Any:
        return []


def stand_ins(file: Path) -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What `torch.serialization.safe_globals` takes for a file: a stand-in for each name in it that is only data."""
    kinds = ((_DICTS, _DictStandIn), (_LISTS, _ListStandIn), (_DATA, StandIn))
    found: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = []
    for name in _names_in(file):
        base = next((kind for pattern, kind in kinds if pattern.fullmatch(name)), None)
        if base is not None:
            found.append((type(name, (base,), {}), name))
    return found


def why_not(names: Iterable[str]) -> str:
    """Why a file that needs these names is not read, and what helps."""
    names = sorted(names)
    alone = "where it was made, save its weights alone: torch.save(model.state_dict(), FILE)"
    if code := [name for name in names if _CODE.match(name)]:
        what = "and only tensors and plain types are read; do not trust it, ask for it as .safetensors"
        return f"it wants to run code ({quote(code)}), {what}"
    if modules := [name for name in names if _MODULES.match(name)]:
        return f"it holds a whole model or a part of one ({quote(modules)}), which only its code could build; {alone}"
    return f"it holds objects of its author's code ({quote(names)}), which are never built; {alone}"


def _names_in(file: Path) -> list[str]:
    """The names that a file of `torch.save` refers to; none where it cannot be told."""
    try:
        if zipfile.is_zipfile(file):
            return torch.serialization.get_unsafe_globals_in_checkpoint(file)
        with file.open("rb") as pickles:
            operations = [each for _ in range(_NUM_PICKLES) for each in pickletools.genops(pickles)]
    except Exception:  # arbitrary bytes raise nearly anything; the reader says what is wrong with them
        return []
    names = {str(words).replace(" ", ".") for code, words, _ in operations if code.name == "GLOBAL"}
    return sorted(_FORMER.get(name, name.replace("__builtin__.", "builtins.")) for name in names)
