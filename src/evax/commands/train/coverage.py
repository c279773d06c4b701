"""Which findings the AUROC of validation is over, said before a run has cost anything."""

import numpy as np

from evax.data.labels import resolve_labels
from evax.data.module import PackDataModule
from evax.evaluation.scorable import reasons, supports
from evax.evaluation.study import LabelledFilms
from evax.report.wording import coverage

SPLITS = {"val": "validation", "test": "test"}


def validation_coverage(data: PackDataModule) -> str:
    """Over which findings `val/auroc_macro` of a classifier or the probes of a pre-training are; "" for all."""
    rows = data.rows(data.select_on)
    if data.masks is not None or not data.pack.findings:
        return ""
    if data.labels is not None:
        names, targets = data.classes, data.targets_of(rows)
    else:
        names, targets = data.pack.findings, resolve_labels(np.asarray(data.pack.labels)[rows], data.pack.findings)
    ids = np.array(data.pack.texts("patient_id", rows))
    missing = reasons(supports(LabelledFilms(ids, ids, *targets), list(names)), SPLITS[data.select_on])
    if not missing:
        return ""
    return f"the AUROC of validation is over {coverage(len(names) - len(missing), missing)}"
