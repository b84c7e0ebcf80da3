"""Draws a figure on a page with its title as text above it, because a text wraps on a phone."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from ui import shell

if TYPE_CHECKING:
    import plotly.graph_objects as go

CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}


def show(figure: "go.Figure", *, key: str, top: int = 10, select: bool = False) -> Any:
    """Draw a figure on the page.

    The title, which is a sentence on what to see, is also the text for those who cannot.

    top: pixels above the axes, for titles of panels. select: clicked points come back as .selection.points.
    """
    words = untitled(figure, top)
    # On a narrow screen a number stays beside its sign.
    st.markdown(f"**{shell.plain(words)}**".replace(" %", "\u00a0%"))
    return st.plotly_chart(
        figure,
        width="stretch",
        key=key,
        config=CONFIG,
        alt=words,
        on_select="rerun" if select else "ignore",
        selection_mode="points",
    )


def untitled(figure: "go.Figure", top: int = 10) -> str:
    """Remove the title and its space from the figure, and return the title."""
    title = figure.layout.title.text or ""
    figure.update_layout(title=None, margin_t=top, height=(figure.layout.height or 300) - 40 + top)
    return title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
