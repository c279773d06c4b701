"""No film that is scored may have been seen before: the patients of a run against the test films of what follows it."""

import logging
from pathlib import Path
from typing import NamedTuple

from omegaconf import OmegaConf

from evax.checkpoints.export import run_config, start_of, teacher_of
from evax.checkpoints.weight_files import find_file
from evax.data.leakage import Cohort, LeakageError, check_gate, cohort, overlap
from evax.data.module import PackDataModule
from evax.runs.build import built_or_missing

log = logging.getLogger(__name__)

UNKNOWN = "the weights do not tell whose films trained them: those may be among the films here"


class Lineage(NamedTuple):
    """The films of all runs that led to some weights, and whether these are all that the weights have learned from."""

    films: list[PackDataModule]
    is_known: bool

    @property
    def notes(self) -> list[str]:
        """What must be said of scores on films that the weights may have learned from."""
        return [] if self.is_known else [UNKNOWN]

    def has_trained_on(self, films: Cohort) -> bool:
        """Whether a patient or film of these was among the training films."""
        return any(any(overlap(cohort(each.pack, each.split, each.fit_on), films)) for each in self.films)


def lineage(weights: Path) -> Lineage:
    """The films of the run of `weights` (its folder, or a checkpoint in it), of what it began from, and of its teacher.

    A file elsewhere tells nobody's films, and a run's pack may be gone.
    """
    films, is_known, ahead, done = [], True, [weights], set[Path]()
    while ahead:
        file = find_file(ahead.pop())
        if file in done:
            continue
        done.add(file)
        run = run_config(file)
        trained, _ = built_or_missing(OmegaConf.create(run["data"])) if run.get("data") else (None, [])
        if trained is None:
            is_known = False
            log.info("%s: training patients unknown, so overlap with the test set cannot be checked", file.name)
        else:
            films.append(trained)
        began_from, taught_by = start_of(run), teacher_of(run)
        ahead += [each for each in (began_from, taught_by) if each is not None]
        is_known &= began_from is not None or not run.get("weights")
    return Lineage(films, is_known)


def check_patients(weights: Path, data: PackDataModule) -> Lineage:
    """Refuse test films of patients that `weights` were trained or chosen on, in any of the runs that led to them.

    LeakageError counts the patients. Returns those runs' films.
    """
    found = lineage(weights)
    for trained in found.films:
        check_apart(trained, data)
    return found


def check_not_chosen_on(weights: Path, found: Lineage, data: PackDataModule) -> None:
    """Refuse test films that chose a checkpoint, under protocol=official, of any run that led to `weights`.

    `found` is the lineage of those. LeakageError counts the films.
    """
    tests = cohort(data.pack, data.split, ("test",))
    for trained in found.films:
        if trained.select_on == "test":
            _, films = overlap(cohort(trained.pack, trained.split, ("test",)), tests)
            if films:
                raise LeakageError(
                    f"weights={weights}: {films} of the test films {tests.name} chose a checkpoint of its training "
                    "(protocol=official); begin from weights that validation films chose, or set protocol=official"
                )


def check_unseen(weights: Path, data: PackDataModule, protocol: str) -> None:
    """Refuse test films of patients that trained `weights`, or, under clean, that chose them."""
    found = check_patients(weights, data)
    if protocol == "clean":
        check_not_chosen_on(weights, found, data)


def check_apart(trained: PackDataModule, data: PackDataModule) -> None:
    """Refuse test films of `data` whose patients are among those that `trained` trains on, or chooses on.

    Of one split that was published so they are counted and told, as where the run scores itself.
    """
    ours, theirs = ((each.pack.manifest.source, each.split) for each in (trained, data))
    is_published = ours == theirs and data.split in data.pack.manifest.leaky
    is_published &= trained.pack.manifest.fingerprint == data.pack.manifest.fingerprint  # with the same lists
    tests = [cohort(data.pack, data.split, ("test",))]
    seen = cohort(trained.pack, trained.split, splits_seen(trained))
    check_gate(seen, tests, published=is_published, fix=other_split(seen, trained.split, data))


def other_split(seen: Cohort, scheme: str, data: PackDataModule) -> str:
    """What to do where weights have seen test images of `data`: test on the `scheme` that trained them, if it helps."""
    if scheme in data.pack.schemes and not any(overlap(seen, cohort(data.pack, scheme, ("test",)))):
        return f"use data.split={scheme}, on which these weights were trained"
    return "begin from other weights, or test on patients whom these have not seen"


def splits_seen(trained: PackDataModule) -> tuple[str, ...]:
    """What a run trains on, and the validation films that choose its checkpoint; protocol=official chooses on test."""
    chooses_on = [trained.select_on] if trained.select_on == "val" and trained.holds("val") else []
    return tuple(dict.fromkeys((*trained.fit_on, *chooses_on)))


def check_val(found: Lineage, data: PackDataModule) -> tuple[bool, list[str]]:
    """Whether validation films may choose thresholds and a temperature for weights, and what must be said of that."""
    notes = found.notes
    if not data.holds("val"):
        return False, notes
    if found.has_trained_on(cohort(data.pack, data.split, ("val",))):
        return False, [*notes, "val films trained these weights, too: they choose no threshold and no temperature"]
    return True, notes
