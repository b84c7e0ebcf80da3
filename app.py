"""Starts the server: `streamlit run app.py` begins here. Which pages there are stands in ui/main.py."""

from pathlib import Path

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

import streamlit as st  # noqa: E402  (after the thread policy)

from ui import doors  # noqa: E402

app = st.App(Path(__file__).resolve().parent / "ui" / "main.py", middleware=doors.middleware())
