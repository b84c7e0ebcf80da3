"""Says to a visitor what this demo or class allows, how much of it is used, and who can read what is given."""

import streamlit as st

from ui import shell
from ui.demo import visitor
from unlearn.store.caps import caps, is_visitor, mode
from unlearn.work.visitors import rules, spent

WORDS = {
    "demo": "A demo: models and data that come with the studio, and tables of your own.",
    "class": "A class: what you begin here runs on the machine of whoever hosts it.",
}
# What a person reads before a table is uploaded or pasted.
PRIVATE = (
    "Give nothing private: whoever has the address of a run can read its rows, and the server keeps a copy until space "
    "is needed."
)


def sidebar() -> None:
    """Draw what a visitor may do, folded, below the list of pages. Others see nothing of it."""
    if not visitor.here():
        return
    # An error that nobody foresaw is a traceback with this machine's folders; it goes to the server's log alone.
    st.set_option("client.showErrorDetails", "none")
    with st.sidebar:
        st.caption(WORDS[mode() or "demo"])
        place = st.expander(f"What this {rules.word()} allows", key="demo.caps", on_change="rerun")
        if place.open:
            with place:
                _allowed()


def _allowed() -> None:
    limits, me, store = caps(), shell.owner(), shell.store()
    held = [*spent.records(store), *spent.tables(store)]
    waiting = [str(record.meta.get("owner", "")) for record in shell.runner().active()]
    st.markdown(
        f"Models: {', '.join(rules.models())}. Forget sets: {', '.join(rules.datasets())}, and tables that you upload "
        "or paste. No hub ids, and no paths."
    )
    used = {
        "queue_each": waiting.count(me),
        "queue": sum(map(is_visitor, waiting)),
        "minutes_each": spent.minutes(store.root, me),
        "minutes": spent.minutes(store.root),
        "disk_mb_each": spent.megabytes(held, me),
        "disk_mb": spent.megabytes(held),
    }
    # Lines and no table, because the side bar is narrow.
    lines = [
        f"- {_of(used.get(line['cap']), line['value'])} {shell.plain(line['meaning'])}"
        for line in limits.table()
    ]
    st.caption("\n".join(lines))


def _of(used: float | None, most: str) -> str:
    return f"**{most}**" if used is None else f"**{used:.3g} of {most}**"


def private() -> None:
    """Draw for a visitor who can read what is given here."""
    if visitor.here():
        st.caption(PRIVATE)
