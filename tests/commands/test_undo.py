"""unlearn undo RUN: a run of its own that begins with the adapter merged; what cannot follow is said before."""

import json

import pytest
import torch
from seed import seed_run

from unlearn.__main__ import main, parser
from unlearn.commands.undo import step_after
from unlearn.models.load import load
from unlearn.models.tuning import load_trained
from unlearn.store.runs import RunStore

QUICK = ["--epochs", "1", "--probes", "0", "--model", "tiny-authors"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def started(store):
    words = ["run", *QUICK, "--method", "gd", "--tuning", "lora", "--lr", "0.003", "--runs", str(store)]
    assert main(words) == 0
    (run,) = RunStore(store).list()
    return run


@pytest.mark.slow
def test_nothing_is_lost_with_a_share_of_zero(store, started, capsys):
    """The result of no damage and hardly any step is the run's own model with its adapter merged in."""
    words = [
        "undo",
        started.id,
        "--share",
        "0",
        "--epochs",
        "1",
        "--lr",
        "1e-8",
        "--runs",
        str(store),
        "--json",
    ]
    assert main(words) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out.splitlines()[-1])
    # What preflight has to say is said here too: the rate is far from the tuned one.
    assert "The learning rate 1e-08 is" in printed.err
    after = next(run for run in RunStore(store).list() if run.config.method == "undo")
    assert after.id in json.dumps(told)
    assert (after.config.start, after.config.tuning) == (started.id, "full")
    mine, theirs = load_trained(after), load_trained(started)
    ids = torch.tensor([mine.tokenizer("Who wrote the book?")["input_ids"]])
    with torch.no_grad():
        one, other = (m.model(input_ids=ids).logits for m in (mine, theirs))
        base = load("tiny-authors").model(input_ids=ids).logits
    assert torch.allclose(one, other, atol=1e-4)
    assert not torch.allclose(one, base, atol=1e-2)
    assert after.scores()["before"] != {}
    assert after.scores()["before"]["forget"]["nll"] == pytest.approx(
        started.scores()["after"]["forget"]["nll"], rel=1e-3
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["undo", "nothing-of-that-name"], "nothing-of-that-name"),
        (["run", "--model", "tiny-authors", "--method", "undo"], "unlearn undo RUN"),
    ],
)
def test_what_cannot_follow_is_said_before(words, said, store, started, capsys):
    count = len(RunStore(store).list())
    assert main([*words, "--runs", str(store)]) == 2
    assert said in capsys.readouterr().err
    assert len(RunStore(store).list()) == count


def test_share_and_noise_are_the_step_s_and_the_rest_is_tuned_or_said(tmp_path):
    run = seed_run(RunStore(tmp_path))
    words = ["undo", run.id, "--share", "0.4", "--noise", "0.1", "--seed", "7"]
    config = step_after(run, parser().parse_args(words))
    assert (config.method, config.start, config.seed) == ("undo", run.id, 7)
    assert (config.knobs["share"], config.knobs["noise"]) == (0.4, 0.1)
    own = step_after(run, parser().parse_args(words[:2]))
    assert (own.knobs["share"], own.knobs["noise"]) == (0.25, 0.0)
    with pytest.raises(ValueError, match=r"noise must lie in \[0, 1\], got 2"):
        step_after(run, parser().parse_args([*words[:2], "--noise", "2"]))


def test_a_share_beyond_all_is_refused(store, started, capsys):
    assert main(["undo", started.id, "--share", "1.5", "--runs", str(store)]) == 2
    assert "share" in capsys.readouterr().err
