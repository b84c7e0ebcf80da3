"""Shows the rows to forget and to keep, with near rows, leaks, and other ways to split them."""

import streamlit as st

from ui import choose, forget_set, shell
from ui.data import browse
from ui.data import row as row_view
from ui.data import split as split_view
from unlearn.data.catalogue import KEYS

shell.guard()
shell.head(
    "Data",
    "Look at the rows before you unlearn: search them, see what lies close to what must go, and split them anew.",
)
keys = dict.fromkeys(key for keys in KEYS.values() for key in keys if key != "name")
if given := choose.address(("data", *keys, *browse.PARAMS, *split_view.PARAMS)):
    browse.fill(given)
    split_view.fill(given)

data, dataset = {}, None
try:
    data = forget_set.choose_data()
    dataset = forget_set.load(data) if data else None
except (ValueError, OSError) as error:
    st.error(shell.plain(str(error)))
if dataset is None:
    st.info(
        "Choose a data set, or give the rows to forget, and if you can, rows that must stay.",
        icon=":material/lightbulb:",
    )
    choose.set_address()
    st.stop()

key = forget_set.stamped(data)
told = browse.told_outside(key, dataset)
browse.facts(dataset, key)
browse.leaking(dataset, told, "data")
if st.button("Unlearn these rows as they are", icon=":material/ink_eraser:", key="data.use"):
    forget_set.hand_over(data)

st.subheader("Rows", anchor=False)
found = browse.search(dataset)
picked = browse.table(dataset, key, found)
if item := browse.latest(dataset, key, picked):
    left, right = st.columns([2, 3], gap="large")
    with left:
        row_view.whole(dataset, item)
    with right:
        row_view.near(dataset, key, item, told)

split_view.panel(dataset, key, data, found, picked)
choose.set_address(**forget_set.to_address(data), **browse.address(), **split_view.address())
