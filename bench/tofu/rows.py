"""Measures the rows of the table: a run at a method's defaults, the model before, and retrained models."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from bench.defaults import carry_out  # noqa: E402
from unlearn.__main__ import parser  # noqa: E402
from unlearn.commands.options import config_of  # noqa: E402
from unlearn.data.catalogue import from_config  # noqa: E402
from unlearn.data.prompts import asked_in  # noqa: E402
from unlearn.measure import judge  # noqa: E402
from unlearn.measure.evaluate import rows_to_score  # noqa: E402
from unlearn.measure.evidence import ModelEvidence  # noqa: E402
from unlearn.methods import METHODS  # noqa: E402
from unlearn.models.catalogue import CATALOGUE, exact_retrain  # noqa: E402
from unlearn.models.load import weights_hash  # noqa: E402
from unlearn.models.named.beside import load_beside  # noqa: E402
from unlearn.models.reading import as_read  # noqa: E402
from unlearn.results.benchmark import WITH_INTERVAL  # noqa: E402
from unlearn.results.sweep_record import identity  # noqa: E402
from unlearn.store.engine import Engine  # noqa: E402
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
# Seconds between two looks at runs that an engine carries out.
LOOK = 0.5
# Data, method and seed of a run.
Key = tuple[str, str, int]


def default_config(data: str, method: str, seed: int) -> RunConfig:
    """Return the config that `unlearn run --model smollm2-tofu --data … --method …` asks for."""
    words = ["run", "--model", MODEL, "--data", data, "--method", method, "--seed", str(seed)]
    return config_of(parser().parse_args(words))


def wanted(methods: Sequence[str] = (), data: Sequence[str] = (), seeds: int = len(SEEDS)) -> Iterator[Key]:
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
    """Carry out one run here and return its row, and those of the start and of the retrain beside it."""
    run, seconds = carry_out(store, default_config(data, method, seed))
    return rows_of(run, (data, method, seed), seconds)


def elsewhere(engine: Engine, store: RunStore, wanted: Sequence[Key]) -> Iterator[tuple[Key, Run]]:
    """Have the engine carry out these runs and yield each as it ends, one that an earlier bench left first.

    Its metrics are computed here, since a benchmark's items are read here.
    """
    known = {identity(run.config): run for run in store.list() if run.state != "failed"}
    runs = {}
    for one in wanted:
        config = default_config(*one)
        runs[one] = known.get(identity(config)) or store.create(config)
    engine.submit(*(run for run in runs.values() if run.state != "done"))
    while runs:
        for one, run in list(runs.items()):
            if engine.where(run) is None:
                yield one, runs.pop(one)
        time.sleep(LOOK if runs else 0.0)


def rows_of(run: Run, one: Key, seconds: float | None) -> list[dict[str, Any]]:
    """Return the row of a run that has ended, and those of the start and of the retrain beside it.

    seconds: the CPU seconds that it took, where they are known.
    """
    data, method, seed = one
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
    over_items = {name: score(*place) for name, place in WITH_INTERVAL.items()}
    found = {name: one.get("value") for name, one in over_items.items()}
    found["intervals"] = {
        name: list(one["details"]["interval"])
        for name, one in over_items.items()
        if one.get("details", {}).get("interval")
    }
    found |= {
        "parts": score("tofu_utility", "kept").get("details", {}).get("parts", {}),
        "quality": {"p": quality.get("value"), **quality.get("details", {})},
        "extraction": score("extraction", "forget").get("value"),
        "kl": {role: score("kl_retrain", role).get("value") for role in ("forget", "paraphrase", "retain")},
    }
    if run is not None:
        asked = run.by_format().get(when, {})
        found["by_format"] = {
            role: {name: one["right"] for name, one in asked.get(role, {}).items()}
            for role in ("forget", "retain")
        }
    return found


def other_seed(data: str, folder: Path, store: RunStore, tuning: str = "lora") -> dict[str, Any]:
    """Return the row of a retrain of another seed, whose merged model lies in the folder, read as a run reads its
    models. tuning: that run's.
    """
    config = replace(default_config(data, "npo", 0), tuning=tuning)
    truth = exact_retrain(config)
    assert truth is not None, "the bench's forget sets have their retrains"
    folders = {"before": CATALOGUE[MODEL].path(), "after": folder, "retrained": truth}
    rows = asked_in(as_read(from_config(dict(config.data)), config), config.prompt, config.system)
    evidence = ModelEvidence(
        rows_to_score(rows),
        lambda when: load_beside(config, folders[when]),
        {when: weights_hash(place, None) for when, place in folders.items()},
        data_hash=rows.hash(),
        max_length=config.max_length,
        store=store.root,
        items=lambda: judge.Benchmark().items(config, None),
    )
    metrics = judge.chosen_metrics(MEASURED)
    record = {"metrics": {metric.name: judge.entry(metric, metric.measure(evidence)) for metric in metrics}}
    return {"data": data, "method": OTHER, "seed": 1} | values(record, None, "after")


def key(row: Mapping[str, Any]) -> Key:
    """Return what a row is of: data, method, seed."""
    return row["data"], row["method"], row["seed"]


def merged(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows with the new ones in place of the old ones, in the order of the table."""
    rows = {key(row): row for row in [*old, *new]}
    methods = [START, RETRAIN, OTHER, *METHODS]
    return [rows[k] for k in sorted(rows, key=lambda k: (k[0], methods.index(k[1]), k[2]))]
