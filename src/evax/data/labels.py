"""Label policies: what an uncertain or unmentioned finding means to the loss and the metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8

from evax.data.keyed_random import Stream, keyed_generator
from evax.data.names import Name, as_name, as_names

PRESENT, ABSENT, UNCERTAIN, NOT_MENTIONED = 1, 0, -1, -2

Uncertain = Literal["zeros", "ones", "ignore", "smooth"]
Missing = Literal["zeros", "ignore"]
Policy = Uncertain | float | Sequence[float]  # a number is the target, two are the range that a film's is drawn from

# Middle of the range [0.55, 0.85] from which U-Ones with label smoothing (Pham et al. 2021) draws its targets
SMOOTH_TARGET = 0.7
_UNCERTAIN_TARGETS = {"zeros": 0.0, "ones": 1.0, "smooth": SMOOTH_TARGET}


class Targets(NamedTuple):
    """Targets in {0, 1} (between them where smoothed) and whether each is known; an unknown target is 0."""

    targets: Float32[np.ndarray, "N C"]
    is_known: Bool[np.ndarray, "N C"]


def resolve_labels(
    labels: Int8[np.ndarray, "N C"],
    findings: Sequence[str],
    uncertain: Uncertain | Literal["per_class"] = "ignore",
    missing: Missing = "zeros",
    per_class: Mapping[Name, Policy] | None = None,
    seed: int = 0,
) -> Targets:
    """Turn labels (1 present, 0 absent, -1 uncertain, -2 not mentioned) into targets and their mask.

    `uncertain="per_class"` reads the policy of each finding from `per_class`, which must name them all; a number
    in (0, 1) there is the target itself, and two are the ends of a range from which each row's is drawn by `seed`.
    """
    _check_values(labels, findings)
    policies = _policies(findings, uncertain, per_class)
    if missing not in ("zeros", "ignore"):
        raise ValueError(f"missing={missing} is unknown; use zeros or ignore")
    targets = (labels == PRESENT).astype(np.float32)
    is_known = labels >= ABSENT
    for column, policy in enumerate(policies):
        if policy != "ignore":
            rows = labels[:, column] == UNCERTAIN
            targets[rows, column] = _targets_of(policy, len(labels), seed, column)[rows]
            is_known[rows, column] = True
    if missing == "zeros":
        is_known |= labels == NOT_MENTIONED
    return Targets(targets, is_known)


@dataclass(frozen=True, kw_only=True)
class LabelPolicy:
    """Which findings of a pack are the classes, in which order, and what their labels mean.

    `findings` null takes all of the pack. The others are those of `resolve_labels`.
    """

    findings: Sequence[Name] | Name | None = None
    uncertain: Uncertain | Literal["per_class"] = "ignore"
    missing: Missing = "zeros"
    per_class: Mapping[Name, Policy] | None = None
    seed: int = 0

    def classes(self, of_pack: Sequence[str]) -> tuple[str, ...]:
        """The classes, all of which the pack must have."""
        if isinstance(self.findings, str | int | float):
            raise ValueError(f"data.labels.findings={self.findings}: give a list, [{self.findings}]")
        classes = as_names("data.labels.findings", self.findings) or tuple(of_pack)
        if len(set(classes)) < len(classes):
            raise ValueError(f"data.labels.findings={list(classes)} names a class twice")
        if unknown := [name for name in classes if name not in of_pack]:
            raise ValueError(f"data.labels.findings: the pack has no {unknown[0]!r}; it has {', '.join(of_pack)}")
        return classes

    def targets(self, labels: Int8[np.ndarray, "N K"], of_pack: Sequence[str], *, soft: bool) -> Targets:
        """Targets of the classes. Without `soft`, as scores need them, a label between 0 and 1 is unknown."""
        classes = self.classes(of_pack)
        columns = [list(of_pack).index(name) for name in classes]
        policy = (self.uncertain, self.missing, self.per_class, self.seed)
        targets, is_known = resolve_labels(labels[:, columns], classes, *policy)
        if soft:
            return Targets(targets, is_known)
        is_hard = (targets == 0) | (targets == 1)
        return Targets(np.where(is_hard, targets, np.float32(0)), is_known & is_hard)


def _check_values(labels: Int8[np.ndarray, "N C"], findings: Sequence[str]) -> None:
    if labels.shape[1] != len(findings):
        raise ValueError(f"{labels.shape[1]} label columns do not match {len(findings)} findings")
    is_bad = (labels > PRESENT) | (labels < NOT_MENTIONED)
    if is_bad.any():
        row, column = np.argwhere(is_bad)[0]
        raise ValueError(f"label {labels[row, column]} of {findings[column]} is none of 1, 0, -1, -2")


def _targets_of(policy: Policy, count: int, seed: int, column: int) -> Float64[np.ndarray, "N"]:
    """The targets that a policy gives to uncertain labels, row by row."""
    if isinstance(policy, str):
        return np.full(count, _UNCERTAIN_TARGETS[policy])
    low, high = (policy, policy) if isinstance(policy, float) else policy
    return keyed_generator(seed, Stream.LABELS, index=column).uniform(low, high, count)


def _policies(findings: Sequence[str], uncertain: str, per_class: Mapping[Name, Policy] | None) -> list[Any]:
    policies: list[Any]
    if uncertain == "per_class":
        named = {as_name("data.labels.per_class", name): policy for name, policy in (per_class or {}).items()}
        unnamed = [name for name in findings if name not in named]
        if unnamed or per_class is None:
            raise ValueError(f"uncertain=per_class needs a policy for {', '.join(unnamed)}")
        policies = [named[name] for name in findings]
    else:
        policies = [uncertain] * len(findings)
    unknown = [each for each in policies if not _is_policy(each)]
    if unknown:
        raise ValueError(
            f"uncertain={unknown[0]} is unknown; use zeros, ones, ignore, smooth or per_class (there, a number between "
            "0 and 1, or a range of them, too)"
        )
    return policies


def _is_policy(policy: Any) -> bool:
    if isinstance(policy, str):
        return policy in (*_UNCERTAIN_TARGETS, "ignore")
    ends = [policy, policy] if isinstance(policy, int | float) else list(policy)
    return len(ends) == 2 and 0 < ends[0] <= ends[1] < 1
