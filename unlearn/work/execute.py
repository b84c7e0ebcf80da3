"""Carries out one run from its folder, as a plain function execute(run).

The command line calls it, the app's background thread calls it, and a test calls it; none of them passes
anything that is not in the folder, so a run means the same everywhere. Phases are timed events.
"""

import contextlib
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.compute import libraries, memory, threads
from unlearn.data.base import Dataset
from unlearn.data.prompts import asked_in, has_template, system_of
from unlearn.data.remarks import remarks
from unlearn.measure import judge
from unlearn.measure.evaluate import rows_to_score
from unlearn.methods import method_named
from unlearn.metrics import Observation
from unlearn.models.catalogue import allow_model, exact_retrain, parts_of
from unlearn.models.identity import hash_before
from unlearn.models.load import SMALL
from unlearn.results import cost
from unlearn.store import away
from unlearn.store.config import formats_of
from unlearn.store.disk import write_json
from unlearn.store.records import SCHEMA
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject
from unlearn.store.stop_rule import ended_sentence
from unlearn.store.studies import Stopped
from unlearn.training import processes
from unlearn.work import identity as begun
from unlearn.work.card import write_card
from unlearn.work.checks import waits_for_retrained
from unlearn.work.known import identity_of_scores
from unlearn.work.phases import Work, reason
from unlearn.work.score import further_metrics, score, score_retrained
from unlearn.work.trackers import reporting

if TYPE_CHECKING:
    from unlearn.methods.base import Method
    from unlearn.models.load import Loaded


RECORDED_VERSIONS = ("torch", "transformers", "peft", "datasets", "safetensors", "numpy")


@dataclass
class Finished:
    """A finished model, for the cache of warm models."""

    loaded: "Loaded"
    run: Run


def execute(
    run: Run,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[str, float], None] = lambda phase, fraction: None,
    roots: Sequence[Path] | None = None,
    weights_to: str = "",
) -> Finished | None:
    """Carry out the run to its end and leave state done, stopped or failed with a reason.

    It returns None where there is no model to keep.

    on_progress(phase, fraction) is called often; roots as in allowed.allowed_path, for data and model. weights_to: an
    address that the weights are moved to before the run is done, as in store.away.
    Never raises for what a run may meet (bad input, divergence, a full disk): that is the run's outcome, written
    to its folder where the disk still allows; where it does not, the state reads "interrupted".
    """
    outcome: JsonObject = {}
    step = 0
    try:
        work = Work(run, run.stopping(should_stop), on_progress, roots, weights_to=weights_to)
        run.append("state", state="running", **_resume_note(run))
        try:
            with reporting(run):
                loaded = _carry_out(work)
        finally:
            step = work.step
        said = ended_sentence(work.ended)
        run.append("state", state="done", **({"reason": said} if said else {}))
        memory.give_back()
        return Finished(loaded, run)
    except Stopped as stopped:
        outcome = {"state": "stopped", "reason": str(stopped) or f"stopped by hand at step {step}"}
    except Exception as error:
        outcome = {"state": "failed", "reason": reason(error), "error": type(error).__name__}
    with contextlib.suppress(OSError):
        run.append("state", **outcome)
    memory.give_back()
    return None


def _resume_note(run: Run) -> JsonObject:
    """Return where this execution continues, if it is not the first. Later steps will be done again."""
    again = any(e["state"] == "running" for e in run.events("state"))
    return {"resumed_from": run.checkpoint_step()} if again else {}


def _carry_out(work: Work) -> "Loaded":
    began = time.perf_counter()
    libraries.ready()
    from unlearn.models import tuning
    from unlearn.work.train import train

    memory.reset_peak()
    run, config = work.run, work.config
    if config.metrics:
        # A wrong name is reported now and not after the training.
        judge.chosen_metrics(config.metrics)
    method = method_named(config.method).from_knobs(config.knobs)
    allow_model(config.model, work.roots)
    allow_model(config.retrained, work.roots, "retrained")
    with work.phase("loading model"):
        start = run.start()
        data = begun.rows_of(run, work.roots)
        if start is not None:
            begun.check_start_rows(config, start, data)
        loaded = tuning.starting_model(config, start)
        loaded.hash = hash_before(config, start, loaded.hash)
        # Beside a GPU the host only feeds it: optimiser, scores and blocks that lie in main memory are computed on the
        # GPU too, and the tokenizer's threads are its own. Trying out counts every few seconds would let it wait.
        small = loaded.parameters < SMALL or loaded.device != "cpu"
        told = begun.settle(run, loaded, data, small)
        work.length = loaded.fit_length(config.max_length)
        # What is kept of the rows says nothing about the format that they are asked in.
        data = asked_in(data, config.prompt, config.system)
        if "chat" in formats_of(config.prompt) and has_template(loaded.tokenizer):
            # The template may put words of its own above a chat; a reader of the run must know them.
            work.note(f"Above each chat stands: {system_of(loaded.tokenizer, config.system)!r}")
        about = parts_of(config.model, config.adapter).sentence()
        rows = (*data.warnings, *remarks(data), *method.remarks(data))
        for text in filter(None, (about, loaded.where, told, *rows)):
            work.note(text)
    chosen = rows_to_score(data)
    identity = identity_of_scores(loaded, data, work.length)
    chat = has_template(loaded.tokenizer)
    # The scores may come from an earlier execution that was cut short.
    known = run.scores()
    before: Sequence[Observation] = ()
    if "before" not in known:
        before = score(work, "before", lambda: loaded, chosen, identity, chat)
    if config.retrained:
        work.note(f"Retrained: given by you ({config.retrained}).")
    exact = exact_retrain(config)
    if exact and "retrained" not in known and waits_for_retrained(config):
        # The stop rule's target is what the retrained model says.
        score_retrained(work, exact, chosen, identity, chat, loaded.tokenizer.get_vocab())
    tokens, said = train(work, loaded, data, chosen, before)
    with work.phase("saving"):
        if told := tuning.save(loaded, config, run.path):
            # The weights were rounded, so what they say has to be asked again.
            work.note(told)
            said = ()
    trained = identity | {"model": tuning.trained_hash(run, loaded.hash)}
    score(work, "after", lambda: loaded, chosen, trained, chat, said)
    if exact and "retrained" not in run.scores():
        # Only now, because training waits for nothing that it does not need.
        score_retrained(work, exact, chosen, identity, chat, loaded.tokenizer.get_vocab())
    if config.metrics:
        further_metrics(work)
    write_json(run.path / "results.json", _results(work, method, loaded, data, tokens, began))
    write_card(run)
    if work.weights_to:
        with work.phase("sending weights"):
            away.send(run, work.weights_to)
    # The run is done, so nothing is left to resume.
    shutil.rmtree(run.path / "checkpoint", ignore_errors=True)
    return loaded


def _results(
    work: Work, method: "Method", loaded: "Loaded", data: Dataset, tokens: int, began: float
) -> JsonObject:
    """Return the content of results.json.

    tokens are those that training read, and began is when this execution began, in time.perf_counter().
    """
    from unlearn.compute import products

    config = work.config
    spent = {"tokens": tokens, "phases": work.phases, "parameters": loaded.parameters}
    return {
        "schema": SCHEMA,
        "scores": work.run.scores_by_format(),
        "intervals": work.run.intervals(),
        "seconds": round(time.perf_counter() - began, 3),
        "phases": work.phases,
        "versions": {name: version(name) for name in RECORDED_VERSIONS}
        | {"python": platform.python_version()},
        "model_hash": loaded.hash,
        "data_hash": data.hash(),
        "data_title": data.title,
        "model_title": loaded.title,
        "method_title": type(method).title,
        "device": loaded.device,
        "dtype": loaded.dtype,
        "start_dtype": loaded.start_dtype,
        "threads": threads.threads(),
        "processes": processes.size(),
        "products": products.library(),
        "parameters": loaded.parameters,
        "trainable": sum(p.numel() for p in loaded.model.parameters() if p.requires_grad),
        "tokens": tokens,
        "flops": 6.0 * loaded.parameters * tokens,
        "retraining": cost.of_model(config.model, spent),
        "told": work.counts,
        "ended": work.ended,
        "beside": work.beside,
        "peak_memory": memory.peak(loaded.device),
        "command": config.command(),
    }
