"""A run with a stop rule: it ends where the rule says, keeps the best step's weights, and goes on to the same bits."""

import math
import time
from pathlib import Path

import pytest
import torch
from conftest import make_model, small_run
from safetensors.torch import load_file

from unlearn.compute.lm import forward
from unlearn.compute.tokens import collate
from unlearn.data.catalogue import from_config
from unlearn.measure.evaluate import rows_to_score
from unlearn.measure.watch import plan
from unlearn.methods import AFTER, METHODS, OFFERED
from unlearn.models.tuning import load_trained
from unlearn.store.config import RunConfig
from unlearn.store.runs import RunStore
from unlearn.training.encoding import encode_rows
from unlearn.work import train
from unlearn.work.checks import check_sam, check_stop_rule
from unlearn.work.execute import execute
from unlearn.work.preflight import preflight

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"method": "ga", "epochs": 48, "batch_size": 4, "lr": 1e-3, "probes": 0}


def probability_of(run, role="forget"):
    """Mean exp(-S/n) of the rows of a role under the run's own weights, read text by text."""
    loaded = load_trained(run)
    rows = rows_to_score(from_config(dict(run.config.data), [run.path.parent.parent]))[role]
    total = 0.0
    for example in encode_rows(loaded.tokenizer, rows, max_length=512):
        with torch.no_grad():
            (answers,) = forward(loaded.model, collate([example], loaded.pad_id))
            nll = float(answers.nll.detach().mean())
        total += math.exp(-nll)
    return total / len(rows)


def weights_of(run):
    (file,) = [p for name in ("model", "adapter") for p in (run.path / name).glob("*.safetensors")]
    return load_file(file)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def watched(run):
    return [(e["step"], e["forget"], e["inside"]) for e in run.events("watch")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run whose rule never ends it, which tells what a rule would meet."""
    folder = tmp_path_factory.mktemp("whole")
    return ruled(folder, stop_at="0.000001", budget=("retain=0.000001",))


def ruled(folder, **settings):
    folder.mkdir(exist_ok=True)
    if not (folder / "model").is_dir():
        make_model(folder / "model")
    data = {}
    for role, words in (("forget", "red green blue one"), ("retain", "two three novel capital")):
        lines = "".join(f"What is {w}?,{w} {w}\n" for w in words.split())
        (folder / f"{role}.csv").write_text("question,answer\n" + lines)
        data[role] = str(folder / f"{role}.csv")
    values = {"model": str(folder / "model"), "data": data} | SETTINGS | settings
    run = RunStore(folder / "runs").create(RunConfig(**values))
    execute(run, roots=[folder])
    return run


def test_readings_are_the_probabilities_of_a_pass_of_our_own(whole):
    assert (whole.state, whole.reason[:13]) == ("done", "Ran all 48 st")
    told = watched(whole)
    assert told[0][0] == 0
    assert told[-1][0] == 48
    assert told[-1][1] == pytest.approx(probability_of(whole), rel=1e-5)
    last = whole.events("watch")[-1]
    start = whole.scores()["before"]["retain"]["probability"]
    assert last["spent"]["retain"] == pytest.approx(probability_of(whole, "retain") / start, rel=1e-4)
    assert whole.results()["ended"] == whole.ended()


def test_it_ends_where_it_has_forgotten_enough(tmp_path, whole):
    """At the first reading at or below the number, with the weights of that step, and what follows is not trained."""
    step, value, _ = next(w for w in watched(whole) if w[0] and w[1] < 0.5 * watched(whole)[0][1])
    run = ruled(tmp_path, stop_at=f"{value * 1.0001:.9f}", budget=("retain=0.000001",))
    assert run.state == "done"
    assert (run.events("step")[-1]["step"], run.ended()["why"]) == (step, "target")
    assert step < 48
    assert probability_of(run) == pytest.approx(value, rel=1e-5)
    assert run.reason.startswith(f"Ended at step {step} of 48: the answers that the rule reads")
    assert run.scores()["after"]["forget"]["probability"] == pytest.approx(value, rel=1e-4)


def test_it_ends_where_a_budget_is_spent_and_keeps_the_best_inside(tmp_path, whole):
    readings = [(e["step"], e["forget"], e["spent"]["retain"]) for e in whole.events("watch")]
    limit = 0.9
    over = next(s for s, _, kept in readings if kept < limit)
    inside = [(s, p) for s, p, _ in readings if s < over]
    target = 0.0001
    best = min(inside, key=lambda one: abs(one[1] - target))
    run = ruled(tmp_path, stop_at=str(target), budget=(f"retain={limit}",), keep="best")
    end = run.ended()
    assert (end["why"], end["what"], end["step"], end["kept"]) == ("budget", "retain", over, best[0])
    assert probability_of(run) == pytest.approx(best[1], rel=1e-5)
    assert f"Kept: the weights of step {best[0]}" in run.reason


@pytest.mark.parametrize(("kept_at", "at"), [(4, 24), (22, 24)])
@pytest.mark.parametrize(
    "rule",
    [
        {"tuning": "full", "stop_at": "0.00001", "budget": ("retain=0.8",)},
        pytest.param(
            {"tuning": "lora", "lr": 1e-2, "stop_at": "0.00118", "budget": ("retain=0.5",)},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"tuning": "full", "stop_at": "0.00001", "budget": ("retain=0.8",), "sam": 0.01},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_run_that_is_cut_short_ends_in_the_same_bits(tmp_path, monkeypatch, rule, kept_at, at):
    """Cut after a checkpoint from before the best step, which is made again, or behind it, which it alone holds."""
    one = ruled(tmp_path / "one", **rule, keep="best")
    assert one.state == "done", one.reason
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(train, "CHECKPOINTS", 1e9)
    follow = train.Keeper.follow
    monkeypatch.setattr(
        train.Keeper,
        "follow",
        lambda self, step, of: follow(self, step, of) if step == kept_at else self.count(),
    )

    class Killed(BaseException):
        pass

    def progress(phase, fraction):
        if phase == "training" and round(fraction * 48) == at:
            raise Killed

    two = RunStore(tmp_path / "two").create(one.config)
    with pytest.raises(Killed):
        execute(two, roots=[tmp_path], on_progress=progress)
    # It is written beside the training, which is cut meanwhile.
    end = time.monotonic() + 60
    while two.checkpoint_step() != kept_at:
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    assert [e["step"] for e in two.events("watch")][-1] >= kept_at - 2
    execute(two, roots=[tmp_path])
    assert two.state == "done", two.reason
    assert watched(two) == watched(one)
    assert two.ended() == one.ended()
    assert same(weights_of(two), weights_of(one))
    assert 0 < one.ended()["kept"] < one.ended()["step"] < 48


def test_only_what_was_asked_for_is_read(tmp_path):
    run = small_run(tmp_path, method="ga")
    assert run.events("watch") == []
    assert run.results()["ended"] == {}
    assert "stop rule" not in run.results()["beside"]


@pytest.mark.parametrize("steps", [4, 20, 60, 500])
@pytest.mark.parametrize("texts", [[[20] * 40], [[20] * 32, [60] * 32], [[20] * 4, [400] * 40, [20] * 40]])
@pytest.mark.parametrize("cost", [300.0, 5000.0])
def test_readings_cost_at_most_a_tenth_of_the_training(steps, texts, cost):
    found = plan(texts, cost, steps)
    read = sum(min(found.rows, len(role)) * role[0] for role in texts)
    assert read / found.every <= 0.1 * cost
    assert found.share == pytest.approx(read / (found.every * cost))
    assert 8 <= found.rows <= 32
    # Long runs have time for all texts, short ones read fewer rather than seldom.
    assert found.rows in (8, 32) or steps // found.every >= 8


def config_of(**changes):
    return RunConfig(**({"model": "tiny-authors", "data": {"name": "authors"}, "method": "npo"} | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"method": "taskvector", "stop_at": "0.1"},
            "need a method whose weights are a result after every step",
        ),
        ({"method": "retrain", "budget": ("kl=.01",)}, "need a method whose weights"),
        ({"method": "taskvector", "sam": 0.01}, "no gradient of a forget term"),
        ({"method": "repselect", "sam": 0.01}, "no gradient of a forget term"),
        ({"method": "finetune", "sam": 0.01}, "no gradient of a forget term"),
    ],
)
def test_a_switch_that_cannot_be_followed_is_refused_before_the_run(changes, said):
    with pytest.raises(ValueError, match=said):
        preflight(config_of(**changes))


def test_a_budget_needs_rows_and_a_target_a_model_or_rows(tmp_path):
    (tmp_path / "f.csv").write_text("question,answer\nWhat is red?,red\nWhat is two?,two\n")
    given = {"model": "tiny-authors", "data": {"forget": str(tmp_path / "f.csv")}, "method": "ga"}
    data = from_config(given["data"], [tmp_path])
    for rule, said in (
        (
            {"stop_at": "target"},
            "stop_at target needs the exact retrain of this model or rows never seen",
        ),
        ({"keep": "best"}, "keep best needs the exact retrain"),
        ({"budget": ("retain=.9",)}, "budget retain reads rows of the role retain, and .* has none"),
    ):
        with pytest.raises(ValueError, match=said):
            check_stop_rule(RunConfig(**given, **rule), METHODS["ga"](), data)
    check_stop_rule(RunConfig(**given, stop_at="0.1", keep="best"), METHODS["ga"](), data)
    check_sam(RunConfig(**given, sam=0.01), METHODS["ga"]())


def test_every_method_says_which_switches_it_follows():
    """Those with a loop of their own that no rule can end are known, and so are those without a forget term."""
    assert {n for n, m in METHODS.items() if not m.early} == {"taskvector", "retrain", "sisa"}
    without = {n for n, m in METHODS.items() if not m.forget_terms}
    assert without == {"taskvector", "retrain", "sisa", "repselect", "mend", "finetune"}


def test_the_page_of_methods_names_all_that_refuse_a_switch():
    text = " ".join((ROOT / "docs" / "methods.md").read_text(encoding="utf-8").split())
    rule = next(
        s for s in text.split(". ") if s.endswith("have no result before their last step and refuse it")
    )
    sam = next(s for s in text.split(". ") if s.startswith("Methods without a gradient of a forget term"))
    every = OFFERED | AFTER
    for said, refuses in ((rule, lambda m: not m.early), (sam, lambda m: not m.forget_terms)):
        found = {name for name, m in every.items() if m.title.split(" (")[0] in said}
        assert found == {name for name, m in every.items() if refuses(m)}


def test_sam_is_a_switch_of_a_run(tmp_path):
    """The run with it ends elsewhere than the run without, reads the forget texts twice, and repeats its bits."""
    plain, sharp, again = (ruled(tmp_path, method="npo", epochs=2, sam=rho) for rho in (0.0, 0.05, 0.05))
    assert {r.state for r in (plain, sharp, again)} == {"done"}, sharp.reason
    assert not same(weights_of(plain), weights_of(sharp))
    assert same(weights_of(sharp), weights_of(again))
    assert sharp.results()["tokens"] > 1.2 * plain.results()["tokens"]
    with pytest.raises(ValueError, match="memory lean needs sam 0, got"):
        config_of(memory="lean", max_grad_norm=0, sam=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(n for n, m in METHODS.items() if m.forget_terms))
def test_sam_finds_the_forget_terms_of_every_method(tmp_path, name):
    """A step with it is not the plain step, whatever the method; so no name of a term is forgotten."""
    made = {}
    tuning = METHODS[name].tunings[0]
    for rho in (0.0, 0.5):
        run = ruled(tmp_path, method=name, epochs=1, tuning=tuning, sam=rho, lr=1e-2)
        assert run.state == "done", run.reason
        made[rho] = weights_of(run)
    assert not same(made[0.0], made[0.5])


def test_a_budget_on_texts_that_the_model_never_says_is_told():
    from unlearn.store.stop_rule import StopRule
    from unlearn.work.stopping import unsaid

    rule = StopRule.of("", ("general-ppl=1.03",), "last")
    # e^7 = 1097 and e^6.9 = 992.
    assert "perplexity 1.1e+03" in unsaid(rule, {"general": [6.0, 8.0]})
    assert "retain=0.95" in unsaid(rule, {"general": [6.0, 8.0]})
    assert unsaid(rule, {"general": [6.9, 6.9]}) == ""
    assert unsaid(StopRule.of("", ("retain=0.9",), "last"), {"retain": [9.0]}) == ""
