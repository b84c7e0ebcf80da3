"""What pages share and what knows Streamlit. Nothing under unlearn/ imports from here."""
