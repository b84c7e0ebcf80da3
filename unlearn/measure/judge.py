"""This module computes the metrics of a finished run on demand and keeps them as metrics.json.

A run itself computes the cheap metrics. This one loads before, after and, where it exists, retrained, and asks each
metric for its scores. What is already there for the same weights, data and versions is not computed again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from unlearn.compute import memory
from unlearn.data import benchmarks
from unlearn.data.items.base import Items
from unlearn.data.items.find import items_of
from unlearn.data.prompts import in_format
from unlearn.measure.ask import load_source
from unlearn.measure.encoder import TextEncoder
from unlearn.measure.evaluate import otherwise_to_score, rows_to_score
from unlearn.measure.evidence import ModelEvidence
from unlearn.measure.tofu_log import log_of
from unlearn.metrics import BENCHMARKS, EVERY, METRICS, Comparison, Metric
from unlearn.metrics.base import Scores
from unlearn.models.catalogue import allow_model, exact_retrain
from unlearn.models.identity import check_same, identity_of, retrain_hash, retrain_identity
from unlearn.models.load import named_hash
from unlearn.models.reading import rows_asked
from unlearn.store import records
from unlearn.store.allowed import allowed_path
from unlearn.store.config import RunConfig, formats_of
from unlearn.store.disk import write_json
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.shapes import JsonObject, JsonView

# Raise this number when the meaning of many numbers changes: what attacks found depends on it too.
FORMAT = 2
FILE = "metrics.json"
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Benchmark:
    """The benchmark whose items are asked: its name, and a folder that stands for its place on the hub.

    Left empty they are those of the run's own data.
    """

    name: str = ""
    folder: Path | None = None

    def items(self, config: RunConfig, roots: Sequence[Path] | None) -> Items:
        """Return the items, asked in the run's prompt format. There are none where nothing names a benchmark."""
        name = self.name or str(config.data.get("name") or "")
        if self.name and not benchmarks.is_benchmark(self.name):
            raise ValueError(f"benchmark: must be one of {', '.join(benchmarks.names())}, got {self.name!r}.")
        if not benchmarks.is_benchmark(name):
            return Items({})
        own = str(config.data.get("hub_folder") or "")
        folder = allowed_path(own, roots) if own and self.folder is None else self.folder
        found, form = items_of(name, folder), formats_of(config.prompt)[0]
        asked = {
            title: replace(part, rows=in_format(part.rows, form, config.system))
            if part.kind == "questions"
            else part
            for title, part in found.parts.items()
        }
        return replace(found, parts=asked)


def judge(
    run: Run,
    names: Sequence[str] | None = None,
    *,
    benchmark: Benchmark = Benchmark(),
    encoder: Path | None = None,
    roots: Sequence[Path] | None = None,
    progress: Progress = lambda phrase, fraction: None,
) -> JsonObject:
    """Compute the metrics of a finished run and return the content of metrics.json: {"identity", "metrics":
    {name: entry}, "cost"}. See read_metrics.

    names: of EVERY, or of a benchmark for all of its own; METRICS by default. benchmark: whose items the benchmark's
    metrics read, where that is not the run's own. encoder: the folder of an encoder of texts, for metrics that compare
    meanings. roots: folders that the run's data and base model may lie in.
    progress(phrase, fraction of the metrics). ValueError for an unknown metric, and for a run that is
    not over or keeps no weights.
    """
    chosen_metrics(names)
    if run.state in ACTIVE:
        raise ValueError(f"run: {run.title} is {run.state}; evaluate it when it has ended.")
    return compute(run, names, benchmark=benchmark, encoder=encoder, roots=roots, progress=progress)


def compute(
    run: Run,
    names: Sequence[str] | None = None,
    *,
    benchmark: Benchmark = Benchmark(),
    encoder: Path | None = None,
    roots: Sequence[Path] | None = None,
    progress: Progress = lambda phrase, fraction: None,
) -> JsonObject:
    """Compute metrics as judge() does, without the check that the run has ended. A run calls it itself, once
    its weights are saved.
    """
    wanted = chosen_metrics(names)
    reader = None if encoder is None else TextEncoder(allowed_path(encoder, roots, "encoder"))
    evidence, identity = evidence_of(run, roots, benchmark)
    evidence.encoder = reader
    record = read_metrics(run)
    if record.get("identity") != identity:
        record = {"identity": identity, "metrics": {}, "cost": []}
    missing = [metric for metric in wanted if not _has(record, metric, evidence)]
    if not missing:
        return record
    evidence.keeps = {role for metric in missing for role in metric.states}
    memory.reset_peak()
    began, spent = time.perf_counter(), JsonObject()

    def keep(metrics: Sequence[Metric | Comparison]) -> None:
        nonlocal record, spent
        before, spent = (
            spent,
            {
                "metrics": [metric.name for metric in metrics],
                "seconds": round(time.perf_counter() - began, 3),
                "tokens": evidence.reader.tokens,
                "flops": evidence.reader.flops,
                "peak_memory": memory.peak(evidence.reader.device),
            },
        )
        record = _with_others(run, record)
        record["cost"] = [*(row for row in record["cost"] if row != before), spent]
        write_json(run.path / FILE, record)

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
            if evidence.encoder and metric.encoder:
                record["metrics"][metric.name]["encoder"] = evidence.encoder.hash
            if metric.benchmark:
                record["metrics"][metric.name] |= _items(metric, evidence, bool(found))
            # A kill loses the metric that it comes in, and no other.
            keep(missing[: done + 1])
    except BaseException:
        # What the one that was cut short has cost so far.
        keep(missing)
        raise
    progress("done", 1.0)
    return read_metrics(run)


def _with_others(run: Run, record: JsonObject) -> JsonObject:
    """The record with what another process has kept for the same weights and data in the meantime."""
    there = read_metrics(run)
    if there.get("identity") != record["identity"]:
        return record
    return record | {"metrics": {**there["metrics"], **record["metrics"]}, "cost": there["cost"]}


def _has(record: JsonView, metric: Metric | Comparison, evidence: ModelEvidence) -> bool:
    """Whether the metric was computed already, and a benchmark's on the same items."""
    known = record["metrics"].get(metric.name)
    # What could not be computed is not tried again for that.
    if known is not None and known["scores"] and known.get("revision", 1) != metric.revision:
        return False
    if known is not None and metric.encoder and evidence.encoder:
        return bool(known.get("encoder", "") == evidence.encoder.hash)
    if known is None or not metric.benchmark:
        return known is not None
    return bool(known.get("items", "") == evidence.items_hash(metric.benchmark))


def _items(metric: Metric | Comparison, evidence: ModelEvidence, found: bool) -> JsonObject:
    """What a benchmark's metric was read on, and where it could not be, what of its parts is missing."""
    more: JsonObject = {"items": evidence.items_hash(metric.benchmark)}
    if not found and evidence.items.notes:
        more["reason"] = f"needs {metric.needs}. {' '.join(evidence.items.notes)}"
    return more


def chosen_metrics(names: Sequence[str] | None) -> list[Metric | Comparison]:
    """Return the metrics of these names, in the order of the list. The name of a benchmark means all of its own.

    ValueError for an unknown name.
    """
    if not names:
        return list(METRICS.values())
    families = dict.fromkeys(metric.benchmark for metric in BENCHMARKS.values())
    if unknown := [name for name in names if name not in EVERY and name not in families]:
        known = ", ".join((*families, *METRICS))
        raise ValueError(f"metrics: must be among {known}, got {', '.join(unknown)}.")
    return [metric for name, metric in EVERY.items() if name in names or metric.benchmark in names]


def entry(metric: Metric | Comparison, found: Scores) -> JsonObject:
    """Return one metric's entry in metrics.json: its definition, and a score for each model and role."""
    return {
        "title": metric.title,
        "help": metric.help,
        "ideal": metric.ideal,
        "paper": metric.paper,
        "revision": metric.revision,
        "reason": ""
        if found
        else f"needs {metric.needs or 'rows of another kind: it applies to none of these'}",
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


def tofu_log(
    run: Run,
    when: str = "after",
    *,
    benchmark: Benchmark = Benchmark(),
    roots: Sequence[Path] | None = None,
    progress: Progress = lambda phrase, fraction: None,
) -> JsonObject:
    """Return the log of one of the run's models (before, after, retrained) as TOFU's own scripts read it.

    ValueError where the run has no such model, or one of TOFU's four sets is not at hand.
    """
    if run.state in ACTIVE:
        raise ValueError(f"run: {run.title} is {run.state}; evaluate it when it has ended.")
    evidence, _ = evidence_of(run, roots, benchmark)
    if when not in evidence.models:
        raise ValueError(
            f"tofu log: must be of {', '.join(evidence.models)}, got {when}; the run has no other."
        )
    evidence.reader.progress = progress
    return log_of(evidence, when)


def read_metrics(run: Run) -> JsonObject:
    """Return metrics.json of the run, or an empty object where it was never judged. Non-finite numbers are
    "nan", "inf", "-inf".
    """
    return records.read_metrics(run.path / FILE)


def table(record: JsonView) -> list[JsonObject]:
    """Return one row for each metric and role: {"metric", "title", "role", "n", "ideal", "before", "after",
    "retrained", "interval", "d"}. interval: the 95 % interval of the value after, d: the D of a test whose p-value it
    is; each where there is one.
    """
    rows: dict[tuple[str, str], JsonObject] = {}
    for name, found in record.get("metrics", {}).items():
        for score in found["scores"]:
            row = rows.setdefault(
                (name, score["role"]),
                {"metric": name, "title": found["title"], "role": score["role"], "ideal": found["ideal"]},
            )
            row[score["when"]], row["n"] = score["value"], score["n"]
            if score["when"] == "after":
                details = score.get("details", {})
                row |= {key: details[key] for key in ("interval", "d") if details.get(key) is not None}
    return list(rows.values())


def evidence_of(
    run: Run, roots: Sequence[Path] | None = None, benchmark: Benchmark = Benchmark()
) -> tuple[ModelEvidence, JsonObject]:
    """Return (Evidence of the run's models and data, the identity that its numbers depend on). ValueError
    when it keeps no weights.

    benchmark: whose items its benchmark's metrics read, where that is not the run's own.
    """
    from unlearn.models.machine import choose_products
    from unlearn.models.tuning import load_trained, trained_hash

    config = run.config
    allow_model(config.model, roots)
    allow_model(config.retrained, roots, "retrained")
    data = rows_asked(run, roots)
    began = next(iter(run.events("inputs")), {})
    base = named_hash(config.model, config.adapter) or run.results().get("model_hash", "")
    start = run.start()
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
        items=lambda: benchmark.items(config, roots),
        otherwise=otherwise_to_score(data),
    )
    versions = {name: version(name) for name in ("torch", "transformers", "scikit-learn", "rouge-score")}
    identity = {**hashes, "data": data.hash(), "max_length": config.max_length, "format": FORMAT} | versions
    if "retrained" in hashes and (config.tuning, config.precision) != ("full", "auto"):
        # What was computed with a retrained model in 32 bits has another name.
        identity["retrained_in"] = "the run's format"
    return evidence, identity
