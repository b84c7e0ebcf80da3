"""Scores a run: before, after and, where the model's exact retrain is here, retrained.

What was observed is kept by content of weights and data, so that runs that begin from one model read it once.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.data.base import Row
from unlearn.measure import judge, score_cache
from unlearn.measure.evaluate import evaluate_with_counts
from unlearn.measure.formats import by_format, unasked
from unlearn.measure.probes import SAMPLES, sample
from unlearn.metrics import Observation
from unlearn.models.embeddings import check_words
from unlearn.models.identity import retrain_hash
from unlearn.models.named.beside import load_beside
from unlearn.store.disk import append_lines
from unlearn.store.shapes import JsonObject
from unlearn.store.studies import Stopped
from unlearn.work.known import kept_before, observe_places
from unlearn.work.phases import Work, reason

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

Words = Mapping[str, int]
# The role of rows that are asked in other formats than the run's, while they are observed. No row has it.
OTHERS = ""


def score(
    work: Work,
    when: str,
    model: "Callable[[], Loaded]",
    chosen: dict[str, list[Row]],
    identity: JsonObject,
    chat: bool,
    asked: Sequence[Observation] = (),
) -> list[Observation]:
    """Observe and score a model, keep the samples, and return what was observed.

    model is called only where something of this identity is not kept yet. asked: what it has just been asked of these
    rows, which is not asked again.
    chat: whether the tokenizer has a chat template; the rows are then asked in every prompt format.
    """
    run = work.run
    with work.phase(f"scoring {when}"):
        found = score_cache.read(run.path.parent, identity)
        said: Mapping[Row, Observation] = {}
        if not found:
            asked = [*kept_before(run.path.parent, identity), *asked]
            others = _of_other_formats(work, model(), chosen, identity) if chat else ()
            found, said = _observed(work, when, model(), chosen, asked, others)
            score_cache.write(run.path.parent, identity, found)
        append_lines(run.path / "samples.jsonl", [sample(when, o) for o in found if o.index < SAMPLES])
        more = {"by_format": _by_format(work, model, chosen, found, said, identity)} if chat else {}
        run.append("sample", when=when)
        scores, intervals, counts = evaluate_with_counts(found)
        run.append("eval", when=when, scores=scores, intervals=intervals, counts=counts, **more)
    return found


def _observed(
    work: Work,
    when: str,
    loaded: "Loaded",
    chosen: dict[str, list[Row]],
    asked: Sequence[Observation],
    others: Sequence[Row],
) -> tuple[list[Observation], dict[Row, Observation]]:
    """Observe the rows that were not asked before the run, and put all in their order. others: the same in other
    formats, which are continued together with them; what the model says of these comes second.
    """
    known = {(one.role, one.index): one for one in asked}
    left = {role: [i for i in range(len(rows)) if (role, i) not in known] for role, rows in chosen.items()}
    more = observe_places(
        loaded,
        {**chosen, OTHERS: others},
        {**left, OTHERS: range(len(others))},
        work.length,
        brief=(OTHERS,),
        progress=lambda fraction: work.on_progress(f"scoring {when}", fraction),
        check=work.check,
    )
    known |= {(one.role, one.index): one for one in more}
    said = {row: known[OTHERS, i] for i, row in enumerate(others)}
    return [known[role, i] for role, rows in chosen.items() for i in range(len(rows))], said


def _of_other_formats(
    work: Work, loaded: "Loaded", chosen: dict[str, list[Row]], identity: JsonObject
) -> list[Row]:
    """The rows in other formats than the run's, or none where what was said of them is kept."""
    if score_cache.holds(work.run.path.parent, _of_formats(work, identity)):
        return []
    return unasked(loaded, chosen, system=work.config.system, max_length=work.length)


def _of_formats(work: Work, identity: JsonObject) -> JsonObject:
    return identity | {"asked in": "every format", "system": work.config.system}


def _by_format(
    work: Work,
    model: "Callable[[], Loaded]",
    chosen: dict[str, list[Row]],
    found: Sequence[Observation],
    said: Mapping[Row, Observation],
    identity: JsonObject,
) -> JsonObject:
    # What was just asked in the run's own format is one of the formats.
    asked = {**said, **{chosen[one.role][one.index]: one for one in found}}
    system = work.config.system
    return dict(
        score_cache.remember(
            work.run.path.parent,
            _of_formats(work, identity),
            lambda: by_format(
                model(), chosen, system=system, max_length=work.length, check=work.check, known=asked
            ),
        )
    )


def score_retrained(
    work: Work,
    truth: str | Path,
    chosen: dict[str, list[Row]],
    identity: JsonObject,
    chat: bool,
    words: Words,
) -> None:
    """Score the exact retrain, which catalogue.exact_retrain gives. words: the model's own vocabulary.

    ValueError where the retrained model reads other tokens.
    """

    @cache
    def model() -> "Loaded":
        found = load_beside(work.config, truth)
        check_words(work.config.model, words, str(truth), found.tokenizer.get_vocab())
        return found

    # A model of the hub is brought by loading it; then its files have a hash.
    known = identity | {"model": retrain_hash(truth) or model().hash}
    score(work, "retrained", model, chosen, known, chat)


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
