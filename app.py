"""The app's table of contents: which pages there are. `streamlit run app.py` starts here."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve everything else

import streamlit as st

from ui import shell

st.set_page_config(page_title="Unlearn Studio", page_icon="assets/icon.png", layout="wide")

PAGES = {
    "Run": [
        st.Page("pages/start.py", title="Start", icon=":material/play_circle:", default=True),
        st.Page("pages/launch.py", title="Unlearn", icon=":material/ink_eraser:"),
        st.Page("pages/runs.py", title="Runs", icon=":material/list:"),
    ],
    "Compare": [
        st.Page("pages/compare.py", title="Compare", icon=":material/compare:"),
        st.Page("pages/tokens.py", title="Tokens", icon=":material/token:"),
        st.Page("pages/stress.py", title="Stress", icon=":material/bolt:"),
    ],
    "Study": [
        st.Page("pages/sweep.py", title="Sweep", icon=":material/grid_on:"),
        st.Page("pages/sequence.py", title="Sequence", icon=":material/format_list_numbered:"),
        st.Page("pages/claims.py", title="Claims", icon=":material/fact_check:"),
        st.Page("pages/methods.py", title="Methods", icon=":material/function:"),
        st.Page("pages/data.py", title="Data", icon=":material/dataset:"),
    ],
}

shell.preload()
st.navigation(PAGES).run()
