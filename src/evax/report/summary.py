"""One result as a table for the terminal."""

from evax.report.record import Result
from evax.report.wording import MACRO, Remarks


def summarise(result: Result) -> str:
    """Scores with their intervals, why others are missing, the differences to earlier evaluations, and what was chosen.

    The last lines are what a reader must not overlook.
    """
    beside = Remarks.of(vars(result))
    scores = {name: vars(score) for name, score in result.auroc.items()}
    missing = [name for name in beside.not_scored if name not in scores]
    lines = [
        f"{name:<20} {beside.row(name, score)}" for name, score in {MACRO: vars(result.auroc_macro), **scores}.items()
    ]
    lines += [f"{name:<20} not scored: {beside.not_scored[name]}" for name in missing]
    if missing or any(score["value"] is None for score in scores.values()):
        lines.insert(0, beside.coverage(scores))
    for comparison in result.comparisons:
        gain = vars(comparison.auroc_macro)
        lines.append(f"macro minus {comparison.rival:<8} {Remarks().row(MACRO, gain, signed=True)}")
    if result.chosen is not None:
        setting = f"{'C=' * (result.chosen.neighbors is None)}{result.chosen.setting}"
        how = "the only setting" if result.chosen.auroc_macro is None else "chosen by cross-validation"
        lines.append(f"{how}: {result.chosen.features}, {setting}")
    return "\n".join(["test AUROC, 95 % interval over patients", *lines, *result.cautions]) + "\n"
