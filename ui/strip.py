"""Draws the token strip: an answer's tokens, tinted by how much less (red) or more (blue) likely each became.

The scale is fixed and symmetric, so that two strips can be compared by eye; sign and value stand as text,
so that colour is never the only carrier. Tokens are buttons: Tab and the arrow keys reach them.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from unlearn.results.answer_tokens import percent
from unlearn.results.compare import nats, number, token_shift
from unlearn.store.shapes import JsonObject, JsonView

LESS, MORE = "#D7301F", "#2B7BBA"
# The shift at which a token has its full colour, and the unit of the shift. That of a probability is in nats too: from
# 95 to 50 % and from 0.95 to 0.5 % is the same step, which a difference would hide.
SCALE = {"p": (5.0, "log-prob, nats"), "lp": (5.0, "log-prob, nats"), "logit": (10.0, "logit")}

_here = Path(__file__).parent
_component = st.components.v2.component(
    "token_strip",
    html='<div class="strip" role="group" aria-label="Answer tokens"></div><div class="scale"></div>',
    css=(_here / "strip.css").read_text(encoding="utf-8"),
    js=(_here / "strip.js").read_text(encoding="utf-8"),
)


def visible(token: str) -> str:
    """Return a token as a person can read it, with blanks and line breaks shown."""
    return token.replace("\n", "↵").replace("\t", "⇥").replace(" ", "␣") or "∅"


def strip(before: Sequence[JsonView], after: Sequence[JsonView], quantity: str = "lp", *, key: str) -> int:
    """Draw the strip and return the place of the chosen token.

    Until one is clicked it is that of the largest shift.

    quantity: "p" (probability), "lp" (log-prob) or "logit". before and after are TOKEN records of the same answer.
    """
    full, unit = SCALE[quantity]
    tokens: list[JsonObject] = []
    for old, new, shift in zip(before, after, token_shift(before, after), strict=False):
        moved = number(shift["lp" if quantity == "p" else quantity])
        values = [_said(old, quantity), _said(new, quantity), nats(moved, sign=True)]
        values.append(f"{shift['before']} → {shift['after']}")
        title = f"{visible(old['token'])}: {values[0]} → {values[1]} ({values[2]} {unit}), rank {values[3]}"
        tint = max(-1.0, min(1.0, moved / full)) if moved == moved else 0.0
        tokens.append({"text": visible(old["token"]), "values": values, "tint": tint, "title": title})
    largest = max(range(len(tokens)), key=lambda i: abs(tokens[i]["tint"]), default=0)
    chosen = st.session_state.get(key, {}).get("chosen")
    chosen = largest if chosen is None else min(chosen, len(tokens) - 1)
    data = {
        "tokens": tokens,
        "chosen": chosen,
        "labels": ["token", "before", "after", "Δ", "rank"],
        "less": LESS,
        "more": MORE,
        "low": f"≤ −{full:g} less likely",
        "high": f"≥ +{full:g} more likely (Δ: {unit})",
    }
    # The data is in a list, because streamlit looks for tables in a dictionary, and imports pandas to do so.
    result = _component(data=[data], key=key, on_chosen_change=lambda: None)
    return chosen if result.chosen is None else min(result.chosen, len(tokens) - 1)


def _said(token: JsonView, quantity: str) -> str:
    return percent(math.exp(number(token["lp"]))) if quantity == "p" else nats(token[quantity])
