"""Measures every method at its defaults on rows that no setting was chosen on: other people, other countries.

    python -m bench.others                                  every method on tiny-authors, three seeds
    python -m bench.others --models smollm2 --seeds 1       the capitals of 22 countries outside Europe

The forget set changes places with rows to keep about as many subjects, the last of them in the role. The rows of
neighbours are of people near the old forget set and are left out. Nothing else differs from bench.defaults, and nothing
is tuned. There is no retrained model for such a set, so none is shown.

Expected before measuring: the settings were chosen among few and coarse ones, so that little of what they reach is luck
with these very rows: on tiny-authors each method's shares within five points of those of bench.defaults, and the same
methods on either side of the aim. Writes assets/results/others.json; a finished row is not measured again.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import defaults
from bench.record import RESULTS, header, origins, write_result
from unlearn.data import write
from unlearn.data.base import Dataset
from unlearn.data.catalogue import from_config
from unlearn.methods import METHODS
from unlearn.models.catalogue import CATALOGUE
from unlearn.results.measured import AIM, AIMED, missed, read
from unlearn.store.disk import cache_dir
from unlearn.store.runs import RunStore

MODELS = ("tiny-authors", "smollm2")
ROLES = ("forget", "retain", "general")


def swapped(data: Dataset) -> Dataset:
    """Return the dataset with its forget rows among those to keep, and as many subjects of those to forget."""
    kept = list(dict.fromkeys(row.subject for row in data.rows("retain")))
    count = len({row.subject for row in data.rows("forget")})
    if not 0 < count < len(kept):
        raise ValueError(
            f"{data.name}: must have more subjects to keep than to forget, got {len(kept)} and {count}. "
            "Measure on another set."
        )
    others = set(kept[-count:])
    roles = {role: data.rows(role) for role in ("general", "approximate") if data.rows(role)}
    roles["forget"] = tuple(row for row in data.rows("retain") if row.subject in others)
    rest = tuple(row for row in data.rows("retain") if row.subject not in others)
    roles["retain"] = rest + tuple(replace(row, request=0) for row in data.rows("forget"))
    return Dataset(
        name=f"{data.name}-others", title=f"{data.title}, others to forget", roles=roles, note=data.note
    )


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown: for each model what is left of the others, beside what is left of the usual forget set."""
    usual = {
        (row["model"], row["method"]): row
        for row in json.loads((RESULTS / "defaults.json").read_text(encoding="utf-8"))["rows"]
    }
    parts: list[str] = []
    for model in dict.fromkeys(row["model"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["model"] == model]
        parts += [f"**{model}**", "", *_lines(rows, usual), ""]
        parts += [_apart(rows, usual), ""]
        parts += [origins(row["origin"] for row in rows), ""]
    return "\n".join(parts)


def _lines(
    rows: Sequence[Mapping[str, Any]], usual: Mapping[tuple[str, str], Mapping[str, Any]]
) -> list[str]:
    heads = [f"{role}, % right" for role in ROLES] + ["general, perplexity"]
    heads += ["usual forget, % right", "usual retain, % right", "usual general, perplexity"]
    found = ["| method | " + " | ".join(heads) + " | seeds |", "|---|" + "--:|" * (len(heads) + 1)]
    columns = [*((role, "exact") for role in ROLES), ("general", "ppl")]
    first = [defaults.number(defaults.at(rows[0], *one, "before"), one[1]) for one in columns]
    found.append("| before | " + " | ".join([*first, "", "", "", ""]) + " |")
    for row in rows:
        cells = [defaults.spread_of(defaults.at(row, *one, "after"), one[1]) for one in columns]
        beside = usual.get((row["model"], row["method"]))
        for one in (("forget", "exact"), ("retain", "exact"), ("general", "ppl")):
            same = beside is not None and _same(row, beside)
            cells.append(defaults.spread_of(defaults.at(beside, *one, "after"), one[1]) if same else "–")
        name = METHODS[row["method"]].title + defaults.mark(row)
        found.append(f"| {name} | " + " | ".join(cells) + f" | {len(row['cpu_seconds']['values'])} |")
    if any(defaults.mark(row) for row in rows):
        found += ["", "† general perplexity more than doubled, or training diverged, in at least one seed."]
    return found


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two rows are of the same settings."""
    names = ("tuning", "lr", "epochs", "batch_size", "knobs")
    return all(one[name] == other[name] for name in names)


def _apart(rows: Sequence[Mapping[str, Any]], usual: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    """Say how far these rows lie from the usual ones, and which methods lie on another side of the aim."""
    pairs = [
        (row, usual[key])
        for row in rows
        if (key := (row["model"], row["method"])) in usual and _same(row, usual[key])
    ]
    if not pairs:
        return "No method has the settings here that its usual row was measured with."
    said = []
    for role in ("forget", "retain"):
        apart = [100 * (_mean(here, role) - _mean(there, role)) for here, there in pairs]
        middle = sum(apart) / len(apart)
        most = max(range(len(pairs)), key=lambda i: abs(apart[i]))
        title = METHODS[pairs[most][0]["method"]].title
        said.append(
            f"right {role} answers {_signed(middle)} points ({_signed(min(apart))} to {_signed(max(apart))}, "
            f"farthest {title})"
        )
    text = f"Less the usual forget set's, mean over {len(pairs)} methods and range: {'; '.join(said)}."
    if rows[0]["model"] != AIMED:
        return text
    told = [(METHODS[row["method"]].title, missed(read(row))) for row in rows]
    met = ", ".join(name for name, words in told if not words) or "none"
    words = "; ".join(f"{name} ({', '.join(why)})" for name, why in told if why) or "none"
    return f"{text} The aim ({AIM}) is reached here by: {met}. It is missed by: {words}.".replace("%", " %")


def _mean(row: Mapping[str, Any], role: str) -> float:
    """The mean share of right answers over seeds; a run that ended in no numbers has none, and is nan."""
    after = defaults.at(row, role, "exact", "after")
    return float(after["mean"]) if after else float("nan")


def _signed(points: float) -> str:
    return f"{points:+.0f}".replace("-", "−").replace("+0", "0").replace("−0", "0")


def main() -> None:
    """Measure what has no row, and write each row when it is done."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--models", nargs="+", choices=MODELS, default=MODELS[:1])
    options.add_argument("--methods", nargs="+", choices=list(METHODS), default=())
    options.add_argument("--seeds", type=int, default=defaults.SEEDS, help="how many, from 0 on")
    options.add_argument("--again", action="store_true", help="measure also what has a row")
    options.add_argument("--out", type=Path, default=RESULTS / "others.json")
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    seeds = list(range(args.seeds))
    rows = json.loads(args.out.read_text(encoding="utf-8"))["rows"] if args.out.is_file() else []
    # In the cache, since a run reads files in the allowed folders alone.
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        store = RunStore(Path(folder) / "runs")
        for model in args.models:
            data = write.save(swapped(from_config({"name": CATALOGUE[model].data})), Path(folder) / model)
            command = f"python -m bench.others --models {model} --seeds {args.seeds}"
            for method in args.methods or [name for name, one in METHODS.items() if one.continues]:
                if not args.again and any((row["model"], row["method"]) == (model, method) for row in rows):
                    continue
                top = header(args.allow_dirty, seeds=seeds) | {"command": command}
                row = defaults.measure(store, model, method, seeds, data) | {"origin": top}
                rows = defaults.merged(rows, [row])
                write_result(args.out, {"rows": rows})
                print(_lines([row], {})[3], flush=True)


if __name__ == "__main__":
    main()
