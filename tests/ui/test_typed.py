"""A path that somebody types is refused before anything reads it, on every page that has such a field."""

import ast
import json
from pathlib import Path

import pytest

from tests.pages.test_compare import opened, store  # noqa: F401  (a fixture)
from unlearn.store.allowed import allowed_path, default_roots

ROOT = Path(__file__).resolve().parents[2]
SECRET = "the-secret-cell"


@pytest.fixture
def outside(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("elsewhere") / "private.csv"
    path.write_text(f"question,answer\nWho?,{SECRET}\nWhere?,{SECRET} too\n")
    return path


def shown(app) -> str:
    """Everything that the page tells, tables too."""
    tables = [frame.value.to_string() for frame in app.dataframe]
    return "\n".join([*tables, *(str(e.value) for k in (app.error, app.caption, app.markdown) for e in k)])


@pytest.mark.parametrize("page", ["data", "launch", "sweep", "sequence"])
def test_a_table_outside_the_allowed_folders_is_not_shown(store, outside, page):  # noqa: F811
    app = opened(page)
    app.selectbox(key="data").set_value("own").run()
    app.segmented_control(key="data.forget.way").set_value("path").run()
    app.text_input(key="data.forget.path").set_value(str(outside)).run()
    assert SECRET not in shown(app)
    assert "must lie inside" in shown(app).replace("\\", "")


def test_neither_is_a_table_to_keep(store, outside, tmp_path):  # noqa: F811
    mine = tmp_path / ".uploads" / "mine.csv"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("question,answer\nWhat?,This\nWhich?,That\n")
    app = opened("data")
    app.selectbox(key="data").set_value("own").run()
    app.segmented_control(key="data.forget.way").set_value("path").run()
    app.text_input(key="data.forget.path").set_value(str(mine)).run()
    assert "This" in shown(app)
    app.segmented_control(key="data.retain.way").set_value("path").run()
    app.text_input(key="data.retain.path").set_value(str(outside)).run()
    assert "must lie inside" in shown(app).replace("\\", "")
    assert SECRET not in shown(app)


@pytest.mark.parametrize("kind", ["folder", "hub"])
def test_a_model_folder_outside_is_not_opened(store, tmp_path_factory, monkeypatch, kind):  # noqa: F811
    from ui import choose

    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    asked = []
    monkeypatch.setattr(choose, "model_size", lambda name: asked.append(name) or "small")
    app = opened("launch")
    app.selectbox(key="model").set_value(kind).run()
    app.text_input(key=f"model.{kind}").set_value(str(folder)).run()
    assert not app.exception
    assert asked == []
    assert "must lie inside" in shown(app).replace("\\", "")


def test_a_settings_file_opens_no_model_folder_either(monkeypatch, tmp_path):
    from ui import choose

    asked = []
    monkeypatch.setattr(choose, "model_size", lambda name: asked.append(name) or "large")
    monkeypatch.setenv("UNLEARN_ROOTS", "")
    assert choose.size_class(str(tmp_path)) == "small"
    assert asked == []
    monkeypatch.setenv("UNLEARN_ROOTS", str(tmp_path))
    assert choose.size_class(str(tmp_path)) == "large"


def test_a_path_is_typed_in_one_kind_of_field_alone():
    """Read from the source: no st.text_input of its own asks for a path, a folder or a file."""
    found = []
    for path in [*(ROOT / "ui").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "text_input":
                label = ast.unparse(node.args[0]).lower()
                if any(word in label for word in ("path", "folder", "file")):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not found


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    kept = tmp_path / "cache" / "model"
    kept.mkdir(parents=True)
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "cache"))
    assert allowed_path(kept) == kept
    assert Path.home() / ".cache" / "unlearn-studio" not in default_roots()
    monkeypatch.delenv("UNLEARN_CACHE")
    with pytest.raises(ValueError, match="must lie inside"):
        allowed_path(kept)
