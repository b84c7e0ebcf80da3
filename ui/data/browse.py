"""Draws a dataset: what is in it, what other rows repeat, and a table of its rows with a search.

Everything chosen here has a place in the address. One row with what lies close to it is in ui.data.row.
"""

from collections.abc import Mapping, Sequence

import streamlit as st

from ui import forget_set, pick, shell
from ui.data import reading
from ui.forms import KEEP
from ui.launch.wrong import on_pages
from ui.sheet import plain_table
from unlearn.data.base import ROLES, TITLES, Dataset, Row
from unlearn.data.leaks import RULE, Leaks, leaks
from unlearn.data.lengths import NOTE, fitted
from unlearn.data.remarks import meaning, remarks
from unlearn.data.search import Item, find, item_named, items
from unlearn.models.load import CATALOGUE, available
from unlearn.models.reading import reader_of
from unlearn.store.shapes import JsonObject

# The tokens of a row that a run reads by default.
LONGEST = 512
# The number of rows in the table. A search finds the others.
SHOWN = 300
# A key is what forget_set.stamped() returns.
Key = tuple[str, float]


# -- the address -----------------------------------------------------------------------------------------------

TEXTS = {"search": "data.search", "item": "data.item"}
PARAMS = (*TEXTS, "role", "words")


def fill(given: Mapping[str, str]) -> None:
    """Choose what a link says, before the widgets are drawn. What is wrong in the link is shown."""
    try:
        if data := forget_set.from_address(given):
            forget_set.set_data(data)
    except ValueError as error:
        st.error(shell.plain(str(error)))
    st.session_state.update({key: given.get(name, "") for name, key in TEXTS.items()})
    st.session_state["data.roles"] = [role for role in given.get("role", "").split(",") if role in ROLES]
    st.session_state["data.words"] = given.get("words") == "whole"
    st.session_state.pop("data.of", None)


def address() -> dict[str, str]:
    """Return the words that fill() reads, as they stand now."""
    state = st.session_state
    texts = {name: str(state.get(key, "")) for name, key in TEXTS.items()}
    roles = ",".join(state.get("data.roles", ()))
    return texts | {"role": roles, "words": "whole" if state.get("data.words") else ""}


# -- what is in it ---------------------------------------------------------------------------------------------


@st.cache_data(max_entries=20, show_spinner=False)
def _tokens(key: Key, model: str, _dataset: Dataset) -> dict[str, int]:
    """Tokens of each role's texts, by the tokenizer's file alone: no model, no torch."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(CATALOGUE[model].path() / "tokenizer.json"))
    tokenizer.no_truncation()

    def count(rows: Sequence[Row]) -> int:
        texts = [row.prompt + row.target for row in rows]
        return sum(len(one.ids) for one in tokenizer.encode_batch(texts, add_special_tokens=False))

    return {role: count(dataset_rows) for role in ROLES if (dataset_rows := _dataset.rows(role))}


def facts(dataset: Dataset, key: Key) -> None:
    """Draw the roles with rows and tokens, where the rows come from, and what is wrong with them."""
    models = [
        name
        for name in CATALOGUE
        if available(name) and (CATALOGUE[name].path() / "tokenizer.json").is_file()
    ]
    sizes = {role: len(rows) for role in ROLES if (rows := dataset.rows(role))}
    table: list[JsonObject] = [
        {"role": role, "rows": size, "what it is": ROLES[role]} for role, size in sizes.items()
    ]
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    total, requests = sum(sizes.values()), len(dataset.requests())
    said = [f"{total:,} rows in {len(table)} group{'s' * (len(table) > 1)}"]
    said += [f"{requests} deletion request{'s' * (requests > 1)}"] if requests else []
    left.markdown(f"**{shell.plain(dataset.title)}**: {', '.join(said)}.")
    with right:
        if models:
            own = next((name for name in models if CATALOGUE[name].data == dataset.name), models[0])
            if st.session_state.get("data.tokenizer") not in models:
                st.session_state["data.tokenizer"] = own
            model = st.selectbox(
                "Tokens as counted by",
                models,
                format_func=lambda name: CATALOGUE[name].title,
                key="data.tokenizer",
                **KEEP,
            )
            counts = _tokens(key, model, dataset)
            table = [row | {"tokens": counts[role]} for role, row in zip(sizes, table, strict=True)]
    written = [
        {"Rows": f"{TITLES[row['role']]}, {row['rows']:,} rows"}
        | ({"Tokens": f"{row['tokens']:,}"} if "tokens" in row else {})
        | {"What they are": row["what it is"]}
        for row in table
    ]
    plain_table(written, key="data.facts", widths=("28%", *(["14%"] if models else []), ""))
    if models:
        st.caption(
            "Tokens: question, lead and answer of every row as this tokenizer cuts them, without begin and end."
        )
    if dataset.note:
        st.caption(shell.plain(dataset.note))
    _notes(dataset, st.session_state.get("data.tokenizer", ""))


def _notes(dataset: Dataset, model: str) -> None:
    """Draw what a person should know about the rows, and below each note what it means."""
    reader = reader_of(model, LONGEST) if model else None
    for note in (*fitted(dataset, reader, NOTE).warnings, *remarks(dataset, overlap=False)):
        told = f"  \n:small[{shell.plain(meaning(note))}]" if meaning(note) else ""
        st.warning(f"{shell.plain(on_pages(note))}{told}", icon=":material/warning:")


@st.cache_data(max_entries=8, show_spinner="Comparing the forget set with the rest")
def told_outside(key: Key, _dataset: Dataset) -> Leaks:
    """Return unlearn.data.leaks of a dataset, computed once."""
    return leaks(_dataset)


def leaking(dataset: Dataset, told: Leaks, name: str) -> None:
    """Draw the verdict on leaks in one sentence, and all leaks on demand.

    name is the beginning of the widgets' keys.
    """
    part = (
        f" Only the first {told.checked} of {told.n} were looked at: the set is too large."
        if told.checked < told.n
        else ""
    )
    if not any(dataset.rows(role) for role in ("retain", "general", "neighbours")):
        return
    if not told.found:
        where = " or ".join(f"“{TITLES[role]}”" for role in ("retain", "general", "neighbours"))
        text = f"None of the {told.checked} rows to forget is told in {where}.{part}"
        st.caption(text, help=RULE)
        return
    count = len(told.found)
    who = "1 forget row is" if count == 1 else f"{count} forget rows are"
    st.warning(
        f"**{who} told outside the forget set too** (of {told.checked}). A method is then trained to keep what it "
        f"must forget, and no score can tell whether it forgot. Take these rows out of one of the two.{part}",
        icon=":material/warning:",
    )
    with st.expander(f"Show {count}", key=f"{name}.leaks", on_change="rerun", type="compact") as shown:
        if shown.open:
            st.caption(shell.plain(RULE))
            table = [
                {
                    "to forget": spoken(leak.item),
                    "says": told_words(leak.item.row(dataset)),
                    "told in": spoken(leak.other),
                    "there": told_words(leak.other.row(dataset)),
                    "more": leak.more or None,
                }
                for leak in told.found[:SHOWN]
            ]
            help = "How many further rows outside the forget set tell it."
            config = {"more": st.column_config.NumberColumn(help=help, width=60)}
            st.dataframe(
                table,
                column_config=config,
                hide_index=True,
                key=f"{name}.leaks.rows",
                placeholder="–",
                alt="Rows to forget with the row elsewhere that tells the same",
            )


def spoken(item: Item) -> str:
    """Return a row's name as a person says it, such as "To forget 12"."""
    return f"{TITLES[item.role]} {item.index + 1}"


def told_words(row: Row) -> str:
    """Return question (or lead) and answer in one line."""
    return " ".join(f"{row.question or row.lead} {row.answer}".split())


# -- the table -------------------------------------------------------------------------------------------------


def search(dataset: Dataset) -> list[Item]:
    """Draw the search field and the roles, and return the rows that they find."""
    words, whole, roles = st.columns([4, 2, 6], vertical_alignment="bottom")
    text = words.text_input(
        "Search",
        key="data.search",
        placeholder="in question, answer and subject",
        live=True,
        max_chars=200,
        **KEEP,
    )
    only = whole.toggle("Whole words", key="data.words", help='"art" then does not find "heart".', **KEEP)
    counts = {role: len(dataset.rows(role)) for role in ROLES if dataset.rows(role)}
    st.session_state["data.roles"] = [r for r in st.session_state.get("data.roles", ()) if r in counts]
    chosen = roles.pills(
        "Rows (none chosen: all)", list(counts), selection_mode="multi", key="data.roles", wrap=True,
        format_func=TITLES.__getitem__, help=reading.told(counts), **KEEP,
    )  # fmt: skip
    return find(dataset, text, chosen or tuple(ROLES), whole_words=only)


def table(dataset: Dataset, key: Key, found: Sequence[Item]) -> list[Item]:
    """Draw the rows that were found, and return those that are selected."""
    if not found:
        st.info(
            "No row has this text. Search for less of it, or in other rows.", icon=":material/search_off:"
        )
        return []
    shown, total = found[:SHOWN], len(items(dataset))
    rows = [cells(item, item.row(dataset)) for item in shown]
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    # The key changes with the list, so that another list does not inherit a selection.
    name = f"data.rows.{hash((key, tuple(found)))}"
    linked = st.session_state.get("data.item")
    default = [at for at, item in enumerate(shown) if str(item) == linked]
    selected = st.dataframe(
        rows,
        column_order=columns,
        column_config={
            "row": st.column_config.Column(width=130),
            "request": st.column_config.Column(width=65),
            "question": st.column_config.Column(width=420),
            "answer": st.column_config.Column(width=280),
        },
        hide_index=True,
        height=320 if len(rows) > 8 else "content",
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": default}} if default else None,
        key=name,
        placeholder="–",
        alt="Rows of the data set that fit the search",
    )
    more = f", the first {SHOWN} shown" if len(found) > SHOWN else ""
    st.caption(
        f"{len(found):,} of {total:,} rows{more}. Tick one to see it whole, several for a split.{pick.by_keys()}"
    )
    return [shown[row] for row in selected.selection.rows if row < len(shown)]


def widths(asked: bool, **more: int) -> JsonObject:
    """Return the column settings of a table of cells().

    asked is whether there are questions, not only beginnings of texts.
    """
    label = "question" if asked else "given"
    config = {"row": st.column_config.Column(width=130), "request": st.column_config.Column(width=65)}
    return (
        config
        | {name: st.column_config.Column(width=width) for name, width in more.items()}
        | {"question": st.column_config.Column(label, width=more.get("question"))}
    )


def cells(item: Item, row: Row) -> JsonObject:
    """Return a row as a line of a table."""
    return {
        "row": spoken(item),
        "system": row.system,
        "before": " / ".join(f"{who}: {text}" for who, text in row.messages),
        "question": row.question or row.lead,
        "answer": row.answer,
        "subject": row.subject,
        "request": row.request or None,
    }


def latest(dataset: Dataset, key: Key, picked: Sequence[Item]) -> Item | None:
    """Return the row to show: the one ticked last, or else the one that the link names.

    It is noted for the address.
    """
    # Another dataset has other rows, so the choice is forgotten.
    if st.session_state.get("data.of", key) != key:
        st.session_state.update({"data.picked": [], "data.item": ""})
    st.session_state["data.of"] = key
    before, now = st.session_state.get("data.picked", []), [str(item) for item in picked]
    st.session_state["data.picked"] = now
    current = st.session_state.get("data.item", "")
    if new := [name for name in now if name not in before]:
        current = new[-1]
    elif before and current not in now:
        current = now[-1] if now else ""
    try:
        item = item_named(dataset, current) if current else None
    except ValueError as error:
        st.error(shell.plain(str(error)))
        item = None
    st.session_state["data.item"] = str(item or "")
    return item
