"""Makes another forget set from a dataset: what to forget, the result, and where it goes."""

import shlex
from collections.abc import Mapping, Sequence
from functools import partial

import streamlit as st

from ui import forget_set, shell
from ui.data import browse
from ui.data import row as row_view
from ui.forms import KEEP
from unlearn.data import catalogue, split, write
from unlearn.data.base import ROLES, TITLES, Dataset
from unlearn.data.leaks import Leaks
from unlearn.data.search import Item
from unlearn.store.shapes import JsonObject

SUBJECTS, PICKED, FOUND, RANDOM = "subject", "ticked", "found", "random"
WAYS = {
    SUBJECTS: "By subject",
    PICKED: "Rows ticked above",
    FOUND: "Rows found above",
    RANDOM: "A random share",
}
PARAMS = {
    "by": "split.way",
    "subjects": "split.subjects",
    "share": "split.share",
    "seed": "split.seed",
    "aside": "split.aside",
}
FIRST = {"split.subjects": [], "split.share": 10, "split.seed": 0, "split.aside": 0}


def fill(given: Mapping[str, str]) -> None:
    """Fill the form from the words of a link. What does not fit is left as it was."""
    if given.get("by") in WAYS:
        st.session_state.update({"split.open": True, "split.way": given["by"]})
        st.session_state["split.subjects"] = [name for name in given.get("subjects", "").split("|") if name]
        for name in ("share", "seed", "aside"):
            if (word := given.get(name, "")).isdecimal():
                st.session_state[PARAMS[name]] = int(word)


def address() -> dict[str, str]:
    """Return the words that fill() reads, as they stand now. It is empty while the form is closed."""
    state = st.session_state
    if not state.get("split.open"):
        return {}
    words = {"by": str(state.get("split.way", "")), "aside": str(state.get("split.aside") or "")}
    if words["by"] == SUBJECTS:
        words["subjects"] = "|".join(state.get("split.subjects", ()))
    if words["by"] == RANDOM:
        words |= {name: str(state[PARAMS[name]]) for name in ("share", "seed")}
    return words


def panel(
    dataset: Dataset, key: browse.Key, data: JsonObject, found: Sequence[Item], picked: Sequence[Item]
) -> None:
    """Draw the form and, below it, the result."""
    title = "Make a forget set of your own out of these rows"
    with st.expander(title, icon=":material/call_split:", key="split.open", on_change="rerun") as shown:
        if not shown.open:
            return
        names = ", ".join(role for role in split.POOL if dataset.rows(role))
        st.caption(
            f"Rows of {names} are dealt anew: what you choose is to be forgotten, the rest is kept. Other roles stay; "
            "paraphrases follow their facts."
        )
        for name, value in FIRST.items():
            st.session_state.setdefault(name, value)
        try:
            groups, how, command = choose(dataset, found, picked)
            if groups is None:
                return
            aside = st.session_state["split.aside"]
            index = row_view.similar(key, dataset) if aside else None
            name = split.name_of(dataset, how)
            made = split.split(dataset, groups, name=name, neighbours=aside, similar=index)
            result(made, data, [*command, "--aside", str(aside)] if command and aside else command)
        except ValueError as error:
            st.error(shell.plain(str(error)))


def choose(
    dataset: Dataset, found: Sequence[Item], picked: Sequence[Item]
) -> tuple[Sequence[Sequence[Item]] | None, str, list[str]]:
    """Draw the choice and return (groups of rows to forget, how they were chosen, the command's words for
    it).

    The groups are None while nothing is chosen.
    """
    names = split.subjects(dataset)
    ways = [way for way in WAYS if way != SUBJECTS or names]
    if st.session_state.get("split.way") not in ways:
        st.session_state["split.way"] = ways[0]
    left, right = st.columns([3, 1], vertical_alignment="top")
    way = left.segmented_control(
        "Forget", ways, format_func=WAYS.__getitem__, key="split.way", required=True, wrap=True, **KEEP
    )
    help = (
        f"So many rows of the rest that are closest in wording to each row to forget become “{TITLES['neighbours']}”: "
        "no method trains on them, and damage shows there first."
    )
    right.number_input("Nearest rows set aside", 0, 20, key="split.aside", help=help, **KEEP)
    pool = [item for item in (found if way == FOUND else picked) if item.role in split.POOL]
    if way == SUBJECTS:
        kept = [name for name in st.session_state["split.subjects"] if name in names]
        st.session_state["split.subjects"] = kept
        help = "All rows about them. Each is a deletion request of its own."
        chosen = left.multiselect(
            "Subjects", names, key="split.subjects", placeholder=f"among {len(names)}", help=help, **KEEP
        )
        words = [word for name in chosen for word in ("--subject", name)]
        if not chosen:
            st.info("Choose one or several subjects.", icon=":material/info:")
        return (split.of_subjects(dataset, chosen) if chosen else None), " ".join(chosen), words
    if way == RANDOM:
        one, two = left.columns(2)
        share = one.number_input("Share in per cent", 1, 99, key="split.share", **KEEP)
        help = "The same seed and rows give the same split."
        seed = two.number_input("Seed", 0, 2**31 - 1, key="split.seed", help=help, **KEEP)
        words = ["--share", f"{share / 100:g}", "--seed", str(seed)]
        return split.at_random(dataset, share / 100, seed), f"{share} percent seed {seed}", words
    if len(pool) < (len(found) if way == FOUND else len(picked)):
        left.caption(f"Only rows of {', '.join(split.POOL)} count: {len(pool)}.")
    if not pool:
        what = "Search above for the rows" if way == FOUND else "Tick rows in the table above"
        st.info(f"{what} that are to be forgotten.", icon=":material/info:")
        return None, "", []
    text = st.session_state.get("data.search", "").strip() if way == FOUND else ""
    words = ["--search", text] if text else []
    if text and (roles := st.session_state.get("data.roles")):
        words += ["--role", ",".join(roles)]
    if text and st.session_state.get("data.words"):
        words.append("--whole-words")
    return [pool], text or f"{len(pool)} rows", words


@st.cache_data(max_entries=8, show_spinner=False)
def _leaks(digest: str, _made: Dataset) -> Leaks:
    return browse.leaks(_made)


def result(made: Dataset, data: JsonObject, command: list[str]) -> None:
    """Draw the split in numbers, its leaks, and what can be done with it next."""
    counts = {role: len(made.rows(role)) for role in ROLES if made.rows(role)}
    requests = f" in {len(made.requests())} deletion requests" if made.requests() else ""
    rest = ", ".join(
        f"{TITLES[role].lower()} {count:,}" for role, count in counts.items() if role != "forget"
    )
    forgotten = "row" if counts["forget"] == 1 else "rows"
    st.markdown(
        f"**{shell.plain(made.name)}**: {counts['forget']:,} {forgotten} to forget{requests}; {rest}."
    )
    browse.leaking(made, _leaks(made.hash(), made), "split")
    with st.container(horizontal=True):
        if st.button("Use it on Unlearn", type="primary", icon=":material/ink_eraser:", key="split.use"):
            forget_set.hand_over(forget_set.keep_split(made))
        for role in ("forget", "retain", "neighbours"):
            if counts.get(role):
                suffix = "" if role == "forget" else f"-{role}"
                help = "JSONL; Unlearn reads it under Upload, nothing lost."
                st.download_button(
                    TITLES[role], partial(write.to_jsonl, made.rows(role), f"{role} set"),
                    file_name=f"{made.name}{suffix}.jsonl", mime="application/jsonl", icon=":material/download:",
                    on_click="ignore", key=f"split.save.{role}", help=help,
                )  # fmt: skip
        if command and data.get("name") in catalogue.CATALOGUE and not data.get("requests"):
            words = ["python", "-m", "unlearn", "data", data["name"], "--split", made.name, *command]
            shell.copy_command("split.command", shlex.join(words), "Makes the same files without the app.")
