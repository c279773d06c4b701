"""No film that is scored may have been seen before: the patients of a run against the test films of what follows it."""

import logging
from pathlib import Path

from omegaconf import OmegaConf

from evax.checkpoints.export import run_config
from evax.checkpoints.weight_files import find_file
from evax.data.leakage import check_gate, cohort
from evax.data.module import PackDataModule
from evax.runs.build import built_or_missing

log = logging.getLogger(__name__)


def check_patients(weights: Path, data: PackDataModule) -> None:
    """Refuse test films of patients that the run of `weights` (its folder, or a checkpoint in it) was trained on.

    A file elsewhere tells nobody's patients, and a run's pack may be gone: then it is said that nothing was checked.
    LeakageError counts the patients.
    """
    trained, run = None, run_config(find_file(weights))
    if run:
        trained, _ = built_or_missing(OmegaConf.create(run["data"]))
    if trained is None:
        log.info("%s does not tell whose films it was trained on: nothing keeps them from the test films", weights.name)
    else:
        check_apart(trained, data)


def check_apart(trained: PackDataModule, data: PackDataModule) -> None:
    """Refuse test films of `data` whose patients are among those that `trained` trains on.

    Of one split that was published so they are counted and told, as where the run scores itself.
    """
    ours, theirs = ((each.pack.manifest.source, each.split) for each in (trained, data))
    is_published = ours == theirs and data.split in data.pack.manifest.leaky
    is_published &= trained.pack.manifest.fingerprint == data.pack.manifest.fingerprint  # with the same lists
    tests = [cohort(data.pack, data.split, ("test",))]
    check_gate(cohort(trained.pack, trained.split, trained.fit_on), tests, published=is_published)
