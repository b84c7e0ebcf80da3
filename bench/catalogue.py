"""Writes tables for docs/ of methods, metrics, attacks and public names, each in its own words."""

import inspect
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import unlearn
from unlearn.attacks import ATTACKS, CELLS
from unlearn.methods import AFTER, OFFERED
from unlearn.metrics import BENCHMARKS, CHEAP, METRICS
from unlearn.models.catalogue import CATALOGUE
from unlearn.work import forecast


def methods() -> str:
    """Return every method with its paper, its sentence, what it can train, and its knobs with their ranges."""
    parts = []
    for method in (*OFFERED.values(), *AFTER.values()):
        parts += [f"### {method.title} (`{method.name}`)", "", method.sentence]
        trains = f"Trains {_tunings(method.tunings)}." if method.changes_weights else "Changes no weight."
        parts += ["", f"{method.paper}. {trains}"]
        parts += [f"Risk: {method.risks()}"]
        if method.also:
            parts += [f"Also known as: {', '.join(method.also)}."]
        if method.knobs():
            cells = [(f"`{k.name}`", str(k.default), _range(k), k.help) for k in method.knobs()]
            parts += ["", _table(("knob", "default", "range", "what it does"), cells)]
        parts.append("")
    return "\n".join(parts)


def _tunings(names: Iterable[str]) -> str:
    words = {"full": "every weight", "lora": "a LoRA adapter", "layers": "unlearning layers"}
    return " or ".join(words[name] for name in names)


def _range(knob: Any) -> str:
    if knob.choices:
        return " · ".join(knob.choices)
    return "" if knob.low is None else f"{knob.low:g} to {knob.high:g}"


def metrics() -> str:
    """Return a table of every metric with its definition, what is better, and when it is computed."""
    rows = []
    for name, one in METRICS.items():
        better = one.ideal if isinstance(one.ideal, str) else f"{one.ideal:g}"
        rows.append((f"`{name}`", one.title, one.help, better, "every run" if name in CHEAP else "on demand"))
    return _table(("name", "title", "definition", "better on rows to keep", "computed"), rows)


def models() -> str:
    """Return a table of every model of the catalogue, with what a run of it takes and what belongs to it."""
    ways = [way.name for way in forecast.WAYS]
    rows = []
    for entry in CATALOGUE.values():
        sizes = [f"{one.bytes / 2**30:.1f}" for one in forecast.forecast(entry.parameters, {})]
        terms = " (gated)" if entry.gated else ""
        kind = "chat" if entry.chat else "base"
        retrain = ", ".join(f"`{name}` for {data}" for data, name in entry.retrains.items())
        retrain = retrain or (f"bundled, for {entry.data}" if entry.retrain else "")
        title = entry.title if entry.loaded else f"{entry.title}, not loaded here"
        size = f"{entry.parameters / 1e6:,.0f} M"
        rows.append((f"`{entry.name}`", title, size, *sizes, kind, f"{entry.licence}{terms}", retrain))
    heads = ("name", "title", "parameters", *ways, "kind", "licence", "exact retrain")
    return _table(heads, rows)


def benchmark_metrics() -> str:
    """Return a table of the metrics that belong to a benchmark, with their definitions and papers."""
    rows = []
    for name, one in BENCHMARKS.items():
        better = one.ideal if isinstance(one.ideal, str) else f"{one.ideal:g}"
        rows.append((f"`{name}`", one.title, one.help, better, one.paper))
    return _table(
        ("name", "title", "definition, and how ours differs", "better on what must stay", "paper"), rows
    )


def attacks() -> str:
    """Return a table of every attack, with what it does and what its finding tells."""
    rows = [(f"`{name}`", one.title, one.help, one.tells) for name, one in ATTACKS.items()]
    single = _table(("name", "title", "what is done", "what it tells"), rows)
    families: dict[tuple[str, str, str], list[str]] = {}
    for cell in CELLS:
        one = cell.attack
        if one.name not in ATTACKS:
            families.setdefault((cell.family, one.paper, one.tells), []).append(f"`{one.name}`")
    swept = [(family, "; ".join(names), tells, paper) for (family, paper, tells), names in families.items()]
    many = _table(("attack", "settings of a sweep, in its order", "what it tells", "paper"), swept)
    return f"{single}\n\nAnd what `attack --sweep` tries beside them:\n\n{many}"


def library() -> str:
    """Return every public name of `import unlearn` with its signature, and its docstring with the example."""
    parts = []
    for name in unlearn.__all__:
        found = getattr(unlearn, name)
        text = inspect.getdoc(found) or ""
        parts.append(f"### `unlearn.{name}`")
        if inspect.isfunction(found):
            parts += ["", "```text", f"{name}{_signature(found)}", "```"]
            parts += ["", *_prose(text)]
        else:
            parts += ["", text.split("\n\n")[0]]
        parts.append("")
    return "\n".join(parts)


def _signature(function: Any) -> str:
    """Return the parameters with their defaults. The types stand in the source."""
    shown = []
    star = False
    for one in inspect.signature(function).parameters.values():
        if one.kind is one.KEYWORD_ONLY and not star:
            shown.append("*")
            star = True
        default = getattr(one.default, "__name__", repr(one.default))
        mark = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        star = star or one.kind is one.VAR_POSITIONAL
        shown.append(f"{mark}{one.name}" + ("" if one.default is one.empty else f"={default}"))
    return f"({', '.join(shown)})"


def _prose(text: str) -> list[str]:
    """A docstring as markdown: indented blocks and examples become code."""
    lines: list[str] = []
    for part in text.split("\n\n"):
        if part.startswith(">>>"):
            lines += ["```pycon", part, "```", ""]
        elif all(line.startswith("    ") for line in part.split("\n")):
            lines += ["```text", textwrap.dedent(part), "```", ""]
        else:
            lines += [part, ""]
    return lines[:-1]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [[_cell(cell) for cell in line] for line in (heads, ["---"] * len(heads), *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
