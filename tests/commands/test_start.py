"""What a command does not need is not imported: told by sys.modules, since times differ from machine to machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "pandas", "sklearn", "scipy", "datasets", "plotly")
BUNDLED = ("run", "--model", "tiny-authors", "--method")
CODE = f"""
import sys
from unlearn.__main__ import main
try:
    status = main(sys.argv[1:])
except SystemExit as end:
    status = end.code
print("loaded", *(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
sys.exit(status)
"""


def status_and_loaded(*words: str) -> tuple[int, list[str], str]:
    """The exit status of a command in a fresh process, what of HEAVY it has loaded, and what it said on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words],
        cwd=ROOT, capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    *said, last = done.stderr.strip().splitlines()
    assert last.startswith("loaded"), done.stderr
    return done.returncode, last.split()[1:], "\n".join(said)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [("--help",), ("run", "--help"), ("methods", "--json"), ("methods",), ("models", "--json"), ("runs",)],
)
def test_a_list_loads_nothing_heavy(words, tmp_path):
    more = ("--runs", str(tmp_path)) if words == ("runs",) else ()
    said = f"no runs in {tmp_path}" if more else ""
    assert status_and_loaded(*words, *more) == (0, [], said)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((*BUNDLED, "npo", "--lr=-1"), "lr must lie in"),
        ((*BUNDLED, "npo", "--set", "beta=99"), "beta must lie in"),
        ((*BUNDLED, "npo", "--set", "bate=1"), "no knob bate"),
        ((*BUNDLED, "npi"), "must be among"),
        ((*BUNDLED, "npo", "--data", "nothing"), "nothing"),
        ((*BUNDLED, "npo", "--forget", "nowhere.csv"), "nowhere.csv"),
        ((*BUNDLED, "npo", "--metrics", "nothing"), "nothing"),
        ((*BUNDLED, "eul", "--tuning", "full"), "tuning"),
        (("run", "--model", "./nowhere", "--method", "npo", "--data", "authors"), "nowhere"),
    ],
)
def test_a_refused_run_loads_nothing_heavy(words, reason, tmp_path):
    status, loaded, said = status_and_loaded(*words, "--runs", str(tmp_path))
    assert (status, loaded) == (2, [])
    assert reason in said
    assert not list(tmp_path.iterdir())
