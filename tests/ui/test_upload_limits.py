"""How large a file may be: what a page offers is what the server takes, and the size is asked again on arrival."""

import ast
import tomllib
from pathlib import Path

import pytest
from seed import seed_run

from tests.pages.test_compare import opened, store  # noqa: F401  (a fixture)
from unlearn.store.runs import RunStore
from unlearn.store.transfer import export_run

ROOT = Path(__file__).resolve().parents[2]
SERVER_MB = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["server"]["maxUploadSize"]


def uploader(app, label: str):
    return next(e for e in app.get("file_uploader") if label in e.label)


def test_import_offers_what_the_server_takes(store):  # noqa: F811
    assert SERVER_MB == 256
    assert uploader(opened("runs"), "exported").proto.max_upload_size_mb == SERVER_MB


def test_every_other_uploader_keeps_its_own_limit(store):  # noqa: F811
    app = opened("data")
    app.selectbox(key="data").set_value("own").run()
    assert uploader(app, "CSV").proto.max_upload_size_mb == 10
    assert uploader(opened("launch"), "settings").proto.max_upload_size_mb == 1


def test_what_the_browser_let_through_is_refused_when_it_is_there(store):  # noqa: F811
    """The server takes 256 MB at every uploader: a widget's own limit is the browser's word."""
    app = opened("data")
    app.selectbox(key="data").set_value("own").run()
    row = b"a question,an answer\n"
    uploader(app, "CSV").upload(
        "big.csv", b"question,answer\n" + row * (11 * 2**20 // len(row)), "text/csv"
    ).run()
    assert "more than the 10 MB" in "".join(e.value for e in app.error)
    assert not list((store.root / ".uploads").glob("*/*"))


def test_no_uploader_goes_round_the_check():
    for path in [*(ROOT / "ui").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]:
        calls = [
            n for n in ast.walk(ast.parse(path.read_text())) if getattr(n, "attr", "") == "file_uploader"
        ]
        assert not calls or path.name == "typed.py", path


@pytest.mark.parametrize("allowed", [True, False])
def test_a_large_run_comes_in_by_its_path(store, tmp_path_factory, allowed):  # noqa: F811
    """Too large to upload: from a folder that the app may read, and from no other."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    run = seed_run(RunStore(elsewhere / "store"))
    folder = store.root / ".uploads" if allowed else elsewhere
    folder.mkdir(exist_ok=True)
    file = export_run(run, folder / "run.zip")
    app = opened("runs")
    app.text_input(key="runs.import.path").set_value(str(file)).run()
    said = "".join(e.value for e in app.error).replace("\\", "")
    assert ("must lie inside" in said) == (not allowed)
    if allowed:
        app.button(key="runs.import.add").click().run()
        assert not app.exception
    assert [one.id for one in store.list()] == ([run.id] if allowed else [])
