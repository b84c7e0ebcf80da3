"""Keeps what a person looks at: in the session, so that it travels from page to page, and in the address, so that one
link is the whole view.

Compare, Tokens and Stress share the chosen run. Each page has further words of its own in its address (tab, filters).
An address that this visit of the page has not written itself comes from a link and is what counts; without one, what
was chosen before counts. So does an address of before, to which the browser's Back has led, unless a choice was made at
the same time: a quick second click still carries the address from before the first one.
"""

from collections.abc import Callable, Sequence

import streamlit as st

# The word of an address that names the run which all pages share: Compare calls it a.
SHARED = ("run", "a")
KEPT, PAGE, OWN, CHOSE = "view.kept", "view.page", "view.own", "view.chose"
# The number of addresses of one visit that are remembered.
REMEMBERED = 20


def begin(page: str, *words: str) -> None:
    """Take over the choices of a link. Call it after the page's head and before its widgets.

    words: all that the page's address may hold. What a link names counts, and what it leaves out is as at first; only
    the shared run stays where the link names none.
    """
    if st.session_state.get("page.entered", True) or PAGE not in st.session_state:
        st.session_state[OWN] = []
    st.session_state[PAGE] = (page, words)
    given = {word: st.query_params[word] for word in words if word in st.query_params}
    own, chose = st.session_state[OWN], st.session_state.pop(CHOSE, False)
    if given and (given not in own or (not chose and given != own[-1])):
        own.append(given)
        kept = _kept()
        for word in words:
            if word in given:
                kept[_name(word)] = given[word]
            elif word not in SHARED:
                kept.pop(_name(word), None)


def value(word: str) -> str:
    """Return what was chosen for a word of the page's address, or "" where nothing was."""
    return _kept().get(_name(word), "")


def put(word: str, chosen: str, by_hand: bool = True) -> None:
    """Keep a choice, and write the view into the address. An empty choice is taken out of it.

    by_hand: whether a person has just chosen it.
    """
    kept = _kept()
    if chosen:
        kept[_name(word)] = chosen
    else:
        kept.pop(_name(word), None)
    st.session_state[CHOSE] = by_hand
    # The browser tells the address of before for a moment after it has taken over a new one, so an address that seems
    # to be right already may not be; written twice, it is one step of the browser's Back all the same.
    write(again=by_hand)


def write(again: bool = False) -> None:
    """Write the page's whole view into the address.

    again: even where that is what the browser has told.
    """
    _, words = st.session_state[PAGE]
    wanted = {word: value(word) for word in words if value(word)}
    own = st.session_state[OWN]
    own[:] = [*(known for known in own if known != wanted), wanted][-REMEMBERED:]
    if again or st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)


def widget(key: str, word: str, first: object, options: Sequence[str] | None = None) -> Callable[[], None]:
    """Give a widget the value that the view holds for it, and return its on_change, which keeps a new one.

    first is the value without a choice; it is never in the address. Its type says how a word is read: a list of words
    between bars, a number, or one word. options: the words that count; any other is taken for none.
    """
    st.session_state[key] = _read(value(word), first, options)

    def keep() -> None:
        chosen = st.session_state[key]
        text = "|".join(map(str, chosen)) if isinstance(chosen, list) else str(chosen or "")
        put(word, "" if chosen == first else text)

    return keep


def _read(text: str, first: object, options: Sequence[str] | None) -> object:
    fits = lambda one: options is None or one in options  # noqa: E731
    if isinstance(first, list):
        return [one for one in text.split("|") if one and fits(one)] or first
    if first is None or isinstance(first, float):
        try:
            return float(text)
        except ValueError:
            return first
    return text if text and fits(text) else first


def _kept() -> dict[str, str]:
    return st.session_state.setdefault(KEPT, {})


def _name(word: str) -> str:
    return "run" if word in SHARED else f"{st.session_state[PAGE][0]}.{word}"
