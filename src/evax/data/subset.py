"""Which part of the training films trains, how often each comes, and labels that tell nothing."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from evax.data.names import Name, as_name

FractionOf = Literal["patients", "films"]
Sampling = str | Mapping[Name, float | int]  # "uniform", "balanced", or weights of findings

WINDOW = 128  # patients among whom the next one is chosen


# Shapes: R films, P patients, C findings
def rarest(shows: Bool[np.ndarray, "R C"]) -> Int[np.ndarray, "R"]:
    """The rarest finding that each film (or patient) shows, by column; C where it shows none."""
    rare_first = np.argsort(shows.sum(axis=0), kind="stable")
    ranked = np.column_stack([shows[:, rare_first], np.ones(len(shows), bool)])
    return np.append(rare_first, shows.shape[1])[ranked.argmax(axis=1)]


def of_patients(
    fraction: float,
    patients: Int[np.ndarray, "R"],
    shows: Bool[np.ndarray, "R C"],
    generator: np.random.Generator,
) -> Bool[np.ndarray, "R"]:
    """The films of a share of the patients, at least one; a smaller share of one generator lies within a larger one.

    With findings the patients come in an order of which every beginning has the share of films of each finding that
    all have: as many patients as there are findings show each of them, where no rarer one hides it. Without findings
    the order is random.
    """
    unique, person = np.unique(patients, return_inverse=True)
    count = max(1, round(fraction * len(unique)))
    counts = np.zeros((len(unique), shows.shape[1]))
    np.add.at(counts, person, shows)
    order = spread_out(counts > 0, generator)
    if shows.shape[1]:
        order = evened_out(order, np.column_stack([counts, np.bincount(person)]), count)
    return np.isin(patients, unique[order[:count]])


def spread_out(shows: Bool[np.ndarray, "P C"], generator: np.random.Generator) -> Int[np.ndarray, "P"]:
    """Patients in a random order that spreads those of each rarest finding evenly; the first of each come first.

    A patient stands for the rarest finding on any of their films, as in iterative stratification (Sechidis et al.
    2011).
    """
    shuffled = generator.permutation(len(shows))
    stratum = rarest(shows)[shuffled]
    sizes = np.bincount(stratum, minlength=shows.shape[1] + 1)
    place = np.empty(len(shows))
    for number in np.flatnonzero(sizes):
        place[stratum == number] = np.arange(sizes[number]) / sizes[number]
    return shuffled[np.lexsort((sizes[stratum], place))]


def evened_out(
    order: Int[np.ndarray, "P"], counts: Float[np.ndarray, "P K"], num_patients: int
) -> Int[np.ndarray, "n"]:
    """The first patients of an order, each chosen among the next `WINDOW`, so that all counts grow at one pace.

    `counts` are the patients' films, in all and of each finding. Patients have 1 to 184 films on ChestX-ray14: at 10 %
    the shares of the findings are off by 0.05 of themselves (root mean square), at 1 % by 0.11; by 0.10 and 0.30 as
    only spread out; by 0.15 and 0.39 as drawn plainly.
    """
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    first = counts.shape[1]  # they show each finding, and stay
    chosen, waiting = order[:first].tolist(), order[first : first + WINDOW].tolist()
    so_far = shares[chosen].sum(axis=0)
    for number in range(len(chosen), num_patients):
        off = so_far + shares[waiting] - (number + 1) / len(order)
        chosen.append(waiting.pop(int(np.square(off).sum(axis=1).argmin())))
        so_far = so_far + shares[chosen[-1]]
        waiting += order[number + WINDOW : number + WINDOW + 1].tolist()
    return np.array(chosen[:num_patients])


def of_films(fraction: float, num_films: int, generator: np.random.Generator) -> Int[np.ndarray, "n"]:
    """The places, ascending, of a plain draw of int(fraction * num_films) films, at least one.

    The published fine-tuning on 1 % and 10 % of the films: neither by patient nor by finding, and not nested.
    """
    return np.sort(generator.choice(num_films, max(1, int(fraction * num_films)), replace=False))


def film_weights(shows: Bool[np.ndarray, "R C"], classes: Sequence[str], sampling: Sampling) -> Float[np.ndarray, "R"]:
    """How often each film comes in an epoch.

    "balanced" lets the films of each rarest finding, and those without any, come equally often in all, in an epoch as
    long as before. A mapping gives findings their weights; a film has the largest of those that it shows, and 1
    without any.
    """
    if sampling == "uniform":
        return np.ones(len(shows))
    if sampling == "balanced":
        stratum = rarest(shows)
        sizes = np.bincount(stratum)
        return len(shows) / (np.count_nonzero(sizes) * sizes[stratum])
    if isinstance(sampling, str):
        raise ValueError(f"data.sampling={sampling} is not known; use uniform, balanced or {{FINDING: WEIGHT}}")
    sampling = {as_name("data.sampling", name): weight for name, weight in sampling.items()}
    for name, weight in sampling.items():
        if name not in classes:
            raise ValueError(f"data.sampling: {name} is none of the classes {', '.join(classes)}")
        if not 0 < weight < np.inf:
            raise ValueError(f"data.sampling.{name}={weight} must be above 0")
    weights = np.array([sampling.get(name, 1.0) for name in classes])
    return np.where(shows.any(axis=1), np.where(shows, weights, 0.0).max(axis=1, initial=0.0), 1.0)


def labels_of_others(patients: Int[np.ndarray, "R"], generator: np.random.Generator) -> Int[np.ndarray, "R"]:
    """Whose labels each film gets so that they tell nothing: all labels are dealt out again, patient by patient.

    Every label keeps its frequency, and the films of a patient keep labels that belong together.
    """
    unique, person = np.unique(patients, return_inverse=True)
    donors = np.argsort(generator.permutation(len(unique))[person], kind="stable")
    taken_from = np.empty(len(patients), np.int64)
    taken_from[np.argsort(person, kind="stable")] = donors
    return taken_from
