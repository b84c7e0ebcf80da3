"""The promises of the shipped defaults, on the bundled model, through the path of a user's run.

Each method raises the loss of what it must forget and leaves the model standing, or says that it does not. The three
that are offered first also keep what they should. Fewer texts are scored than in a real run, nothing else differs.
"""

import math
import random

import pytest

from unlearn.__main__ import parser
from unlearn.commands.options import config_of
from unlearn.methods import OFFERED
from unlearn.store.runs import RunStore
from unlearn.work import execute as execute_module
from unlearn.work import identity
from unlearn.work.execute import execute

pytestmark = [pytest.mark.slow, pytest.mark.heavy]

SCORED = {"forget": 45, "retain": 60, "general": 40}
KEEPERS = ("gd", "npo", "undial")


def few_rows(data):
    """A fixed sample of the roles that the promises speak of."""
    return {
        role: random.Random(0).sample(list(data.score_rows(role)), min(limit, len(data.score_rows(role))))
        for role, limit in SCORED.items()
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One for all methods, so that the model before is read once."""
    return RunStore(tmp_path_factory.mktemp("promises"))


# Retrain and SISA begin anew. A method that changes no weight goes on from nothing, and promises the same.
PROMISING = [n for n, m in OFFERED.items() if m.continues or not m.changes_weights]


@pytest.mark.parametrize("name", PROMISING)
def test_defaults_keep_their_promise(name, store, monkeypatch):
    for module in (execute_module, identity):  # both score the same rows
        monkeypatch.setattr(module, "rows_to_score", few_rows)
    words = ["run", "--model", "tiny-authors", "--method", name, "--probes", "0"]
    run = store.create(config_of(parser().parse_args(words)))
    execute(run)
    assert run.state == "done" or OFFERED[name].collapses, run.reason
    if run.state != "done":
        return
    before, after = (run.scores()[when] for when in ("before", "after"))
    assert float(after["forget"]["nll"]) > float(before["forget"]["nll"])
    ratio = float(after["general"]["ppl"]) / float(before["general"]["ppl"])
    stands = math.isfinite(ratio) and ratio <= 2
    assert stands or OFFERED[name].collapses, f"general perplexity rose {ratio:.3g} times and no text says so"
    if name in KEEPERS:
        assert after["forget"]["exact"] < 0.3
        assert after["retain"]["exact"] >= 0.8 * before["retain"]["exact"]
