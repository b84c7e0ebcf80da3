"""What all figures share: smoothing, thinning, and words that are never markup."""

import math
import subprocess
import sys

import pytest

from unlearn.figures import base as figures
from unlearn.figures import tokens as token_figures
from unlearn.figures.losses import losses_compare


def test_smoothing_is_unbiased_and_passes_over_gaps():
    assert figures.smooth([3.0, 3.0, 3.0], 10) == pytest.approx([3.0, 3.0, 3.0])
    assert figures.smooth([1.0, 2.0], 1) == [1.0, 2.0]
    first, gap, last = figures.smooth([0.0, math.nan, 1.0], 2)
    assert (first, last) == (0.0, pytest.approx(2 / 3))  # weights ½·½ and ½ over ¾
    assert math.isnan(gap)


def test_thinning_keeps_ends_and_spikes():
    xs, ys = list(range(100_000)), [0.0] * 100_000
    ys[54_321] = 9.0
    x, y = figures.thin(xs, ys)
    assert len(x) <= figures.POINTS
    assert (x[0], x[-1], max(y)) == (0, 99_999, 9.0)
    assert x == sorted(x)


def test_model_text_is_never_markup():
    figure = losses_compare({"<b>A</b>": [{"step": 1, "terms": {"forget": 1.0}}]})
    assert figure.data[0].name == "&lt;b&gt;A&lt;/b&gt;"
    assert "%{" not in figures.text("%{x}")
    assert token_figures.token_text(" <a>\n") == "‘␣&lt;a&gt;↵’"


def test_neither_torch_nor_streamlit_is_imported():
    modules = "unlearn.figures.tokens, unlearn.results.compare"
    code = f"import sys, {modules}; print({{'torch', 'streamlit'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
