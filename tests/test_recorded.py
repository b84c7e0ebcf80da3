"""The run that ships with the Start page: real, whole, and of the model and data that ship beside it."""

from pathlib import Path

import pytest

from unlearn.data.base import ROLES
from unlearn.data.catalogue import load
from unlearn.models.load import CATALOGUE, weights_hash
from unlearn.results import conclusion
from unlearn.store.runs import RunStore

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def run():
    (only,) = RunStore(ROOT / "assets" / "recorded").list()
    return only


def test_it_is_of_the_shipped_model_and_data(run):
    results = run.results()
    assert run.state == "done"
    assert results["model_hash"] == weights_hash(CATALOGUE["tiny-authors"].path(), None)
    assert results["data_hash"] == load("authors").hash()


def test_it_forgets_before_ones_eyes_and_keeps_the_rest(run):
    scores = run.scores()
    assert scores["before"]["forget"]["exact"] == 1
    assert scores["after"]["forget"]["exact"] <= 0.1
    assert scores["after"]["retain"]["exact"] >= 0.9
    assert scores["retrained"]["forget"]["exact"] <= 0.1


def test_it_can_be_replayed(run):
    probes = run.probes()
    assert len(probes) >= 12
    assert probes[0]["step"] == 0
    assert probes[-1]["step"] == run.events("step")[-1]["step"]
    roles = [item["role"] for item in probes[0]["items"]]
    assert roles.count("forget") == roles.count("retain") >= 4  # side by side, without a hole


def test_what_it_says_instead_is_an_answer_and_no_gibberish(run):
    """Nearly all that it says of what it has forgotten is what the rows hold as an answer to some question."""
    data = load("authors")
    plausible = {row.answer.strip() for role in ROLES for row in data.rows(role)}
    said = [s["text"].strip() for s in run.samples() if (s["when"], s["role"]) == ("after", "forget")]
    assert sum(text in plausible for text in said) >= 0.75 * len(said)


def test_it_was_attacked_and_says_what_that_found(run):
    found = conclusion.of_run(run)
    assert found["word"] in ("suppressed", "erased")
    assert found["gone"]["retrained"] is not None


def test_it_is_small_and_holds_no_weights(run):
    files = [p for p in run.path.rglob("*") if p.is_file()]
    assert not any(p.suffix == ".safetensors" for p in files)
    assert sum(p.stat().st_size for p in files) < 4e6
