"""Draws one row of a dataset with all that is known about it, and the rows closest in wording."""

from collections.abc import Sequence

import streamlit as st

from ui import shell
from ui.data.browse import Key, cells, spoken, told_words, widths
from unlearn.data import split
from unlearn.data.base import ROLES, TITLES, Dataset, Row
from unlearn.data.leaks import Leaks
from unlearn.data.search import Item, items
from unlearn.data.similar import DEFINITION, Similar

NEAREST = 10
SIMILARITY = st.column_config.ProgressColumn(
    "similarity", min_value=0, max_value=1, format="%.2f", width=100, help=DEFINITION
)


@st.cache_resource(max_entries=2, show_spinner="Comparing all rows with each other, once a data set")
def similar(key: Key, _dataset: Dataset) -> Similar:
    """Return the index of a dataset's texts. Nobody may change it."""
    return Similar(_dataset)


def whole(dataset: Dataset, item: Item) -> None:
    """Draw one row with everything that is known about it. Its text is shown as it is, never as markup."""
    row = item.row(dataset)
    about = [f"request {row.request}" if row.request else "", row.subject]
    about += [row.attribute] if row.attribute != row.question else []
    st.markdown(" · ".join([f"**{spoken(item)}**", *(shell.plain(word) for word in about if word)]))
    for who, text in (*([("system", row.system)] if row.system else []), *row.messages):
        st.markdown(f":small[**{who}**] {shell.plain(text)}")
    if row.question:
        st.markdown(shell.plain(row.question))
        lead = f"{shell.plain(row.lead)} " if row.lead else ""
        st.markdown(f"{lead}{marked(row)}")
    else:
        if row.lead:
            st.caption("The model is given")
            st.code(row.lead, language=None, wrap_lines=True)
            st.caption("and is to go on with")
        st.code(row.answer, language=None, wrap_lines=True)
    if row.wrong:
        st.caption("Wrong answers of the same form, for metrics that ask which is likeliest")
        listed(row.wrong, row)
    if row.truth:
        st.caption("The right answer; the one above is wrong, and was trained on")
        st.markdown(shell.plain(row.truth))
    if row.paraphrase:
        st.caption("The answer in other words")
        st.markdown(shell.plain(row.paraphrase))
    if others := split.wordings(dataset, item):
        st.caption("The same fact in other words")
        listed([told_words(other.row(dataset)) for other in others], row)


def listed(texts: Sequence[str], row: Row) -> None:
    """Draw short texts in a line and sentences below each other.

    A row without a question may be code, and is shown as code.
    """
    if not row.question:
        for text in texts:
            st.code(text, language=None, wrap_lines=True)
        return
    escaped = [shell.plain(" ".join(text.split())) for text in texts]
    long = max(map(len, texts)) > 40
    st.markdown("\n".join(f"- {text}" for text in escaped) if long else " · ".join(escaped))


def marked(row: Row) -> str:
    """Return the answer with its entities in bold."""
    parts, done = [], 0
    for start, end in sorted(row.entities):
        if done <= start < end <= len(row.answer):
            parts += [
                shell.plain(row.answer[done:start]),
                f"**{shell.plain(row.answer[start:end].strip())}**",
            ]
            done = end
    return "".join([*parts, shell.plain(row.answer[done:])])


def near(dataset: Dataset, key: Key, item: Item, told: Leaks) -> None:
    """Draw the rows closest in wording.

    For a forget item these are rows of other roles, with a warning where one repeats it.
    """
    among = [role for role in ROLES if role not in ("forget", "paraphrase") or item.role != "forget"]
    others = [other for other in items(dataset, among) if other != item]
    if not others:
        st.info(
            "There is nothing to compare with: this data set has only rows to forget.", icon=":material/info:"
        )
        return
    (found,) = similar(key, dataset).nearest([item], others, NEAREST)
    if leak := next((leak for leak in told.found if leak.item == item), None):
        st.warning(
            f"Row {leak.other.index + 1} of “{TITLES[leak.other.role]}” tells it too.",
            icon=":material/warning:",
        )
    rows = [{"similarity": one.similarity} | cells(one.item, one.item.row(dataset)) for one in found]
    what = "outside the forget set" if item.role == "forget" else "of all"
    st.markdown(f"**Closest in wording** {what}", help=DEFINITION)
    st.dataframe(
        rows,
        column_order=["similarity", "row", "question", "answer"],
        column_config=widths(bool(item.row(dataset).question), question=230, answer=110)
        | {"similarity": SIMILARITY},
        hide_index=True,
        height="content",
        key=f"data.near.{item}",
        placeholder="–",
        alt="The rows closest in wording, with their similarity",
    )
    st.caption(f"{len(rows)} of n = {len(others):,} rows compared. 1 is the same text, 0 nothing in common.")
