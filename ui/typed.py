"""Checks files where they enter: the field for a typed path, and the one way to upload.

What lies outside the allowed folders, or is larger than its kind may be, never gets past: readers of files are handed
what these return, so no page can read first and ask afterwards.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ui.demo import visitor
from unlearn.store.allowed import allowed_path
from unlearn.store.caps import caps
from unlearn.work.visitors import admission

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile


def path_field(label: str, key: str, place: Any = st, **look: Any) -> Path | None:
    """Return the path that was typed, checked and with links resolved. It is None while there is none.

    A visitor of a demo or a class has no such field. ValueError for a path that is not inside an allowed folder, or not
    there. look: what st.text_input takes beside.
    """
    if visitor.here():
        # No field, so nothing can be typed; what a page remembers of before is not read.
        return None
    typed = place.text_input(label, key=key, **look).strip()
    return allowed_path(typed) if typed else None


def upload(label: str, kinds: str | list[str], key: str, most_mb: int) -> "UploadedFile | None":
    """Return an uploaded file of at most most_mb MB, or None. One that is larger is refused on the page.

    The widget's limit is only the browser's word: whoever posts to the server himself is held by the server's alone.
    """
    if visitor.here():
        most_mb = min(most_mb, max(1, math.ceil(caps().upload_mb)))
    file = st.file_uploader(label, kinds, key=key, max_upload_size=most_mb)
    if file is not None and visitor.here():
        try:
            admission.check_size(file.size)
        except ValueError as error:
            st.error(str(error))
            return None
    if file is not None and file.size > most_mb * 2**20:
        st.error(f"{file.size / 2**20:.0f} MB are more than the {most_mb} MB that are read here.")
        return None
    return file
