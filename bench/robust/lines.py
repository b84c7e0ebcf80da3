"""Writes the rows as Markdown and as pictures for docs: what resists, what was tried, what is said afterwards."""

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.record import ROOT, origin
from bench.robust.ways import LARGER, WAYS, WORLDS, key, wanted
from unlearn.results import robust
from unlearn.results.benchmark import Spread
from unlearn.results.robust import CONTROL, PLAIN, REFUSING, ROBUST

DOCS = ROOT / "docs"
GROUPS = (ROBUST, PLAIN, REFUSING)


def told(row: Mapping[str, Any]) -> str:
    """Return the line that is printed when a row is done."""
    place = f"{row['world']} {row['kind']} {row['way']} seed {row['seed']}"
    if "failed" in row:
        return f"{place}: {row['failed']}"
    parts = [f"factor {row['factor']:g}"] if "factor" in row else []
    parts += [f"{name} {row[name]:.3f}" for name in ("kept", "forget", "right") if row.get(name) is not None]
    if "curve" in row:
        parts.append("curve " + " ".join(f"{p['step']}:{p['probability']:.2f}" for p in row["curve"]))
    says = row.get("says") or {}
    parts += [f"{name} {says[name]:.2f}" for name in ("form", "perplexity") if name in says]
    parts += [f"{name} {row[name]:.1f}" for name in ("cpu_seconds", "attack_seconds") if name in row]
    return f"{place}: {', '.join(parts)}"


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown: for each world the sentence, the picture, what each method leaves and says, and the origin."""
    rows, parts = result["rows"], []
    for world in robust.worlds(rows):
        parts += [f"**{world}**", "", robust.sentence(rows, world), ""]
        if not any(row["kind"] == "try" for row in rows if row["world"] == world):
            parts += ["Each method is at the settings that ship with it; nothing was tried here.", ""]
        picture = picture_of(world)
        if picture.is_file():
            parts += [f"![What is left after practice, on {world}]({picture.name})", ""]
        parts += [*left_lines(rows, world), ""]
        if told_ := robust.said_sentence(rows, world):
            parts += [told_, "", *said_lines(rows, world), ""]
    if lacking := missing(rows):
        parts += [
            f"Not measured yet: {lacking}. `python -m bench.robust` goes on, on the larger model with "
            f"`--worlds {LARGER} --shipped`.",
            "",
        ]
    made: dict[str, None] = {}
    for command in dict.fromkeys(row["origin"]["command"] for row in rows if "curve" in row):
        mine = [row for row in rows if row["origin"]["command"] == command]
        row = next(row for row in mine if "curve" in row)
        seeds = sorted({r["seed"] for r in mine if r["kind"] == "run"})
        made.setdefault(origin(row["origin"] | {"seeds": seeds, "machine": _quiet(mine)}), None)
    return "\n".join([*parts, "<br>".join(made)])


def missing(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say which runs of the plan have no row yet, world by world, or ""."""
    have = set(map(key, rows))
    lacking: dict[str, dict[str, list[int]]] = {}
    for place in wanted((*WORLDS, LARGER)):
        if place.kind == "run" and place.key not in have:
            mine = lacking.setdefault(place.world, {})
            mine.setdefault(WAYS[place.way].title, []).append(place.seed)
    return "; ".join(
        f"{world}: "
        + ", ".join(f"{title} (seeds {', '.join(map(str, seeds))})" for title, seeds in mine.items())
        for world, mine in lacking.items()
    )


def _quiet(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The machine at the highest load that any row met."""
    return max((row["origin"]["machine"] for row in rows), key=lambda machine: machine["load"])


def left_lines(rows: Sequence[Mapping[str, Any]], world: str) -> list[str]:
    """Return the table of one world: utility, what is left on the way and at the worst step, and the difference."""
    last = robust.most_steps(rows, world)
    steps = sorted({0, 5, 10, last} & {p["step"] for row in rows if "curve" in row for p in row["curve"]})
    heads = ["settings tried", "utility kept, %", "general perplexity, ×"]
    heads += [f"left after {step} steps, %" for step in steps]
    heads += [
        "at the worst step, %",
        "right answers, most, %",
        "less than plain ones of equal utility, points",
    ]
    found = ["| method | " + " | ".join(heads) + " |", "|---|---|" + "--:|" * (len(heads) - 1)]
    for group in GROUPS:
        for way, title in robust.ways(rows, world, group).items():
            runs = list(robust.runs(rows, world, way).values())
            curve = robust.curve(rows, world, way)
            general = [row["general"] for row in runs if row.get("general") is not None]
            most = robust.spread(list(robust.worst(rows, world, way).values()))
            right = [max(p["right"] for p in row["curve"]) for row in runs]
            less = robust.against(rows, world, way).less if group == ROBUST else None
            cells = [_settings(rows, world, way), _percent(robust.kept(rows, world, way))]
            cells += [_plain(robust.spread(general)) if general else "–"]
            cells += [_percent(curve[step]) if step in curve else "–" for step in steps]
            cells += [_percent(most), _percent(robust.spread(right)), _percent(less) if less else "–"]
            found.append(f"| {title} | " + " | ".join(cells) + " |")
    controls = robust.runs(rows, world, CONTROL).values()
    if controls:
        right = [max(p["right"] for p in row["curve"]) for row in controls]
        cells = ["", "", "", *["0" for _ in steps], "0", _percent(robust.spread(right)), ""]
        found.append("| *the retrained model* | " + " | ".join(cells) + " |")
    return found


def said_lines(rows: Sequence[Mapping[str, Any]], world: str) -> list[str]:
    """Return the table of what kind of answers each model gives."""
    heads = (
        "of the right form, %",
        "refusals, %",
        "empty, %",
        "perplexity of the answers under the original",
    )
    found = ["| answers of | " + " | ".join(heads) + " |", "|---|" + "--:|" * len(heads)]
    for title, one in robust.said(rows, world).items():
        cells = [_percent(one[name]) for name in ("form", "refusals", "empty")] + [_plain(one["perplexity"])]
        found.append(f"| {title} | " + " | ".join(cells) + " |")
    return found


def _settings(rows: Sequence[Mapping[str, Any]], world: str, way: str) -> str:
    settings = next(iter(robust.runs(rows, world, way).values()))["settings"]
    return f"{settings['dial'].replace('_', ' ')} {settings['value']:.3g}"


def _percent(one: Spread) -> str:
    mean, *ends = (
        "–" if value is None else f"{round(100 * value) + 0}" for value in (one.mean, one.low, one.high)
    )
    return mean if one.low is None else f"{mean} [{', '.join(ends)}]"


def _plain(one: Spread) -> str:
    mean = f"{one.mean:.3g}"
    return mean if one.low is None or one.high is None else f"{mean} [{one.low:.3g}, {one.high:.3g}]"


# -- pictures ------------------------------------------------------------------------------------------------------


def picture_of(world: str) -> Path:
    """Return the file of a world's picture in docs."""
    return DOCS / f"robustness-{world}.svg"


def picture(rows: Sequence[Mapping[str, Any]], world: str) -> str:
    """Return the figure of a world as an SVG file that stands alone: a white ground, with its legend below."""
    from unlearn.figures import svg
    from unlearn.figures.robust import relearned

    drawing = svg.draw(relearned(rows, world))
    shown = drawing.svg + "".join(swatch for swatch, _ in drawing.legend)
    # Only the colours in it, so that another figure's new colour does not change this file.
    colors = [rule for rule in re.findall(r"\.(c\w+)(\{[^}]*\})", svg.palette()) if rule[0] in shown]
    style = "".join(f".{name}{rule}" for name, rule in colors)
    style += "text{font:11.5px sans-serif;fill:#444}.grid{stroke:#e5e5e5}.axis{stroke:#888}"
    parts, x = [], 20
    for swatch, name in drawing.legend:
        mark = swatch.replace("<svg ", f'<svg x="{x}" y="{svg.HEIGHT}" width="16" height="14" ', 1)
        parts.append(f'{mark}<text x="{x + 22}" y="{svg.HEIGHT + 11}">{html.escape(name)}</text>')
        x += 40 + 6 * len(name)
    inner = drawing.svg.partition(">")[2].rpartition("</svg>")[0]
    size = f"{svg.WIDTH} {svg.HEIGHT + 22}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img" '
        f'aria-label="{html.escape(drawing.title)}"><style>{style}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{inner}{"".join(parts)}</svg>\n'
    )


def draw(rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the picture of every world that has one."""
    for world in robust.worlds(rows):
        picture_of(world).write_text(picture(rows, world), encoding="utf-8")
