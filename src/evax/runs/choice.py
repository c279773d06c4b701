"""Under which protocol the checkpoint of a file or run was chosen: on validation films, or on test films."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evax.checkpoints.classifiers import is_classifier
from evax.checkpoints.errors import WeightsError
from evax.checkpoints.export import run_config, start_of
from evax.checkpoints.segmenters import FIELD
from evax.checkpoints.weight_files import find_file, read_content, under_timm_names
from evax.runs.progress import incomplete, notes_on_progress


class Choice(NamedTuple):
    """The protocol and recipe of a training, and what must be said of them."""

    protocol: str
    recipe: str
    notes: list[str]


def choice_of(weights: Path, *, key: str | None = None) -> Choice:
    """How `weights`, a run or a file, were chosen: by its run's configuration, or by what lies beside its tensors.

    EVA-X's fine-tuned files tell neither protocol nor classes, and are those of the best epochs on the test films.
    Files that hold no classes, such as of pre-training, are chosen on no labels. `key` names the container in a file.
    The notes also tell of a training that is not complete.
    """
    choice = _choice_of(find_file(weights), key)
    return choice._replace(notes=[*choice.notes, *notes_on_progress(weights)])


def _choice_of(file: Path, key: str | None) -> Choice:
    run = run_config(file)
    if run.get("protocol"):
        return Choice(run["protocol"], run.get("recipe") or "", [])
    content = read_content(file, key=key)
    told = content.beside
    if told.get("protocol"):
        return Choice(told["protocol"], told.get("recipe") or "", [])
    if told.get("classes") or told.get(FIELD):
        untold = f"{file.name} does not tell how it was chosen; taken for chosen on validation films"
        return Choice("clean", "", [untold])
    is_published = is_classifier(content, under_timm_names(content))
    return Choice("official", "code", []) if is_published else Choice("clean", "", [])


def notes_on_start(run: Mapping[str, Any]) -> list[str]:
    """What must be said of the weights that a run of this configuration began from, and of those before them."""
    file = start_of(run)
    if file is None:
        return []
    earlier = notes_on_start(run_config(file))
    try:
        choice = choice_of(file, key=(run.get("backbone") or {}).get("weights_key"))
    except WeightsError:
        return [*earlier, f"began from {file.name}, which cannot be read any more: how it was chosen is not known"]
    earlier += [f"began from {file.name}: {note}" for note in incomplete(choice.notes)]
    if choice.protocol != "official":
        return earlier
    told = f"began from {file.name}, which test films chose (protocol=official): those may be among the films here"
    return [*earlier, told]
