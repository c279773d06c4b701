"""What explanations are worth, as pictures and a table: localisation, insertion and deletion, randomisation, cost."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evax.report.canvas import Row, dots, legend_below, quiet, slide
from evax.report.curves import BLUE, GREY, MUTED
from evax.report.wording import coverage, interval, number

COLORS = (BLUE, "#c8611a", "#2e8b57", "#8e4fa8", "#b8860b", "#c2336a", "#3f8fa8", "#6b4f2a", "#5560d0", "#7a8b1f")
METRICS = {  # of a method, in the order that tables and figures have them
    "pointing": "pointing game",
    "energy": "energy in box",
    "pixel_auroc": "pixel AUROC",
    "map": "mAP",
    "miou": "mIoU",
}
AT_THRESHOLD = ("map", "miou")
LEAST_SPAN = 0.1  # of an axis of probabilities: less would make a picture of rounding
NOTHING = 0.01  # a change of probability that is none
PROTOCOLS = {
    "clean": "threshold of each patient chosen on the boxes of all others",
    "official": "threshold chosen on the very boxes that are scored, as published",
}


def draw_localisation(result: Mapping[str, Any], path: Path) -> None:
    """Each metric of each method and baseline over all boxes, with 95 % intervals over patients."""
    localisation = result["localisation"]
    colors = colors_of(result)
    subtitle = f"{counted(result)}; {PROTOCOLS[result['protocol']]}; dashed: a uniform map"
    subtitle = "\n".join([subtitle, *unscored(result)])
    names = [name for name in METRICS if name in next(iter(localisation.values()))]
    uniform = dict.fromkeys(("pointing", "energy", "miou"), result["mean_area"]) | {"pixel_auroc": 0.5}
    size = (max(9.0, 2.9 + 2.75 * len(names)), 2.2 + 0.34 * len(localisation))
    with slide(path, "Does the map find the box?", subtitle, size) as figure:
        axes = figure.subplots(1, len(names), squeeze=False)[0]
        for column, (axis, name) in enumerate(zip(axes, names, strict=True)):
            rows = [
                Row(result["titles"][method], **found[name]["pooled"], color=colors[method])
                for method, found in localisation.items()
            ]
            quiet(axis, METRICS[name])
            dots(axis, rows)
            if name in uniform:
                axis.axvline(uniform[name], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            axis.set_xlim(left=0)
            if column:
                axis.set_yticklabels([])


def draw_faithfulness(result: Mapping[str, Any], path: Path) -> None:
    """Mean probability while the highest pixels are put in, and while they are taken out."""
    curves = result["faithfulness"]
    colors = colors_of(result)
    panels = {
        "insertion": ("Insertion", "higher is better: highest pixels first, into a blurred image"),
        "deletion": ("Deletion", "lower is better: highest pixels first, out of the image"),
    }
    limits, subtitle = span([value for found in curves.values() for kind in panels for value in found[kind]["curve"]])
    subtitle = f"{checked(result)}{subtitle}"
    with slide(path, "Does the network use what the map shows?", subtitle, (11.5, 6.0)) as figure:
        for axis, (kind, (title, note)) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            for method, found in curves.items():
                shares, values = found["shares"], found[kind]["curve"]
                words = f"{result['titles'][method]}  {number(found[kind]['pooled']['value'])}"
                axis.plot(shares, values, color=colors[method], linewidth=2, label=words)
            quiet(axis, title, note, xlabel="share of the pixels", ylabel="mean probability of the finding")
            axis.set_ylim(*limits)
            legend_below(axis, width=40, fontsize=9, title="area under the curve", title_fontsize=9)


def span(values: Sequence[float]) -> tuple[tuple[float, float], str]:
    """The ends of an axis of probabilities that shows what differs and does not enlarge noise, and words where it is.

    At least `LEAST_SPAN` is shown, around the middle of the values and inside [0, 1].
    """
    low, high = min(values), max(values)
    words = f"; all probabilities lie within {high - low:.1g}: no difference is shown" if high - low < NOTHING else ""
    half = max(1.1 * (high - low), LEAST_SPAN) / 2
    middle = min(max((low + high) / 2, half), 1 - half) if half < 0.5 else 0.5
    return (middle - half, middle + half), words


def draw_randomisation(result: Mapping[str, Any], path: Path) -> None:
    """Rank correlation of maps with those of the same network, randomised from the head down."""
    found = result["randomisation"]
    colors = colors_of(result)
    layers = list(next(iter(found.values())))
    subtitle = f"{checked(result)}; a map that stays the same while weights are lost does not tell of the network"
    flat = [result["titles"][method] for method, by_layer in found.items() if None in by_layer.values()]
    if flat:
        subtitle += f"\nno point where every map is constant: {', '.join(flat)}"
    with slide(path, "Do maps change when weights are randomised?", subtitle, (10.5, 5.2)) as figure:
        axis = figure.subplots()
        for method, by_layer in found.items():
            values = [float("nan") if by_layer[each] is None else by_layer[each] for each in layers]
            style = {"color": colors[method], "linewidth": 2, "markersize": 5, "label": result["titles"][method]}
            axis.plot(range(len(layers)), values, "o-", **style)
        quiet(axis, xlabel="randomised, from the head down to", ylabel="rank correlation with the map as trained")
        axis.set_xticks(
            range(len(layers)), [each.replace("blocks.", "block ") for each in layers], rotation=30, ha="right"
        )
        axis.axhline(0, color=MUTED, linewidth=0.9)
        axis.legend(frameon=False, fontsize=10, loc="center left", bbox_to_anchor=(1.01, 0.5))


def table_of(result: Mapping[str, Any]) -> str:
    """Methods against localisation, faithfulness and cost, as Markdown; baselines stand below the methods."""
    header = ["method", *METRICS.values(), "insertion", "deletion", "randomised", "s/film"]
    lines = [_line(header), _line(["---"] * len(header))]
    localisation = result["localisation"] or {}
    lone = lone_patient(result)
    for method in dict.fromkeys((*result["methods"], *localisation)):
        found = localisation.get(method, {})
        cells = [interval(found[name]["pooled"], why=lone) if name in found else "–" for name in METRICS]
        faithful = (result["faithfulness"] or {}).get(method)
        kinds = ("insertion", "deletion")
        cells += [interval(faithful[kind]["pooled"], why=lone) if faithful else "–" for kind in kinds]
        randomised = (result["randomisation"] or {}).get(method)
        cells.append(number(list(randomised.values())[-1]) if randomised else "–")
        cells.append(number(result["seconds_per_film"].get(method)))
        lines.append(
            _line([result["titles"][method] + (" (baseline)" if method in result["baselines"] else ""), *cells])
        )
    return "\n".join([*lines, "", *_words_below(result)]) + "\n"


def localisation_section(folder: Path) -> str:
    """The page's section on the explanations' results files in `folder`; empty without files."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    groups = [
        f"### {result['data']}, protocol {result['protocol']}\n\n{table_of(result)}"
        f"- `{result['command']}`, commit `{result['commit']}`\n"
        for result in results
    ]
    return "\n".join(["\n## Localisation\n", *groups]) if groups else ""


def colors_of(result: Mapping[str, Any]) -> dict[str, str]:
    """A color for each method; baselines are grey."""
    methods: Sequence[str] = result["methods"]
    return {method: COLORS[place % len(COLORS)] for place, method in enumerate(methods)} | dict.fromkeys(
        result["baselines"], GREY
    )


def checked(result: Mapping[str, Any]) -> str:
    """How many maps the checks looked at."""
    return f"{result['num_checked']} maps of each method"


def counted(result: Mapping[str, Any]) -> str:
    """How many boxes, films and patients were scored."""
    return f"{result['num_boxes']} boxes on {counted_films(result)}"


def counted_films(result: Mapping[str, Any]) -> str:
    """How many films and patients there are."""
    patients = result["num_patients"]
    return f"{result['num_films']} films" + (f" of {patients} patient{'s' * (patients > 1)}" if patients else "")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _words_below(result: Mapping[str, Any]) -> list[str]:
    words = [f"{result['name']}, {result['split']} films, protocol {result['protocol']}."]
    if result["localisation"]:
        words.append(
            f"{counted(result)}; {PROTOCOLS[result['protocol']]}. 95 % intervals over patients. A uniform map has an "
            f"energy of {number(result['mean_area'])}, the boxes' mean share of the film."
        )
    words += [f"- {words_on}" for words_on in unscored(result)]
    words += [f"- {note}" for note in result["notes"]]
    return words


def lone_patient(result: Mapping[str, Any]) -> str:
    """Why no interval over patients can be had; "" where one can, and where nobody told the patients."""
    return "1 patient" if result["num_patients"] == 1 else ""


def unscored(result: Mapping[str, Any]) -> list[str]:
    """Which scores of maps are missing, and why."""
    if not result["localisation"]:
        return ["localisation is not scored: these images have no boxes"]
    missing = result.get("not_scored") or {}  # older files do not have it
    lines = [coverage(len(result["findings"]), missing)] if missing else []
    for name in METRICS:
        missing = [method for method, found in result["localisation"].items() if found[name]["pooled"]["value"] is None]
        if missing:
            titles = ", ".join(result["titles"][method] for method in missing)
            lines.append(f"{METRICS[name]} is not scored ({titles}): {_why(name, result)}")
            continue
        first = next(iter(result["localisation"].values()))[name]
        if without := first.get("not_scored"):
            lines.append(f"{METRICS[name]}: {_covered(first, without, _why(name, result))}")
    return lines


def _covered(metric: Mapping[str, Any], without: Sequence[str], why: str) -> str:
    return coverage(len(metric["per_class"]) - len(without), dict.fromkeys(without, why))


def _why(name: str, result: Mapping[str, Any]) -> str:
    """Why boxes do not allow a score."""
    if name in AT_THRESHOLD and result["num_patients"] == 1:
        return "a threshold needs boxes of a second patient"
    return "the boxes cover no pixel, or the whole image" if name == "pixel_auroc" else "no boxes"
