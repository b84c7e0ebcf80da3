"""The choice of a model: one that is not here, an adapter, and a person's own retrain, through the page as it runs."""

from pathlib import Path

import pytest
from conftest import make_model
from streamlit.testing.v1 import AppTest

from tests.models.test_adapters import make_adapter

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def app(tmp_path, monkeypatch):
    for name in ("RUNS", "ROOTS"):
        monkeypatch.setenv(f"UNLEARN_{name}", str(tmp_path / "runs" if name == "RUNS" else tmp_path))
    from unlearn.methods import METHODS  # torch is there before the page asks for it

    assert METHODS
    opened = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60)
    opened.switch_page(str(ROOT / "pages" / "launch.py"))
    return opened.run()


def field(app, kind, label):
    return next(one for one in getattr(app, kind) if one.label == label)


def test_a_model_that_is_not_here_says_what_it_takes_and_what_belongs_to_it(app):
    field(app, "selectbox", "Model").set_value("tofu-llama-1b").run()
    assert not app.exception
    said = " ".join(caption.value for caption in app.caption)
    assert "Not loaded here" in said
    assert "about 2.5 GB from the hub" in said
    assert "Exact retrain for tofu-forget10: open-unlearning/tofu_Llama-3.2-1B-Instruct_retain90" in said
    table = next(
        one.value for one in app.dataframe if "memory" in one.value and "what may change" in one.value
    )
    assert list(table["what may change"]) == ["LoRA", "LoRA, 4 bits", "all weights", "all weights, lean"]
    assert set(table["time"]) == {"not known yet"}
    assert any("Still to choose: a model" in one.value for one in app.info)


def test_an_adapter_is_offered_in_its_ways_and_an_own_retrain_is_taken(app, tmp_path):
    (tmp_path / "base").mkdir()
    make_model(tmp_path / "base")
    make_adapter(tmp_path / "base", tmp_path / "mine")
    field(app, "selectbox", "Model").set_value("folder").run()
    field(app, "text_input", "Folder").set_value(str(tmp_path / "mine")).run()
    assert not app.exception
    choice = field(app, "selectbox", "An adapter to start from")
    assert choice.value == "merge"
    assert len(choice.options) == 1 + (app.session_state["form.tiny.tuning"] == "lora")
    field(app, "text_input", "Your exact retrain").set_value(str(tmp_path / "mine")).run()
    assert any("is the model itself" in one.value for one in app.error)
    (tmp_path / "own").mkdir()
    make_model(tmp_path / "own", seed=4)
    field(app, "text_input", "Your exact retrain").set_value(str(tmp_path / "own")).run()
    assert not any("retrained" in one.value for one in app.error)
    command = next(one.value for one in app.code if "--retrained" in one.value)
    assert "--adapter merge" in command
