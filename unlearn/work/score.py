"""Scores a run: before, after and, where the model's exact retrain is here, retrained.

What was observed is kept by content of weights and data, so that runs that begin from one model read it once.
"""

from pathlib import Path
from typing import Any

from unlearn.data.base import Row
from unlearn.measure import judge, score_cache
from unlearn.measure.evaluate import evaluate, observe
from unlearn.measure.probes import SAMPLES, sample
from unlearn.models.load import load, weights_hash
from unlearn.store.disk import append_line
from unlearn.store.shapes import JsonObject
from unlearn.store.studies import Stopped
from unlearn.work.phases import Work, reason


def score(work: Work, when: str, loaded: Any, chosen: dict[str, list[Row]], identity: JsonObject) -> None:
    """Observe and score a model, and keep the samples.

    loaded may be None where the observations of this identity are kept.
    """
    run = work.run
    with work.phase(f"scoring {when}"):
        cached = score_cache.read(run.path.parent, identity)
        found = cached or observe(
            loaded.model,
            loaded.tokenizer,
            chosen,
            max_length=work.length,
            device=loaded.device,
            progress=lambda fraction: work.on_progress(f"scoring {when}", fraction),
            check=work.check,
        )
        if not cached:
            score_cache.write(run.path.parent, identity, found)
        for o in found:
            if o.index < SAMPLES:
                append_line(run.path / "samples.jsonl", sample(when, o))
        run.append("sample", when=when)
        run.append("eval", when=when, scores=evaluate(found))


def score_retrained(work: Work, folder: Path, chosen: dict[str, list[Row]], identity: JsonObject) -> None:
    """Score the exact retrain in this folder, which sources.exact_retrain gives."""
    known = identity | {"model": weights_hash(folder, None)}
    needed = score_cache.read(work.run.path.parent, known) is None
    score(work, "retrained", load(str(folder)) if needed else None, chosen, known)


def further_metrics(work: Work) -> None:
    """Compute the metrics that were asked for beyond the cheap ones. The run stands whatever comes of them."""

    def progress(phrase: str, fraction: float) -> None:
        work.on_progress(f"further metrics: {phrase}", fraction)
        work.check()

    try:
        with work.phase("further metrics"):
            judge.compute(work.run, work.config.metrics, roots=work.roots, progress=progress)
    except Stopped:
        work.note("The further metrics were stopped; what is missing can be computed on demand.")
    except Exception as error:
        work.note(f"Further metrics failed: {reason(error)}")
