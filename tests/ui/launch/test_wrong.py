"""An error on a setting names its field; what is about none stays as it is."""

import json

import pytest
from seed import config

from tests.pages.test_compare import opened, store  # noqa: F401  (a fixture)
from tests.ui.test_upload_limits import uploader
from ui.launch.wrong import in_words


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("run: lr must lie in [1e-08, 1], got 50.0.", "Learning rate must lie in [1e-08, 1], got 50.0."),
        ("NPO: beta must lie in [0.01, 5], got 7.0.", "NPO: Beta must lie in [0.01, 5], got 7.0."),
        ("data: the forget set is empty.", "data: the forget set is empty."),
        ("model: moon must be somewhere", "model: moon must be somewhere"),
        (
            "1 row is longer. Shorten it; leave such rows out with --long skip; or cut them with --long windows.",
            "1 row is longer. Shorten it; leave such rows out with “Rows longer than the model reads”; or cut them "
            "with the same choice.",
        ),
        ("Take these rows out; --leaks lists them.", "Take these rows out; the page Data lists them."),
    ],
)
def test_a_field_has_its_label(error, said):
    assert in_words(ValueError(error)) == said


@pytest.mark.slow
def test_a_wrong_settings_file_is_explained_on_the_page_itself(store):  # noqa: F811
    app = opened("launch")
    wrong = json.dumps(config().to_json() | {"epochs": -3})
    uploader(app, "settings").upload("mine.json", wrong.encode(), "application/json").run()
    app.button(key="config.use").click().run()
    (said,) = [one for one in app.error if "settings file" in one.value]
    assert "Epochs must lie in [1, 1000], got -3." in said.value.replace("\\", "")
    # The menu, at the foot of the page, has no room for it.
    assert app.session_state["config.load"] is False
    menus = app.get("popover")
    assert menus
    assert not [one for menu in menus for one in menu.get("error")]
