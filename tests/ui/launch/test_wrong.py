"""An error on a setting names its field; what is about none stays as it is."""

import pytest

from ui.launch.wrong import in_words


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("run: lr must lie in [1e-08, 1], got 50.0.", "Learning rate must lie in [1e-08, 1], got 50.0."),
        ("NPO: beta must lie in [0.01, 5], got 7.0.", "NPO: Beta must lie in [0.01, 5], got 7.0."),
        ("data: the forget set is empty.", "data: the forget set is empty."),
        ("model: moon must be somewhere", "model: moon must be somewhere"),
    ],
)
def test_a_field_has_its_label(error, said):
    assert in_words(ValueError(error)) == said
