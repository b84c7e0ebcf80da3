"""Measures EUL's two settings on the bundled T5 models: dialogues by speaker, and reviews with wrong labels.

    python -m bench.eul                           all methods of the paper's tables that run here, three seeds
    python -m bench.eul --methods mend --models tiny-reviews

Writes assets/results/eul.json; rows that were not asked for stay as they are, each with the commit and command that
made it. Each method at its default settings, through the path of a user's run. The paper compares EUL with retraining,
fine-tuning, SISA, reverse gradient and MEND; SISA trains a recipe of its own, which these models do not have.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from bench.defaults import carry_out, default_config, spread  # noqa: E402
from bench.record import RESULTS, header, origins, write_result  # noqa: E402
from unlearn.measure import judge  # noqa: E402
from unlearn.methods import METHODS  # noqa: E402
from unlearn.store.runs import RunStore  # noqa: E402

# {model: its columns: (metric, role), what stands above it}.
COLUMNS = {
    "tiny-dialogues": {
        **{(f"rouge{n}", "forget"): f"forget, ROUGE-{n}" for n in ("1", "2", "L")},
        **{(f"rouge{n}", "retain"): f"retain, ROUGE-{n}" for n in ("1", "2", "L")},
        ("memorised", "forget"): "forget, word for word",
        ("memorised", "retain"): "retain, word for word",
        ("mia_states", "forget"): "membership by a classifier, AUC",
    },
    "tiny-reviews": {
        ("exact", "forget"): "forget, the wrong label",
        ("true_labels", "forget"): "forget, the right label",
        ("true_labels", "approximate"): "never seen, the right label",
        ("true_labels", "retain"): "retain, the right label",
        ("true_labels", "general"): "general, the right label",
        ("mia_states", "forget"): "membership by a classifier, AUC",
    },
}
NAMES = ("eul", "mend", "gd", "finetune")
SEEDS = 3
WHEN = ("before", "retrained")


def measure(store: RunStore, model: str, method: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Carry out all seeds of one method on one model and return {column: {"before", "retrained", "after"}}."""
    metrics = sorted({metric for metric, _ in COLUMNS[model]})
    found: list[dict[tuple[str, str], Mapping[str, Any]]] = []
    seconds, failed = [], []
    for seed in seeds:
        run, took = carry_out(store, default_config(model, method, seed))
        seconds.append(took)
        if run.state != "done":
            failed.append(run.reason)
            continue
        rows = judge.table(judge.judge(run, metrics))
        found.append({(row["metric"], row["role"]): row for row in rows})
    columns = {
        "/".join(place): {when: found[0][place].get(when) for when in WHEN}
        | {"n": found[0][place]["n"], "after": spread([one[place]["after"] for one in found])}
        for place in COLUMNS[model]
        if found
    }
    return {
        "model": model,
        "method": method,
        "columns": columns,
        "cpu_seconds": spread(seconds),
        "failed": failed,
    }


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown with one table for each model and one line for each method."""
    parts = []
    for model, columns in COLUMNS.items():
        rows = [row for row in result["rows"] if row["model"] == model]
        if not rows:
            continue
        names = ["/".join(place) for place in columns]
        parts += [f"**{model}** (3 seeds, mean ± sd)", ""]
        parts += [
            f"| method | {' | '.join(columns.values())} | CPU seconds |",
            "|---|" + "--:|" * (len(columns) + 1),
        ]
        for label, when in (("before", "before"), ("*retrained without*", "retrained")):
            cells = [_number(rows[0]["columns"][name][when]) for name in names]
            parts.append(f"| {label} | {' | '.join(cells)} |  |")
        for row in rows:
            cells = [_spread(row["columns"][name]["after"]) for name in names]
            title = METHODS[row["method"]].title
            parts.append(f"| {title} | {' | '.join(cells)} | {row['cpu_seconds']['mean']:.0f} |")
        parts += ["", origins(row["origin"] for row in rows), ""]
    return "\n".join(parts)


def _number(value: Any) -> str:
    return "–" if value is None else f"{float(value):.2f}"


def _spread(value: Mapping[str, Any]) -> str:
    return f"{value['mean']:.2f} ± {value['sd']:.2f}"


def merged(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows with the new ones in place of the old ones of the same model and method, in a fixed order."""
    rows = {(row["model"], row["method"]): row for row in [*old, *new]}
    return [
        rows[key] for key in sorted(rows, key=lambda key: (list(COLUMNS).index(key[0]), NAMES.index(key[1])))
    ]


def main() -> None:
    """Measure and record the methods. Each finished row is written at once."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--models", nargs="+", choices=list(COLUMNS), default=list(COLUMNS))
    options.add_argument("--methods", nargs="+", choices=NAMES, default=NAMES)
    options.add_argument("--out", type=Path, default=RESULTS / "eul.json")
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    seeds = list(range(SEEDS))
    kept = json.loads(args.out.read_text(encoding="utf-8"))["rows"] if args.out.is_file() else []
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder))
        for model in args.models:
            for method in args.methods:
                top = header(args.allow_dirty, seeds=seeds)
                rows.append(measure(store, model, method, seeds) | {"origin": top})
                write_result(args.out, {"rows": merged(kept, rows)})
                print(
                    model,
                    method,
                    {n: _spread(c["after"]) for n, c in rows[-1]["columns"].items()},
                    flush=True,
                )
