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
    rows = [
        {
            "what": line["meaning"].rstrip("."),
            "at most": line["value"],
            "used": _number(used.get(line["cap"])),
        }
        for line in limits.table()
    ]
    st.dataframe(
        rows, hide_index=True, key="demo.table", placeholder="", alt="Caps of a visitor, and what is used"
    )


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}"


def private() -> None:
    """Draw for a visitor who can read what is given here."""
    if visitor.here():
        st.caption(PRIVATE)
