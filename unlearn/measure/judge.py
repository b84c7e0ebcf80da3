"""This module computes the metrics of a finished run on demand and keeps them as metrics.json.

A run itself computes the cheap metrics. This one loads before, after and, where it exists, retrained, and asks each
metric for its scores. What is already there for the same weights, data and versions is not computed again.
"""

import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from unlearn.compute import memory
from unlearn.measure.ask import load_source
from unlearn.measure.evaluate import rows_to_score
from unlearn.measure.evidence import ModelEvidence
from unlearn.metrics import METRICS, Comparison, Metric
from unlearn.metrics.base import Scores
from unlearn.models.catalogue import allow_model, exact_retrain
from unlearn.models.identity import check_same, identity_of, retrain_hash, retrain_identity
from unlearn.models.load import named_hash
from unlearn.models.reading import rows_asked
from unlearn.store import records
from unlearn.store.disk import write_json
from unlearn.store.runs import ACTIVE, Run, RunStore
from unlearn.store.shapes import JsonObject, JsonView

# Raise this number when a definition changes.
FORMAT = 2
FILE = "metrics.json"
Progress = Callable[[str, float], None]


def judge(
    run: Run,
    names: Sequence[str] | None = None,
    *,
    roots: Sequence[Path] | None = None,
    progress: Progress = lambda phrase, fraction: None,
) -> JsonObject:
    """Compute the metrics of a finished run and return the content of metrics.json: {"identity", "metrics":
    {name: entry}, "cost"}. See read_metrics.

    names: of METRICS; all of them by default. roots: folders that the run's data and base model may lie in.
    progress(phrase, fraction of the metrics). ValueError for an unknown metric, and for a run that is
    not over or keeps no weights.
    """
    chosen_metrics(names)
    if run.state in ACTIVE:
        raise ValueError(f"run: {run.title} is {run.state}; evaluate it when it has ended.")
    return compute(run, names, roots=roots, progress=progress)


def compute(
    run: Run,
    names: Sequence[str] | None = None,
    *,
    roots: Sequence[Path] | None = None,
    progress: Progress = lambda phrase, fraction: None,
) -> JsonObject:
    """Compute metrics as judge() does, without the check that the run has ended. A run calls it itself, once
    its weights are saved.
    """
    wanted = chosen_metrics(names)
    evidence, identity = evidence_of(run, roots)
    record = read_metrics(run)
    if record.get("identity") != identity:
        record = {"identity": identity, "metrics": {}, "cost": []}
    missing = [metric for metric in wanted if metric.name not in record["metrics"]]
    if not missing:
        return record
    evidence.keeps = {role for metric in missing for role in metric.states}
    memory.reset_peak()
    began = time.perf_counter()
    try:
        for done, metric in enumerate(missing):

            def told(phrase: str, _: float, m: Metric | Comparison = metric, d: int = done) -> None:
                progress(f"{m.name}: {phrase}", d / len(missing))

            evidence.reader.progress = told
            progress(metric.name, done / len(missing))
            start = time.perf_counter()
            found = metric.measure(evidence)
            record["metrics"][metric.name] = entry(metric, found) | {
                "seconds": round(time.perf_counter() - start, 3)
            }
    finally:
        record["cost"].append(
            {
                "metrics": [metric.name for metric in missing],
                "seconds": round(time.perf_counter() - began, 3),
                "tokens": evidence.reader.tokens,
                "flops": evidence.reader.flops,
                "peak_memory": memory.peak(evidence.reader.device),
            }
        )
        write_json(run.path / FILE, record)
    progress("done", 1.0)
    return read_metrics(run)


def chosen_metrics(names: Sequence[str] | None) -> list[Metric | Comparison]:
    """Return the metrics of these names, in the order of the list. ValueError for an unknown name."""
    if unknown := [name for name in names or () if name not in METRICS]:
        raise ValueError(f"metrics: must be among {', '.join(METRICS)}, got {', '.join(unknown)}.")
    return [metric for name, metric in METRICS.items() if not names or name in names]


def entry(metric: Metric | Comparison, found: Scores) -> JsonObject:
    """Return one metric's entry in metrics.json: its definition, and a score for each model and role."""
    return {
        "title": metric.title,
        "help": metric.help,
        "ideal": metric.ideal,
        "paper": metric.paper,
        "reason": "" if found else f"needs {metric.needs}",
        "scores": [
            {
                "when": when,
                "role": role,
                "value": score.value,
                "n": score.n,
                "per_example": score.per_example,
                "details": dict(score.details),
            }
            for (when, role), score in found.items()
        ],
    }


def read_metrics(run: Run) -> JsonObject:
    """Return metrics.json of the run, or an empty object where it was never judged. Non-finite numbers are
    "nan", "inf", "-inf".
    """
    return records.read_metrics(run.path / FILE)


def table(record: JsonView) -> list[JsonObject]:
    """Return one row for each metric and role: {"metric", "title", "role", "n", "ideal", "before", "after",
    "retrained"}.
    """
    rows: dict[tuple[str, str], JsonObject] = {}
    for name, found in record.get("metrics", {}).items():
        for score in found["scores"]:
            row = rows.setdefault(
                (name, score["role"]),
                {"metric": name, "title": found["title"], "role": score["role"], "ideal": found["ideal"]},
            )
            row[score["when"]], row["n"] = score["value"], score["n"]
    return list(rows.values())


def evidence_of(run: Run, roots: Sequence[Path] | None = None) -> tuple[ModelEvidence, JsonObject]:
    """Return (Evidence of the run's models and data, the identity that its numbers depend on). ValueError
    when it keeps no weights.
    """
    from unlearn.models.machine import choose_products
    from unlearn.models.tuning import load_trained, trained_hash

    config = run.config
    allow_model(config.model, roots)
    allow_model(config.retrained, roots, "retrained")
    data = rows_asked(run, roots)
    began = next(iter(run.events("inputs")), {})
    base = named_hash(config.model, config.adapter) or run.results().get("model_hash", "")
    start = RunStore(run.path.parent).get(config.start) if config.start else None
    # In a chain, the model before is the result of the earlier run.
    base = trained_hash(start, base) if start else base
    check_same(
        config.model, began, identity_of(config.model, base, config.adapter) | retrain_identity(config)
    )
    choose_products(began.get("products", ""))
    hashes = {"before": base, "after": trained_hash(run, base)}
    if truth := exact_retrain(config):
        hashes["retrained"] = retrain_hash(truth)
    evidence = ModelEvidence(
        rows_to_score(data),
        lambda when: load_trained(start) if start and when == "before" else load_source(when, run, roots),
        hashes,
        data_hash=data.hash(),
        max_length=config.max_length,
        store=run.path.parent,
    )
    versions = {name: version(name) for name in ("torch", "transformers", "scikit-learn", "rouge-score")}
    identity = {**hashes, "data": data.hash(), "max_length": config.max_length, "format": FORMAT} | versions
    return evidence, identity
