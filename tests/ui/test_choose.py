"""Which model a link means."""

from types import SimpleNamespace

import pytest

from ui import choose


@pytest.mark.parametrize(
    ("name", "model"),
    [("", None), ("tiny-authors", "tiny-authors"), (".", choose.FOLDER), ("a/b", choose.HUB)],
)
def test_a_link_without_a_model_leaves_the_choice_alone(monkeypatch, name, model):
    monkeypatch.setattr(choose, "st", SimpleNamespace(session_state={}))
    choose.set_model(name)
    assert choose.st.session_state.get("model") == model
