"""The estimate of a run's time: it follows the last steps, and every place that shows one asks the same function."""

import ast
from pathlib import Path

import pytest

from unlearn.results.pace import duration, seconds_to_go

ROOT = Path(__file__).resolve().parents[2]


def events(seconds, of=100):
    return [{"step": i, "of": of, "seconds": s} for i, s in enumerate(seconds, 1)]


def test_the_pace_is_that_of_the_last_twenty_steps():
    slow_then_fast = [10.0 * i for i in range(1, 31)] + [300 + 2.0 * i for i in range(1, 21)]
    assert seconds_to_go(events(slow_then_fast)) == pytest.approx(2.0 * 50)


def test_a_run_that_went_on_after_a_pause_is_not_slowed_by_it():
    assert (
        seconds_to_go([{"step": 41, "of": 43, "seconds": 7.0}, {"step": 42, "of": 43, "seconds": 8.5}]) == 1.5
    )


@pytest.mark.parametrize(
    "steps", [[], events([1.0]), events([None, "x"]), events([1.0, float("nan")]), [{"step": 3, "of": 9}] * 4]
)
def test_without_a_pace_there_is_no_estimate(steps):
    assert seconds_to_go(steps) is None


def test_words():
    assert [duration(s) for s in (0.2, 89, 150, 9000)] == ["1 s", "89 s", "2 min", "2.5 h"]


@pytest.mark.slow
def test_nobody_divides_the_seconds_of_a_step_anew():
    """Two estimates of one run once stood on two pages."""
    own = ROOT / "unlearn" / "results" / "pace.py"
    places = [p for top in ("unlearn", "ui", "pages") for p in (ROOT / top).rglob("*.py") if p != own]

    def estimates(path):
        divided = [
            n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.BinOp)
        ]
        texts = [ast.unparse(n) for n in divided]
        return [t for t in texts if "['of']" in t and "['step']" in t and " - " in t]

    assert not [f"{path.relative_to(ROOT)}: {text}" for path in places for text in estimates(path)]
    assert estimates(own)
