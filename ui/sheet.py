"""Draws a table of texts side by side, with changed words marked where they are answers.

Why not st.dataframe or Markdown: a data frame cuts a long text and cannot mark words inside a cell, and Markdown
would run what a model wrote (links, formulas, emoji names). Here every text reaches the page as text, and on a phone
each row becomes a card.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st

from unlearn.results.compare import word_diff
from unlearn.store.shapes import JsonObject

_here = Path(__file__).parent
_component = st.components.v2.component(
    "text_sheet",
    html='<div class="frame"><table class="sheet"></table></div>',
    css=(_here / "sheet.css").read_text(encoding="utf-8"),
    js=(_here / "sheet.js").read_text(encoding="utf-8"),
)


def unmarked(text: str, note: str = "") -> JsonObject:
    """Return a cell with nothing marked."""
    return {"parts": [[text.strip() or "–", "same"]], "note": note}


def changed(before: str, after: str, note: str = "") -> JsonObject:
    """Return a cell with the words of `after`. New words are tinted, those that are gone are struck through.

    When no word is left, the old text is not repeated: the column beside it shows it.
    """
    parts = word_diff(before.strip(), after.strip())
    if all(kind != "same" for _, kind in parts):
        parts = [(text, kind) for text, kind in parts if kind == "new"]
    return {"parts": [list(part) for part in parts] or [["(nothing)", "gone"]], "note": note}


def plain_table(rows: Sequence[Mapping[str, str]], *, key: str, widths: Sequence[str] = ()) -> None:
    """Draw rows of texts under their names as a table, which on a phone becomes a card a row.

    A number stays beside its sign.
    """
    columns = [(name, "none") for name in rows[0]]
    lines = [{"cells": [unmarked(text.replace(" %", "\u00a0%")) for text in row.values()]} for row in rows]
    sheet(columns, lines, key=key, widths=widths)


def sheet(
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Mapping[str, object]],
    *,
    key: str,
    widths: Sequence[str] = (),
) -> str | None:
    """Draw the table and return the `open` value of the row whose "tokens" link was just clicked, else None.

    columns: (title, colour); the first one is the row's head. rows: {"cells": [cell, …], "open"?: str}.
    widths: of the columns, such as "30%"; an empty one takes its part of what is left.
    """
    named = zip(columns, widths or [""] * len(columns), strict=True)
    data = {
        "columns": [{"title": title, "tone": tone, "width": width} for (title, tone), width in named],
        "rows": list(rows),
    }
    # The data is in a list, because streamlit looks for tables in a dictionary, and imports pandas to do so.
    return _component(data=[data], key=key, on_open_change=lambda: None).open
