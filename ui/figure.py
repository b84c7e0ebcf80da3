"""Draws a figure on a page with its title as text above it, because a text wraps on a phone."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from ui import shell

if TYPE_CHECKING:
    import plotly.graph_objects as go

# The colour of the words on axes, on light and dark pages: streamlit's own grey is 3.8 to 1 on white.
INK = {False: "#5A5A57", True: "#B4B4B0"}
CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}


def show(figure: "go.Figure", *, key: str, top: int = 10, select: bool = False) -> Any:
    """Draw a figure on the page.

    The title, which is a sentence on what to see, is also the text for those who cannot.

    top: pixels above the axes, for titles of panels. select: clicked points come back as .selection.points.
    """
    return _drawn(untitled(figure, top), figure, key, select)


def show_kept(known: tuple[object, ...], build: Callable[[], "go.Figure"], *, key: str, top: int = 10) -> Any:
    """Draw a figure as show() does, and build it only where it is not kept from an earlier visit.

    known: all that the figure depends on, in plain values: which of them, of what, as its files are now, the theme.
    """
    words, figure = _kept((key, *known), top, build)
    return _drawn(words, figure, key, False)


# A visit to a page builds three figures of some 10 ms each, and most visits change none of them.
@st.cache_resource(max_entries=200, show_spinner=False)
def _kept(known: tuple[object, ...], top: int, _build: Callable[[], "go.Figure"]) -> tuple[str, "go.Figure"]:
    figure = _build()
    return untitled(figure, top), figure


def _drawn(words: str, figure: "go.Figure", key: str, select: bool) -> Any:
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
    """Remove the title and its space from the figure, and return the title. Its axes get words that can be read."""
    ink = INK[shell.dark()]
    figure.update_xaxes(title_font_color=ink, tickfont_color=ink)
    figure.update_yaxes(title_font_color=ink, tickfont_color=ink)
    title = figure.layout.title.text or ""
    # So do legends, and whatever is written beside a line or a bar without a colour of its own.
    figure.update_layout(font_color=ink)
    figure.update_layout(title=None, margin_t=top, height=(figure.layout.height or 300) - 40 + top)
    return title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
