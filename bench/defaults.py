"""Measures every method at its default settings, through the same path as a user's run.

    python -m bench.defaults                                   all methods, both models, three seeds
    python -m bench.defaults --models tiny-authors --methods npo undial

Writes assets/results/defaults.json; rows of models and methods that were not asked for stay as they are, each row with
the commit and command that made it. What was hoped for before measuring: on tiny-authors at most 10 % of the
forget questions answered, at least 90 % of before on retain and neighbours, general perplexity within 1.1 times
before, for UnDIAL and NPO; GA+GD close; GA alone ruined; fine-tuning on retain forgetting next to nothing. On
smollm2: UnDIAL at most 20 % of the European capitals and at least 80 % of what it knew on the others.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from bench.record import RESULTS, header, origin, write_result  # noqa: E402
from unlearn.__main__ import parser  # noqa: E402
from unlearn.commands.options import config_of  # noqa: E402
from unlearn.methods import METHODS  # noqa: E402
from unlearn.models.catalogue import CATALOGUE  # noqa: E402
from unlearn.results.measured import AIM, AIMED, missed, read  # noqa: E402
from unlearn.store.runs import Run, RunConfig, RunStore  # noqa: E402
from unlearn.work.execute import execute  # noqa: E402

MODELS = ("tiny-authors", "tiny-snippets", "smollm2")
ROLES = ("forget", "paraphrase", "retain", "neighbours", "general")
COLUMNS = [(role, "exact") for role in ROLES] + [("forget", "ppl"), ("general", "ppl")]
SEEDS = 3
# The rise of general perplexity, after ÷ before, from which on a model counts as collapsed.
COLLAPSE = 2.0


def default_config(model: str, method: str, seed: int) -> RunConfig:
    """Return the config that `python -m unlearn run --model … --method …` asks for."""
    return config_of(parser().parse_args(["run", "--model", model, "--method", method, "--seed", str(seed)]))


def carry_out(store: RunStore, config: RunConfig) -> tuple[Run, float]:
    """Carry out one run to its end, whatever that is, and return it with the CPU seconds that it took."""
    run = store.create(config)
    lock = run.hold()
    start = time.process_time()
    execute(run)
    seconds = time.process_time() - start
    lock.release()
    return run, seconds


def measure(
    store: RunStore, model: str, method: str, seeds: Sequence[int], data: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Carry out all seeds of one method on one model and return their summary. data: other rows than the model's."""
    configs = [default_config(model, method, seed) for seed in seeds]
    pairs = [carry_out(store, replace(one, data=dict(data)) if data else one) for one in configs]
    runs = [run for run, _ in pairs]
    scores = [run.scores() for run in runs]
    done = [run.results() for run in runs if run.state == "done"]
    config = runs[0].config
    return {
        "model": model,
        "method": method,
        "tuning": config.tuning,
        "lr": config.lr,
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "knobs": dict(config.knobs),
        "scores": {role: role_scores(scores, role) for role in ROLES if role in scores[0].get("before", {})},
        "seconds": {p: spread([r["phases"][p] for r in done]) for p in (done[0]["phases"] if done else ())},
        "total_seconds": spread([r["seconds"] for r in done]) if done else None,
        "cpu_seconds": spread([seconds for _, seconds in pairs]),
        "collapsed": sum(collapsed(run.state, s) for run, s in zip(runs, scores, strict=True)),
        "failed": [run.reason for run in runs if run.state != "done"],
        "model_hash": done[0]["model_hash"] if done else None,
    }


def role_scores(scores: Sequence[Mapping[str, Any]], role: str) -> dict[str, Any]:
    """Return {"n", metric: {"before", "after": {mean, sd, values}, "retrained"}} for exact answers and
    perplexity.

    Where nothing is asked, "memorised" stands for exact answers: the share of texts continued word for word.
    """
    found: dict[str, Any] = {"n": scores[0]["before"][role]["n"]}
    for metric in ("exact" if "exact" in scores[0]["before"][role] else "memorised", "ppl"):
        if metric not in scores[0]["before"][role]:
            continue
        after = [s["after"][role][metric] for s in scores if "after" in s]
        found[metric] = {
            "before": scores[0]["before"][role][metric],
            "after": spread(after) if after else None,
            "retrained": scores[0].get("retrained", {}).get(role, {}).get(metric),
        }
    return found


def spread(values: Sequence[float | str]) -> dict[str, Any]:
    """Return mean and sample standard deviation (0 for one value) with the values themselves."""
    numbers = [float(v) for v in values]
    finite = all(map(math.isfinite, numbers))
    sd = statistics.stdev(numbers) if len(numbers) > 1 and finite else 0.0 if finite else math.nan
    return {"mean": sum(numbers) / len(numbers), "sd": sd, "values": numbers}


def collapsed(state: str, scores: Mapping[str, Any]) -> bool:
    """Return whether training failed, or general perplexity is not finite or above COLLAPSE times before."""
    if state != "done":
        return True
    before, after = (float(scores[when]["general"]["ppl"]) for when in ("before", "after"))
    return not after <= COLLAPSE * before


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown with one table for each model and one line for each method."""
    parts = []
    for model in dict.fromkeys(row["model"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["model"] == model]
        seeds = len(rows[0]["cpu_seconds"]["values"])
        said = f"{seeds} seeds, mean ± sd" if seeds > 1 else "one seed"
        parts += [f"**{model}** ({_tunings(rows)}; {said})", "", *_lines(rows), ""]
        if model == AIMED:
            parts += [_aim(rows), ""]
        parts += ["<br>".join(_origins(rows)), ""]
    return "\n".join(parts)


def _aim(rows: Sequence[Mapping[str, Any]]) -> str:
    """Who reaches the aim of the defaults, and by what figures the others miss it."""
    whole = [row for row in rows if {"forget", "retain", "general"} <= row["scores"].keys()]
    told = {METHODS[row["method"]].title: missed(read(row)) for row in whole if row["method"] in METHODS}
    met = ", ".join(name for name, words in told.items() if not words) or "none"
    others = "; ".join(f"{name} ({', '.join(words)})" for name, words in told.items() if words)
    return f"The aim ({AIM}) is reached by: {met}. It is missed by: {others or 'none'}.".replace("%", " %")


def _origins(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line a commit and day: the command that makes all its rows, at the highest load that any met."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        top = row["origin"]
        groups.setdefault((top["commit"], top["date"], str(top["versions"]), str(top["seeds"])), []).append(
            row
        )
    lines = []
    for mine in groups.values():
        top, seeds = mine[0]["origin"], mine[0]["origin"]["seeds"]
        methods = " ".join(row["method"] for row in mine)
        command = f"python -m bench.defaults --models {mine[0]['model']} --methods {methods}"
        command += f" --seeds {len(seeds)}" if len(seeds) != SEEDS else ""
        load = max(row["origin"]["machine"]["load"] for row in mine)
        lines.append(origin(top | {"command": command, "machine": top["machine"] | {"load": load}}))
    return lines


def merged(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows with the new ones in place of the old ones of the same model and method.

    They are ordered as the methods are listed.
    """
    rows = {(row["model"], row["method"]): row for row in [*old, *new]}
    models = list(dict.fromkeys([*MODELS, *(model for model, _ in rows)]))
    methods = list(dict.fromkeys([*METHODS, *(method for _, method in rows)]))
    return [rows[key] for key in sorted(rows, key=lambda k: (models.index(k[0]), methods.index(k[1])))]


def _tunings(rows: Sequence[Mapping[str, Any]]) -> str:
    names = {"full": "every weight", "lora": "LoRA", "layers": "unlearning layers"}
    return ", ".join(dict.fromkeys(names[row["tuning"]] for row in rows))


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    words = {role for role in ROLES if any("memorised" in row["scores"].get(role, {}) for row in rows)}
    right = {role: "% word for word" if role in words else "% right" for role in ROLES}
    heads = [f"{role}, {right[role] if metric == 'exact' else 'perplexity'}" for role, metric in COLUMNS]
    lines = [
        "| method | " + " | ".join([*heads, "seconds", "CPU seconds"]) + " |",
        "|---|" + "--:|" * (len(COLUMNS) + 2),
    ]
    for label, when in (("before", "before"), ("*retrained without*", "retrained")):
        cells = [number(at(rows[0], role, metric, when), metric) for role, metric in COLUMNS]
        if any(cell != "–" for cell in cells):
            lines.append("| " + " | ".join([label, *cells, "", ""]) + " |")
    lines += map(_line, rows)
    if any(mark(row) for row in rows):
        lines += ["", "† general perplexity more than doubled, or training diverged, in at least one seed."]
    return lines


def _line(row: Mapping[str, Any]) -> str:
    cells = [spread_of(at(row, role, metric, "after"), metric) for role, metric in COLUMNS]
    name = METHODS[row["method"]].title if row["method"] in METHODS else row["method"]
    quiet = row["origin"]["machine"]["load"] <= row["origin"]["machine"]["cores"]
    seconds = f"{row['total_seconds']['mean']:.0f}" if row["total_seconds"] and quiet else "–"
    cpu = f"{row['cpu_seconds']['mean']:.0f}"
    return "| " + " | ".join([name + mark(row), *cells, seconds, cpu]) + " |"


def mark(row: Mapping[str, Any]) -> str:
    """Return a mark for a method that collapsed, else nothing."""
    return " †" if row["collapsed"] else ""


def at(row: Mapping[str, Any], role: str, metric: str, when: str) -> Any:
    """Return one score of a row. For exact answers it is the share memorised where nothing is asked."""
    found = row["scores"].get(role, {})
    return found.get(metric, found.get("memorised", {}) if metric == "exact" else {}).get(when)


def number(value: Any, metric: str, like: float | None = None) -> str:
    """Write a percentage without decimals, and a perplexity with as many as like (by default itself)
    deserves.
    """
    if value is None:
        return "–"
    number = float(value)
    size = number if like is None else like
    if metric == "exact":
        return f"{100 * number:.0f}"
    return f"{number:.2f}" if size < 10 else f"{number:.0f}" if size < 10_000 else f"{number:.0e}"


def spread_of(value: Any, metric: str) -> str:
    """Write mean ± standard deviation, or the value alone where there is one seed."""
    if value is None:
        return "–"
    mean = float(value["mean"])
    several = f" ± {number(value['sd'], metric, mean)}" if len(value["values"]) > 1 else ""
    return number(mean, metric) + several


def fitting(model: str) -> list[str]:
    """Return the methods that fit a model. Those that train again from nothing need our own recipe."""
    return [name for name, method in METHODS.items() if method.continues or CATALOGUE[model].retrain]


def main() -> None:
    """Measure and record the methods.

    Each finished row is written at once, so that a cut leaves what was measured.
    """
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--models", nargs="+", default=list(MODELS))
    options.add_argument(
        "--methods", nargs="+", choices=list(METHODS), default=(), help="all that the model can run"
    )
    options.add_argument("--seeds", type=int, default=SEEDS, help="how many, from 0 on")
    options.add_argument("--out", type=Path, default=RESULTS / "defaults.json")
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    seeds = list(range(args.seeds))
    kept = json.loads(args.out.read_text(encoding="utf-8"))["rows"] if args.out.is_file() else []
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder))
        for model in args.models:
            for method in args.methods or fitting(model):
                top = header(args.allow_dirty, seeds=seeds)
                rows.append(measure(store, model, method, seeds) | {"origin": top})
                print(_line(rows[-1]), flush=True)
                write_result(args.out, {"rows": merged(kept, rows)})


if __name__ == "__main__":
    main()
