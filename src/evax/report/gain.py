"""Whether an evaluation is better than those it was compared with."""

from pathlib import Path

from evax.report.record import Result, ResultError
from evax.report.segmentation_record import covered
from evax.report.wording import NO_FINDING, interval, plain


def describe_gain(folder: Path) -> tuple[str, bool]:
    """One line per comparison of an evaluation's results.json, and whether every interval lies above 0."""
    file = folder / "results.json"
    if not file.exists():
        raise ResultError(f"{file} does not exist; run evaluate.py with against=[...] first")
    result = Result.from_json(file.read_text(encoding="utf-8"), str(file))
    if not result.comparisons:
        raise ResultError(f"{file}: field 'comparisons' is empty; run evaluate.py with against=[...]")
    lines, is_above = [], True
    for comparison in result.comparisons:
        gain = comparison.auroc_macro
        above = gain.low is not None and gain.low > 0
        verdict = "better" if above else "not shown to be better: the interval includes 0"
        if gain.value is None:
            verdict = NO_FINDING
        elif gain.low is None:
            verdict = "not shown to be better without an interval"
        lines.append(f"{result.name} minus {comparison.rival}: {plain(interval(vars(gain), signed=True))}, {verdict}")
        is_above &= above
    if ";" in (words := covered(result)):
        lines.append(words)
    return "\n".join(lines), is_above
