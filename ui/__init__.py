"""Holds what the pages share, and everything that knows Streamlit. Nothing under unlearn/ imports from here."""
