"""`evaluate.py compare=[A,B]`: two methods on the same test films, each of one run or of several with other seeds."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from omegaconf import DictConfig, ListConfig, OmegaConf

from evax.checkpoints.weight_files import CONFIG
from evax.config import EVALUATE_KEYS, ConfigError, check_config, instantiate
from evax.data.atomic import write_json
from evax.data.labels import LabelPolicy
from evax.data.module import PackDataModule
from evax.evaluation.comparison import Comparison, Table, compare_tables
from evax.evaluation.mask_tables import compare_mask_tables
from evax.evaluation.predictions import finding_columns, ids_digest
from evax.evaluation.study import LabelledFilms
from evax.report.canvas import stamped
from evax.report.comparison import describe_comparison, draw_comparison, draw_sides
from evax.report.seeds import differing_key
from evax.runs.progress import incomplete, notes_on_progress
from evax.runs.record import PREDICTIONS, RESULT, command_line, commit
from evax.runs.subject import read_run

log = logging.getLogger(__name__)

TEST = Path("predictions") / "test.parquet"  # of a classifier's run; an evaluation has PREDICTIONS
KEYS = ("compare", "names", "draws", "seed")
POLICY = ("uncertain", "missing", "per_class")  # of data.labels: what a label means, whichever findings are classes
COMPARISON, FIGURES = "comparison.json", "figures"


class Scored(NamedTuple):
    """A folder with a results.json: its content, its predictions, and the run whose pack holds the labels."""

    folder: Path
    result: dict[str, Any]
    predictions: Path
    run: Path


def compare(cfg: DictConfig, output_dir: str | Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Write comparison.json and its figures: first minus second of `cfg.compare`, per finding and in the mean.

    `overrides` are the user's words on the command line; those that describe another evaluation are refused.
    """
    check_config(cfg, EVALUATE_KEYS)
    output_dir = Path(output_dir)
    if strange := [word for word in overrides if word.lstrip("+~").partition("=")[0] not in KEYS]:
        raise ConfigError(f"{strange[0]}: compare= reads what was scored before; only {', '.join(KEYS)} are for it")
    first, second = (runs_of(cfg.compare, place) for place in (0, 1))
    every = [*first, *second]
    names = chosen_names(cfg, first, second)
    tables = (table_of(names[0], first), table_of(names[1], second))
    for runs in (first, second):
        check_seeds(runs)
    of_masks = [run.result.get("task") == "segmentation" for run in every]
    if all(of_masks):
        found = masks_compared(every, tables, num_draws=cfg.draws, seed=cfg.seed)
        headline = {"metric": "pooled Dice", "dice_pooled": headlines(first, second, "dice_pooled")}
    elif any(of_masks):
        raise ConfigError("compare: some of the runs segment and some do not; compare runs of one task")
    else:
        films, findings = labelled_films(every)
        found = compare_tables(*tables, films, findings, num_draws=cfg.draws, seed=cfg.seed)
        found = replace(found, not_scored=found.not_scored | left_out(every, findings))
        headline = {"auroc_macro": headlines(first, second, "auroc_macro")}
    facts = {
        "data": first[0].result["data"],
        "protocol": tables[0].protocol,
        "recipe": tables[0].recipe,
        **headline,
        "num_train": first[0].result["num_train"],
        "rival_num_train": second[0].result["num_train"],
        "num_films": first[0].result["num_test"],
        "num_patients": first[0].result["num_test_patients"],
        "commit": commit(),
        "command": command_line(),
        "notes": notes_on_runs(every),
    }
    text = write_comparison(found.to_json() | facts, output_dir)
    log.info("%s\nwritten: %s", text.rstrip(), output_dir / COMPARISON)
    return {"test/difference": found.difference.macro.value}


def notes_on_runs(runs: Sequence[Scored]) -> list[str]:
    """What must be said of runs whose training is not complete, or was not when they were scored."""
    found: dict[str, None] = {}
    for run in runs:
        now = notes_on_progress(run.run) if (run.run / CONFIG).exists() else []
        found |= {f"{run.result['name']}: {note}": None for note in [*incomplete(run.result["notes"]), *now]}
    return list(found)


def headlines(first: Sequence[Scored], second: Sequence[Scored], name: str) -> list[list[float | None]]:
    """The score of every run of the two methods."""
    of_masks = "scores" in first[0].result
    return [
        [(run.result["scores"][name]["mean"] if of_masks else run.result[name])["value"] for run in runs]
        for runs in (first, second)
    ]


def masks_compared(runs: Sequence[Scored], tables: tuple[Table, Table], *, num_draws: int, seed: int) -> Comparison:
    """The comparison of segmentations of the same films into the same classes; else ConfigError."""
    for run in runs:
        for field, what in (("test_ids_digest", "scored other test films"), ("classes", "segments other classes")):
            if run.result[field] != runs[0].result[field]:
                raise ConfigError(f"compare={run.folder}: it {what} than {runs[0].folder}")
    return compare_mask_tables(*tables, runs[0].result["classes"], num_draws=num_draws, seed=seed)


def runs_of(compared: Any, place: int) -> list[Scored]:
    """The runs of one method; ConfigError where the key has another form, or a folder no scores."""
    if not isinstance(compared, ListConfig) or len(compared) != 2:
        raise ConfigError(f"compare={compared}: give two runs, compare=[A,B], or two lists of runs over seeds")
    chosen = compared[place]
    folders = [Path(each) for each in (chosen if isinstance(chosen, ListConfig) else [chosen])]
    if not folders:
        raise ConfigError("compare: a list of runs is empty")
    return [scored(folder) for folder in folders]


def scored(folder: Path) -> Scored:
    """A classifier's run, or an evaluation inside a run."""
    if not (folder / RESULT).exists():
        raise ConfigError(f"compare={folder}: there is no {RESULT}; name a classifier's run or RUN/evaluation/NAME")
    result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    is_evaluation = folder.parent.name == "evaluation"
    run = folder.parent.parent if is_evaluation else folder
    if (folder / TEST).exists():
        return Scored(folder, result, folder / TEST, run)
    if not (folder / PREDICTIONS).exists() or not is_evaluation:
        raise ConfigError(f"compare={folder}: there are no predictions; name a classifier's run or RUN/evaluation/NAME")
    return Scored(folder, result, folder / PREDICTIONS, run)


def labelled_films(runs: Sequence[Scored]) -> tuple[LabelledFilms, list[str]]:
    """The test films of all runs, and the findings that each has scored.

    Raises ConfigError where there are none, and where labels mean something else to one of the runs.
    """
    shared = [name for name in runs[0].result["findings"] if all(name in finding_columns(r.predictions) for r in runs)]
    if not shared:
        raise ConfigError("compare: the runs have no finding in common")
    check_labels(runs)
    owner = next((run.run for run in runs if (run.run / CONFIG).exists()), None)
    if owner is None:
        raise ConfigError("compare: none of the folders is a run, or in one, that could tell the labels; add a run")
    data: PackDataModule = instantiate(read_run(owner).data)
    rows = data.rows("test")
    ids = np.array(data.pack.texts("image_id", rows))
    for run in runs:
        if run.result["test_ids_digest"] != ids_digest(ids):
            raise ConfigError(f"compare={run.folder}: it scored other test films than {runs[0].folder}")
    patients = np.array(data.pack.texts("patient_id", rows))
    policy, findings = data.labels or LabelPolicy(), data.pack.findings  # pre-training has none: as probes take them
    targets, is_known = policy.targets(np.asarray(data.pack.labels)[rows], findings, soft=False)
    columns = [policy.classes(findings).index(name) for name in shared]
    return LabelledFilms(ids, patients, targets, is_known).only(columns), shared


def left_out(runs: Sequence[Scored], shared: Sequence[str]) -> dict[str, str]:
    """The findings that not every run has scored, and why the first such run has not."""
    found: dict[str, str] = {}
    for run in runs:
        told = run.result.get("not_scored") or {}
        names = [*told, *(name for each in runs for name in each.result["findings"])]
        lost = {name: told.get(name, f"not scored by {run.result['name']}") for name in names}
        found |= {name: why for name, why in lost.items() if name not in (*shared, *found, *run.result["findings"])}
    return found


def settings_of(run: Scored) -> dict[str, Any] | None:
    """The saved settings of a run, None where its folder holds none."""
    return cast("dict[str, Any]", OmegaConf.to_container(read_run(run.run))) if (run.run / CONFIG).exists() else None


def check_labels(runs: Sequence[Scored]) -> None:
    """Refuse runs that were saved with label policies of their own which differ: one truth is taken for all."""
    saved = [(run, settings_of(run)) for run in runs]
    policies = [(run, each["data"]["labels"]) for run, each in saved if each and each["data"].get("labels")]
    for run, policy in policies[1:]:
        first, known = policies[0]
        if strange := [key for key in POLICY if policy.get(key) != known.get(key)]:
            raise ConfigError(
                f"compare={run.folder}: its data.labels.{strange[0]} is not that of {first.folder}; "
                "compare runs that were trained and scored under one policy"
            )


def check_seeds(runs: Sequence[Scored]) -> None:
    """Refuse runs of one side that differ in more than their seeds."""
    for run in runs[1:]:
        if key := differing_setting(runs[0], run):
            raise ConfigError(
                f"compare={run.folder}: its {key} is not that of {runs[0].folder}; the runs of a side may differ in "
                "their seeds alone"
            )


def differing_setting(first: Scored, other: Scored) -> str | None:
    """What makes a run more than another seed of the first; None where nothing does.

    Where the seed draws a fraction of the patients, the number of their films may differ.
    """
    if evaluation_of(first) != evaluation_of(other):
        return "evaluation"
    there, here = settings_of(first), settings_of(other)
    is_drawn = False
    if there is not None and here is not None:
        if key := differing_key(there, here):
            return key
        seeds = {each["data"].get("fraction_seed") for each in (there, here)}
        is_drawn = here["data"].get("fraction", 1.0) < 1 and len(seeds) == 2
    return "num_train" if not is_drawn and first.result["num_train"] != other.result["num_train"] else None


def evaluation_of(run: Scored) -> str:
    """The name of an evaluation in its run, "" for the scores of a run itself."""
    return run.folder.name if run.folder != run.run else ""


def table_of(name: str, runs: Sequence[Scored]) -> Table:
    """The prediction files of one method; ConfigError where its runs are of different protocols."""
    protocols = {(run.result["protocol"], run.result["recipe"]) for run in runs}
    if len(protocols) > 1:
        raise ConfigError(f"compare: the runs of {name} are of different protocols; numbers of those do not compare")
    protocol, recipe = protocols.pop()
    return Table(name, tuple(run.predictions for run in runs), protocol, recipe)


def chosen_names(cfg: DictConfig, first: Sequence[Scored], second: Sequence[Scored]) -> tuple[str, str]:
    """What to call the two: `cfg.names`, or the names of their results, or of their folders where those are equal."""
    match list(cfg.names or ()):
        case [str() as name, str() as rival]:
            return name, rival
        case []:
            name, rival = first[0].result["name"], second[0].result["name"]
            return (name, rival) if name != rival else (str(first[0].folder), str(second[0].folder))
    raise ConfigError(f"names={cfg.names}: give two, names=[A,B]")


def write_comparison(content: Mapping[str, Any], folder: Path) -> str:
    """comparison.json and the figures; returns the text for the terminal."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / COMPARISON, content)
    with stamped(content["notes"]):
        draw_comparison(content, folder / FIGURES / "comparison.png")
        draw_sides(content, folder / FIGURES / "radar.png")
    return describe_comparison(content)
