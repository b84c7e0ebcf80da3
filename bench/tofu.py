"""Measures every method at its defaults on TOFU, on a real model with a truth, with the metrics that researchers read.

    python -m bench.tofu                               all that is missing, in the order of the table
    python -m bench.tofu --methods npo undial --data tofu-forget01 --seeds 1
    python -m bench.tofu --other-seed FOLDER           the row of a retrain of another seed: its merged model

On smollm2-tofu: forget01 with every method (EIGHT of them with three seeds, the others with one), then forget10 with
the EIGHT. Each run goes the way of a user's run, with the settings that `unlearn run` would take; then come TOFU's own
metrics and some of ours. A finished row is written at once and not measured again, so the bench may be cut and begun
anew; the table says what is missing. What was hoped for before measuring: NPO and UnDIAL forget to the retrain's level
at a utility within 5 % of the start's; GA loses the utility; no method reaches the retrain's KL.
Writes assets/results/tofu.json.
"""

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from bench.defaults import carry_out  # noqa: E402
from bench.record import RESULTS, header, origin, write_result  # noqa: E402
from unlearn.__main__ import parser  # noqa: E402
from unlearn.commands.options import config_of  # noqa: E402
from unlearn.measure import judge  # noqa: E402
from unlearn.methods import METHODS  # noqa: E402
from unlearn.models.catalogue import CATALOGUE  # noqa: E402
from unlearn.store.disk import cache_dir  # noqa: E402
from unlearn.store.runs import Run, RunConfig, RunStore  # noqa: E402

MODEL = "smollm2-tofu"
FIRST, WHOLE = "tofu-forget01", "tofu-forget10"
# The methods that are measured with all seeds, and on both forget sets.
EIGHT = ("ga", "gd", "kl", "npo", "simnpo", "undial", "rmu", "idkdpo")
# The methods of the README's table.
FIVE = ("ga", "gd", "npo", "simnpo", "undial")
SEEDS = (0, 1, 2)
# The rows that no method made.
START, RETRAIN, OTHER = "start", "retrain", "retrain, another seed"
MEASURED = ("tofu", "extraction", "mia_min_k", "kl_retrain")
COLUMNS = (
    "TOFU utility",
    "forget quality, log₁₀ p",
    "D",
    "ROUGE-L, forget",
    "truth ratio, forget",
    "extraction strength",
    "MIA (Min-K%)",
    "KL to retrain, forget",
    "right in chat / plain / completion, %",
    "CPU seconds",
)


def default_config(data: str, method: str, seed: int) -> RunConfig:
    """Return the config that `unlearn run --model smollm2-tofu --data … --method …` asks for."""
    words = ["run", "--model", MODEL, "--data", data, "--method", method, "--seed", str(seed)]
    return config_of(parser().parse_args(words))


def wanted(
    methods: Sequence[str] = (), data: Sequence[str] = (), seeds: int = len(SEEDS)
) -> Iterator[tuple[str, str, int]]:
    """Yield (data, method, seed) of each run of the table, the most read first."""
    fitting = [name for name, method in METHODS.items() if method.continues]
    others = [name for name in fitting if name not in EIGHT]
    plan = [(FIRST, name, 0) for name in (*FIVE, *(n for n in EIGHT if n not in FIVE), *others)]
    plan += [(FIRST, name, seed) for seed in SEEDS[1:] for name in EIGHT]
    plan += [(WHOLE, name, 0) for name in EIGHT]
    for where, name, seed in plan:
        if (not methods or name in methods) and (not data or where in data) and seed < seeds:
            yield where, name, seed


def measure(store: RunStore, data: str, method: str, seed: int) -> list[dict[str, Any]]:
    """Carry out one run and return its row, and those of the start and of the retrain beside it."""
    run, seconds = carry_out(store, default_config(data, method, seed))
    if run.state != "done":
        return [{"data": data, "method": method, "seed": seed, "failed": run.reason}]
    record = judge.judge(run, MEASURED)
    settings = {
        name: getattr(run.config, name) for name in ("lr", "epochs", "batch_size", "tuning", "prompt")
    }
    row = {"data": data, "method": method, "seed": seed, "cpu_seconds": seconds, "settings": settings}
    row |= {"knobs": dict(run.config.knobs)} | values(record, run, "after")
    beside = [
        {"data": data, "method": name, "seed": 0} | values(record, run, when)
        for name, when in ((START, "before"), (RETRAIN, "retrained"))
    ]
    return [row, *beside]


def values(record: Mapping[str, Any], run: Run | None, when: str) -> dict[str, Any]:
    """Return what the row of one model holds, from metrics.json and the run's scores."""

    def score(metric: str, role: str) -> Mapping[str, Any]:
        scores = record["metrics"][metric]["scores"]
        return next((s for s in scores if (s["when"], s["role"]) == (when, role)), {})

    quality = score("tofu_forget_quality", "forget")
    found = {
        "utility": score("tofu_utility", "kept").get("value"),
        "parts": score("tofu_utility", "kept").get("details", {}).get("parts", {}),
        "quality": {"p": quality.get("value"), **quality.get("details", {})},
        "rouge": score("tofu_rouge", "forget").get("value"),
        "probability": score("tofu_probability", "forget").get("value"),
        "truth_ratio": score("tofu_truth_ratio", "forget").get("value"),
        "extraction": score("extraction", "forget").get("value"),
        "mia": score("mia_min_k", "forget").get("value"),
        "kl": {role: score("kl_retrain", role).get("value") for role in ("forget", "paraphrase", "retain")},
    }
    if run is not None:
        scores = run.scores().get(when, {})
        found["by_format"] = {
            role: {name: one["right"] for name, one in scores.get(role, {}).get("by_format", {}).items()}
            for role in ("forget", "retain")
        }
    return found


def other_seed(data: str, folder: Path, store: RunStore) -> dict[str, Any]:
    """Return the row of a retrain of another seed, whose merged model lies in the folder."""
    from unlearn.data.catalogue import from_config
    from unlearn.data.prompts import asked_in
    from unlearn.measure.evaluate import rows_to_score
    from unlearn.measure.evidence import ModelEvidence
    from unlearn.metrics import EVERY
    from unlearn.models.catalogue import exact_retrain
    from unlearn.models.load import load, weights_hash
    from unlearn.models.reading import as_read

    config = default_config(data, "npo", 0)
    truth = exact_retrain(config)
    assert truth is not None, "the bench's forget sets have their retrains"
    folders = {"before": CATALOGUE[MODEL].path(), "after": folder, "retrained": truth}
    rows = asked_in(as_read(from_config(dict(config.data)), config), config.prompt, config.system)
    evidence = ModelEvidence(
        rows_to_score(rows),
        lambda when: load(str(folders[when])),
        {when: weights_hash(place, None) for when, place in folders.items()},
        data_hash=rows.hash(),
        max_length=config.max_length,
        store=store.path,
        items=lambda: judge.Benchmark().items(config, None),
    )
    names = [metric.name for metric in judge.chosen_metrics(MEASURED)]
    record = {"metrics": {name: judge.entry(EVERY[name], EVERY[name].measure(evidence)) for name in names}}
    return {"data": data, "method": OTHER, "seed": 1} | values(record, None, "after")


def key(row: Mapping[str, Any]) -> tuple[str, str, int]:
    """Return what a row is of: data, method, seed."""
    return row["data"], row["method"], row["seed"]


def merged(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows with the new ones in place of the old ones, in the order of the table."""
    rows = {key(row): row for row in [*old, *new]}
    methods = [START, RETRAIN, OTHER, *METHODS]
    return [rows[k] for k in sorted(rows, key=lambda k: (k[0], methods.index(k[1]), k[2]))]


def missing(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """Return what the whole table has and these rows lack."""
    have = {key(row) for row in rows}
    every = [*wanted(), *((data, OTHER, 1) for data in (FIRST,))]
    return [one for one in every if one not in have]


def table(result: Mapping[str, Any], methods: Sequence[str] = ()) -> str:
    """Return Markdown: a table for each forget set, one line a method, and what is missing."""
    parts = []
    for data in dict.fromkeys(row["data"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["data"] == data]
        parts += [f"**{data}**, {MODEL}", "", *lines(rows, methods), ""]
    lacking = missing(result["rows"])
    if lacking and not methods:
        names: dict[str, list[str]] = {}
        for data, method, seed in lacking:
            names.setdefault(data, []).append(f"{title(method)} (seed {seed})")
        told = "; ".join(f"{data}: {', '.join(found)}" for data, found in names.items())
        parts += [f"Not measured yet: {told}. `python -m bench.tofu` goes on.", ""]
    made = dict.fromkeys(origin(row["origin"]) for row in result["rows"])
    return "\n".join([*parts, "<br>".join(made)])


def lines(rows: Sequence[Mapping[str, Any]], methods: Sequence[str] = ()) -> list[str]:
    """Return the lines of one forget set's table: seeds of one method in one line, mean ± sd."""
    found = [f"| method | {' | '.join(COLUMNS)} |", "|---|" + "--:|" * len(COLUMNS)]
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        if methods and method in METHODS and method not in methods:
            continue
        if all("failed" in row for row in mine):
            found.append(f"| {title(method)} | {' | '.join(['diverged', *['–'] * (len(COLUMNS) - 1)])} |")
            continue
        found.append(f"| {title(method)} | {' | '.join(cells([r for r in mine if 'failed' not in r]))} |")
    return found


def cells(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the cells of one method."""
    quality = [row["quality"] for row in rows]
    formats = [row.get("by_format", {}).get("forget", {}) for row in rows]
    said = [[100 * one[name] for one in formats if name in one] for name in ("chat", "plain", "completion")]
    return [
        spread([row["utility"] for row in rows], 3),
        spread([one.get("log10") for one in quality], 1),
        spread([one.get("d") for one in quality], 2),
        *(spread([row[name] for row in rows], 2) for name in ("rouge", "truth_ratio", "extraction", "mia")),
        spread([row["kl"]["forget"] for row in rows], 2),
        " / ".join(spread(one, 0) for one in said),
        spread([row.get("cpu_seconds") for row in rows], 0),
    ]


def spread(numbers: Sequence[float | None], digits: int) -> str:
    """Write mean ± standard deviation, the value alone where there is one, or a dash."""
    found = [float(value) for value in numbers if value is not None]
    if not found:
        return "–"
    mean = sum(found) / len(found)
    if len(found) == 1:
        return f"{mean:.{digits}f}"
    sd = math.sqrt(sum((value - mean) ** 2 for value in found) / (len(found) - 1))
    return f"{mean:.{digits}f} ± {sd:.{digits}f}"


def title(method: str) -> str:
    """Return a row's name: a method's title, or in italics what no method made."""
    return METHODS[method].title if method in METHODS else f"*{method}*"


def main() -> None:
    """Measure what is missing and write each row when it is done."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--methods", nargs="+", choices=list(METHODS), default=())
    options.add_argument("--data", nargs="+", choices=(FIRST, WHOLE), default=())
    options.add_argument("--seeds", type=int, default=len(SEEDS))
    options.add_argument("--again", action="store_true", help="measure also what has a row")
    options.add_argument(
        "--other-seed", type=Path, help="the folder of a retrain without forget01 of another seed"
    )
    options.add_argument(
        "--store", type=Path, help="the folder of the runs (default: in the product's cache)"
    )
    options.add_argument("--out", type=Path, default=RESULTS / "tofu.json")
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    rows: list[Any] = json.loads(args.out.read_text(encoding="utf-8"))["rows"] if args.out.is_file() else []
    store = RunStore(args.store or cache_dir() / "bench-tofu")
    if args.other_seed:
        top = header(args.allow_dirty, seeds=[1])
        rows = merged(rows, [other_seed(FIRST, args.other_seed, store) | {"origin": top}])
        write_result(args.out, {"rows": rows})
        return
    for one in wanted(args.methods, args.data, args.seeds):
        if one in {key(row) for row in rows} and not args.again:
            continue
        top = header(args.allow_dirty, seeds=[one[2]])
        found = [row | {"origin": top} for row in measure(store, *one)]
        rows = merged(
            rows, [row for row in found if row["method"] in METHODS or key(row) not in map(key, rows)]
        )
        write_result(args.out, {"rows": rows})
        print("\n".join(lines([row for row in found if "failed" not in row])), flush=True)


if __name__ == "__main__":
    main()
