"""One result as a table for the terminal."""

from evax.report.record import Interval, Result


def summarise(result: Result) -> str:
    """Scores with their intervals, the differences to earlier evaluations, and what was chosen."""
    rows = [("macro", result.auroc_macro), *result.auroc.items()]
    lines = [f"{name:<20} {_number(score.value, '.3f')}  {_range(score, '.3f')}" for name, score in rows]
    for comparison in result.comparisons:
        gain = comparison.auroc_macro
        lines.append(f"macro minus {comparison.rival:<8} {_number(gain.value, '+.3f')}  {_range(gain, '+.3f')}")
    if result.chosen is not None:
        setting = f"{'C=' * (result.chosen.neighbors is None)}{result.chosen.setting}"
        how = "the only setting" if result.chosen.auroc_macro is None else "chosen by cross-validation"
        lines.append(f"{how}: {result.chosen.features}, {setting}")
    return "\n".join(["test AUROC, 95 % interval over patients", *lines]) + "\n"


def _number(value: float | None, form: str) -> str:
    return "undefined" if value is None else f"{value:{form}}"


def _range(interval: Interval, form: str) -> str:
    return f"[{_number(interval.low, form)}, {_number(interval.high, form)}]"
