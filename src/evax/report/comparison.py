"""One method minus another: a table for the terminal and a figure, with the words that an interval allows."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from evax.report.canvas import Row, dots, quiet, ranked, slide, words_on
from evax.report.curves import BLUE, GREY, INK, ORANGE
from evax.report.radar import RadarError, draw_radar
from evax.report.wording import CLASSES, FINDINGS, MACRO, Remarks, label


def describe_comparison(comparison: Mapping[str, Any]) -> str:
    """Differences with intervals, DeLong's p where there is one, and what the macro interval says."""
    difference = comparison["difference"]
    rows = {MACRO: difference["macro"], **difference["per_class"]}
    beside = Remarks.of(comparison)
    lines = [
        f"test {_metric(comparison)} of {_method(comparison, 0)} minus {_method(comparison, 1)}, "
        f"{comparison['num_films']:,} films of {comparison['num_patients']:,} patients, 95 % interval over patients"
    ]
    if ";" in (covered := _coverage(comparison)):
        lines.append(covered)
    for name, score in rows.items():
        test = comparison["delong"].get(name)
        p = f"  p {_p(test['p'])}, of all findings {_p(test['p_holm'])}" if test and score["value"] is not None else ""
        lines.append(f"{label(name):<22} {beside.row(name, score, signed=True)}{p}")
    lines += [f"{label(name):<22} not scored: {why}" for name, why in beside.not_scored.items() if name not in rows]
    return "\n".join([*lines, verdict(difference["macro"]), *comparison.get("notes", ())]) + "\n"


def comparisons_section(folder: Path) -> str:
    """The page's section on the comparisons in `folder`: each subfolder's files and notes.md; empty without files."""
    groups = {path.parent for path in folder.glob("*/*.json")}
    return "\n".join(["\n## Comparisons of runs\n", *map(_group, sorted(groups))]) if groups else ""


def _group(folder: Path) -> str:
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    first = contents[0]
    rows = []
    for content in contents:
        score = content["difference"]["macro"]
        gain = Remarks.of(content).interval(MACRO, score, signed=True)
        ours, theirs = (_each(values) for values in content.get("auroc_macro") or content["dice_pooled"])
        rows.append(f"| {content['name']} | {ours} | {content['rival']} | {theirs} | {gain} | {verdict(score)} |")
    recipe = f" {first['recipe']}" if first["recipe"] else ""
    notes = folder / "notes.md"
    return "\n".join(
        [
            f"### {folder.name}: {first['data']}, protocol {first['protocol']}{recipe}",
            "",
            f"Macro test {_metric(first)} over {_coverage(first)}, of each run and in the mean; "
            f"{_training_films(contents)}, {first['num_films']:,} test films of {first['num_patients']:,} patients; "
            f"the difference of the means on the same {first['num_draws']:,} resamples of patients.",
            "",
            f"| method | {_metric(first)} | minus | {_metric(first)} | difference | |",
            "| --- | --- | --- | --- | --: | --- |",
            *rows,
            "",
            *([notes.read_text(encoding="utf-8")] if notes.exists() else []),
            *(f"- `{content['command']}`, commit `{content['commit']}`" for content in contents),
            "",
        ]
    )


def _training_films(contents: Sequence[Mapping[str, Any]]) -> str:
    """How many films trained, of each method where that differs; older files have the number of the first alone."""
    pairs = [(content["name"], content["num_train"]) for content in contents]
    pairs += [(content["rival"], content.get("rival_num_train", content["num_train"])) for content in contents]
    if len({number for _, number in pairs}) == 1:
        return f"{pairs[0][1]:,} training films"
    return ", ".join(f"{number:,} ({name})" for name, number in dict.fromkeys(pairs)) + " training films"


def _coverage(comparison: Mapping[str, Any]) -> str:
    """Over how many findings, or classes of pixels, the difference is, and why others are not among them."""
    nouns = CLASSES if "metric" in comparison else FINDINGS
    return Remarks.of(comparison).coverage(comparison["difference"]["per_class"], nouns)


def _each(values: Sequence[float | None]) -> str:
    if None in values:
        return "–"
    known = [value for value in values if value is not None]
    mean = sum(known) / len(known)
    runs = ", ".join(f"{value:.3f}" for value in known)
    return f"**{mean:.3f}** ({runs})" if len(values) > 1 else f"**{mean:.3f}**"


def verdict(score: Mapping[str, float | None]) -> str:
    """What an interval of a difference allows to be said."""
    low, high = score["low"], score["high"]
    if low is None or high is None:
        what = "difference" if score["value"] is None else "interval"
        return f"no {what} could be computed: no difference is shown"
    if low <= 0 <= high:
        return "the interval includes 0: no difference is shown"
    return f"the interval excludes 0: {'better' if low > 0 else 'worse'} on these films"


def draw_comparison(comparison: Mapping[str, Any], path: Path) -> None:
    """Every finding's difference with its interval; blue excludes 0 above it, orange below it."""
    words = words_on(Remarks.of(comparison))
    rows = [row._replace(color=_color(row)) for row in ranked(comparison["difference"], INK, remarks=words)]
    title = f"{comparison['name']} minus {comparison['rival']}"
    subtitle = (
        f"difference of test {_metric(comparison)} with 95 % interval over patients, the same resamples for both\n"
        f"{_coverage(comparison)}"
    )
    with slide(path, title, subtitle, (9.5, 0.42 * len(rows) + 2.2)) as figure:
        axes = figure.subplots()
        quiet(axes, "", "", xlabel=_metric(comparison))
        axes.axvline(0, color=INK, linewidth=1)
        dots(axes, rows)


def draw_sides(comparison: Mapping[str, Any], path: Path) -> None:
    """A radar of what both score, by class; nothing where that makes none."""
    scores = comparison["scores"]
    series = {_method(comparison, side): {name: pair[side] for name, pair in scores.items()} for side in (0, 1)}
    with suppress(RadarError):  # fewer than three classes, or none that can be scored
        draw_radar(
            list(scores),
            series,
            path,
            title=f"Test {_metric(comparison)}, class by class",
            beside=Remarks.of(comparison),
        )


def _color(row: Row) -> str:
    if row.low is None or row.high is None or row.low <= 0 <= row.high:
        return GREY
    return BLUE if row.low > 0 else ORANGE


def _metric(comparison: Mapping[str, Any]) -> str:
    """What was compared."""
    return str(comparison.get("metric", "AUROC"))


def _method(comparison: Mapping[str, Any], place: int) -> str:
    runs = comparison["num_runs"][place]
    name = comparison["name" if place == 0 else "rival"]
    return f"{name} (mean of {runs} runs)" if runs > 1 else name


def _p(value: float | None) -> str:
    if value is None:
        return "not defined"
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"
