"""The report card of a classifier at the size of ChestX-ray14's test set: `python benchmarks/evaluation.py`.

25,596 films of 2,797 patients, 14 findings at their prevalence, 1,000 resamples of patients: every metric with its
interval, all subgroups, the curves, and the comparison with a rival. Goal: a minute on two cores.
"""

import argparse
import resource
import time

import numpy as np

from evax.data.findings import CXR14
from evax.evaluation.comparison import compare_scores
from evax.evaluation.report_card import CardOptions, Predicted, report_card
from evax.evaluation.study import LabelledFilms
from evax.evaluation.subgroups import by_age, by_sex, by_view

FILMS, PATIENTS, VALIDATION_FILMS = 25_596, 2_797, 11_212
POSITIVES = (3279, 1069, 4658, 6112, 1748, 1623, 555, 2665, 1815, 925, 1093, 435, 1143, 86)  # of the official test set
GOAL = 60.0  # seconds


def main() -> None:
    """Score synthetic tables and print seconds per part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    args = parser.parse_args()
    random = np.random.default_rng(0)
    validation, test = predicted(random, VALIDATION_FILMS, 0), predicted(random, FILMS, VALIDATION_FILMS)
    attributes = {
        "sex": by_sex(random.choice(["M", "F"], FILMS, p=[0.56, 0.44]).tolist()),
        "age": by_age(np.clip(random.normal(47, 17, FILMS), 0, 100)),
        "view": by_view(random.choice(["PA", "AP"], FILMS, p=[0.5, 0.5]).tolist()),
    }
    options = CardOptions(num_draws=args.draws)
    rival = (test.logits + random.standard_normal(test.logits.shape)).astype(np.float32)
    parts = {
        "every metric and the curves": lambda: report_card(CXR14, test, validation, options=options),
        f"the same and {len(attributes)} attributes": lambda: report_card(CXR14, test, validation, attributes, options),
        "comparison with a rival": lambda: compare_scores(
            test.logits[None], rival[None], test.films, CXR14, num_draws=args.draws
        ),
    }
    print(f"{FILMS:,} films, {len(CXR14)} findings, {args.draws:,} resamples; goal {GOAL:.0f} s")
    for name, work in parts.items():
        start, start_cpu = time.perf_counter(), time.process_time()
        work()
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        print(f"  {name:30} {seconds:6.1f} s, {cpu:6.1f} s of one core", flush=True)
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def predicted(random: np.random.Generator, num_films: int, first: int) -> Predicted:
    """Films in runs of one patient, like a follow-up, with logits that tell a finding from none at AUROC 0.8."""
    patients = np.sort(random.integers(0, PATIENTS, num_films)) + first
    targets = (random.random((num_films, len(CXR14))) < np.array(POSITIVES) / FILMS).astype(np.int8)
    logits = 1.2 * targets + random.standard_normal(targets.shape) + np.log(np.array(POSITIVES) / FILMS)
    return Predicted(LabelledFilms(np.arange(first, first + num_films), patients, targets), logits.astype(np.float32))


if __name__ == "__main__":
    main()
