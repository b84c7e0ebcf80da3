"""Lists the pages of the app. Streamlit runs it at every visit; app.py makes the server."""

import streamlit as st

from ui import shell
from ui.demo import notice
from ui.start import waking
from unlearn.store.home import ASSETS

st.set_page_config(page_title="Unlearn Studio", page_icon=str(ASSETS / "icon.png"), layout="wide")

PAGES = {
    "Run": [
        st.Page(shell.page("start"), title="Start", icon=":material/play_circle:", default=True),
        st.Page(shell.page("lesson"), title="Lesson", icon=":material/school:"),
        st.Page(shell.page("launch"), title="Unlearn", icon=":material/ink_eraser:"),
        st.Page(shell.page("runs"), title="Runs", icon=":material/list:"),
    ],
    "Compare": [
        st.Page(shell.page("compare"), title="Compare", icon=":material/compare:"),
        st.Page(shell.page("tokens"), title="Tokens", icon=":material/token:"),
        st.Page(shell.page("stress"), title="Stress", icon=":material/bolt:"),
    ],
    "Study": [
        st.Page(shell.page("sweep"), title="Sweep", icon=":material/grid_on:"),
        st.Page(shell.page("sequence"), title="Sequence", icon=":material/format_list_numbered:"),
        st.Page(shell.page("benchmark"), title="Benchmark", icon=":material/leaderboard:"),
        st.Page(shell.page("trust"), title="Trust", icon=":material/verified:"),
        st.Page(shell.page("claims"), title="Claims", icon=":material/fact_check:"),
        st.Page(shell.page("methods"), title="Methods", icon=":material/function:"),
        st.Page(shell.page("data"), title="Data", icon=":material/dataset:"),
    ],
}

# Naming the folder of uploads here lets every page read it from now on.
shell.uploads()
waking.preload()
page = st.navigation(PAGES)
# The first page draws no figure, and pandas would take a third of its time.
if page.url_path:
    waking.whole()
notice.sidebar()
page.run()
