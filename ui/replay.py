"""Replays the probes of a run in the browser with one slider ("Watch it forget").

Everything travels once and the slider moves without the server: dragging is instant, it works while a run
trains, and no model is needed.
"""

import math
from functools import lru_cache
from pathlib import Path

import streamlit as st

from ui import pick, shell
from ui.strip import LESS, MORE, SCALE, visible
from unlearn.data.base import TITLES
from unlearn.results import likelihood
from unlearn.results.answer_tokens import without_end
from unlearn.results.compare import number, question_of, rounded
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject

# The number of probes that are shown of each role.
PER_ROLE = 6
# The number of steps that are sent to the browser at most.
FRAMES = 200

_here = Path(__file__).parent
_component = st.components.v2.component(
    "replay",
    html='<div class="replay"></div>',
    css=(_here / "replay.css").read_text(encoding="utf-8"),
    js=(_here / "replay.js").read_text(encoding="utf-8"),
)


def replay(run: Run, *, key: str, autoplay: bool = False) -> None:
    """Draw the play button, slider, curves and answers.

    Where the run has no probes, a sentence stands instead.
    """
    data = _frames(run.path, pick.stamp(run, "probes.jsonl"), pick.stamp(run, "samples.jsonl"), shell.dark())
    if not data:
        st.info(
            "This run recorded no probes, so there is nothing to replay: set probes above 0 for the next one."
        )
        return
    # The data is in a list, because streamlit looks for tables in a dictionary, and imports pandas to do so.
    _component(data=[data | {"autoplay": autoplay}], key=key)


@lru_cache(maxsize=8)
def _frames(path: Path, _probed: int, _sampled: int, dark: bool) -> JsonObject:
    """Return frames(), made again only when the run has written. It is empty where the run has no probes."""
    run = Run(path)
    probes = run.probes()
    return frames(run, probes, dark) if probes and probes[0]["items"] else {}


def frames(run: Run, probes: list[JsonObject], dark: bool) -> JsonObject:
    """Return what the browser needs to replay, and no more: texts, log-probs of the answer tokens, and how likely
    the right answers are, in per cent, by row and by role.
    """
    # This imports plotly, which takes a moment that other pages need not wait for.
    from unlearn.figures.base import GENERAL, RETRAINED, ROLES, paint

    every = math.ceil(len(probes) / FRAMES)
    shown = probes[::-1][::every][::-1]
    if shown[0] is not probes[0]:
        shown = [probes[0], *shown]
    items = []
    kept: dict[str, list[int]] = {}
    for place, first in enumerate(probes[0]["items"]):
        kept.setdefault(first["role"], []).append(place)
        if len(kept[first["role"]]) <= PER_ROLE:
            items.append(_item(shown, place))
    colors = {role: paint(ROLES.get(role, GENERAL), dark) for role in kept}
    roles = [
        {
            "name": role,
            "title": TITLES.get(role, role),
            "color": colors[role],
            "mean": _mean(shown, places),
        }
        for role, places in kept.items()
    ]
    references = [
        {
            "name": "a model that never saw it",
            "value": _finite(100 * value),
            "color": paint(RETRAINED, dark),
        }
        for role, value in likelihood.of_retrained(run).items()
        if role == "forget"
    ]
    said = ", ".join(
        f"{TITLES.get(role, role).lower()} {rounded(r['mean'][0])} to {rounded(r['mean'][-1])} %"
        for role, r in zip(kept, roles, strict=True)
    )
    return {
        "steps": [record["step"] for record in shown],
        "items": items,
        "roles": roles,
        "colors": colors,
        "references": references,
        "alt": f"How likely the right answers are over the training: {said}",
        "less": LESS,
        "more": MORE,
        "scale": SCALE["lp"][0],
    }


def _item(shown: list[JsonObject], place: int) -> JsonObject:
    moments = [record["items"][place] for record in shown]
    spelt = [without_end(moment["tokens"], moment["answer"]) for moment in moments]
    return {
        "role": moments[0]["role"],
        "question": question_of(moments[0]),
        "answer": moments[0]["answer"],
        "texts": [_said(record, moment) for record, moment in zip(shown, moments, strict=True)],
        "right": [moment["text"].strip() == moment["answer"].strip() for moment in moments],
        "means": [_finite(100 * likelihood.of_answer(moment)) for moment in moments],
        "tokens": [visible(token["token"]) for token in spelt[0]],
        "lps": [[_finite(number(token["lp"])) for token in tokens] for tokens in spelt],
    }


def _said(record: JsonObject, moment: JsonObject) -> str:
    """Return what the model says.

    Between two moments at which it was asked, it is the earlier answer with its step.
    """
    at = moment.get("said", record["step"])
    return moment["text"] if at == record["step"] else f"{moment['text']} (at step {at})"


def _mean(shown: list[JsonObject], places: list[int]) -> list[float | None]:
    rows = [likelihood.of_rows([record["items"][place] for place in places]) for record in shown]
    return [_finite(100 * row) for row in rows]


def _finite(value: float) -> float | None:
    """JSON has no nan: None becomes null, which the browser leaves out of the curve."""
    return round(value, 4) if math.isfinite(value) else None
