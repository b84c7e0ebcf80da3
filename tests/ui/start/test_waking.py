"""Waking: what a figure needs is imported to its end before a page draws one."""

import sys
import threading

from tests.pages.test_compare import opened, store  # noqa: F401  (a fixture)
from ui.start import waking

HALFWAY = """
import threading
go = threading.Event()
go.wait(20)
Series = object
"""


def test_a_module_that_another_thread_imports_is_awaited(tmp_path, monkeypatch):
    (tmp_path / "halfway_imported.py").write_text(HALFWAY)
    monkeypatch.syspath_prepend(str(tmp_path))
    seen = []

    def look() -> None:
        waking.whole("halfway_imported")
        seen.append(hasattr(sys.modules["halfway_imported"], "Series"))

    first = threading.Thread(target=waking.whole, args=("halfway_imported",))
    second = threading.Thread(target=look)
    first.start()
    while not hasattr(sys.modules.get("halfway_imported"), "go"):
        first.join(0.01)
        assert first.is_alive()
    second.start()
    second.join(0.2)
    sys.modules["halfway_imported"].go.set()
    first.join()
    second.join()
    assert seen == [True]


def test_every_page_but_the_first_has_pandas_whole(store, monkeypatch):  # noqa: F811
    asked: list[str] = []
    monkeypatch.setattr(waking, "whole", lambda: asked.append("pandas"))
    # It opens the first page, and then goes on to this one.
    opened("compare")
    assert asked == ["pandas"]
