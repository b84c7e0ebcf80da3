"""One session for runs, claims and scripts: the same numbers as put together by hand, and put together nowhere else."""

import ast
import contextlib
import copy
import math
from pathlib import Path

import pandas
import pytest
import torch

from unlearn.compute import elementwise, lm, memory
from unlearn.compute.lm import forward
from unlearn.compute.states import blocks
from unlearn.data.base import Row
from unlearn.methods import METHODS
from unlearn.models.load import in_memory, load
from unlearn.work.session import Session, count_steps, forget

ROOT = Path(__file__).resolve().parents[2]
FORGET = [Row(question=f"What is {w}?", answer=f"{w} {w}") for w in ("red", "green", "blue")]
RETAIN = [Row(question=f"What is {w}?", answer=f"{w} {w}") for w in ("one", "two", "three")]
SETTINGS = {"epochs": 2, "batch_size": 2, "lr": 1e-3}
# The losses of these very sessions where a run put its training together itself (the rooms as moved, one thread).
BEFORE = {
    ("npo", "full"): (19.748231887817383, 19.646650791168213, 19.238935470581055, 18.698349952697754),
    ("gd", "lora"): (0.1193084716796875, 0.09397459030151367, 0.06095695495605469, 0.11209535598754883),
    ("undial", "lora"): (5.742966175079346, 5.742448329925537, 5.742708206176758, 5.742741107940674),
    ("eul", "layers"): (-1.1416642665863037, -1.1318649936220027, 5.87311251995925, 5.782903104995057,
                        -1.1377862515728339, -1.1436515968634922, 5.878367101577169, 5.7348520221348736),
}  # fmt: skip


@pytest.fixture
def loaded(tiny):
    return in_memory(*tiny)


def begun(loaded, method="npo", **more):
    settings = {"retain": RETAIN, "tuning": "full"} | SETTINGS | more
    return forget(loaded, forget=FORGET, method=method, **settings)


@pytest.mark.parametrize("role", ["forget", "retain", "general"])
@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("mine.csv", r"got the str 'mine\.csv'\. unlearn\.rows\(\.\.\.\) reads a file"),
        (Path("mine.csv"), r"got the \w*Path 'mine\.csv'\. unlearn\.rows\(\.\.\.\) reads a file"),
        ({"question": "Who?", "answer": "Ada"}, "got one dict. Put it into a list"),
        (FORGET[0], "got one Row. Put it into a list"),
        (pandas.DataFrame({"question": ["Who?"], "answer": ["Ada"]}), r"got a DataFrame\. Give its rows"),
        (None, "got one NoneType"),
    ],
)
def test_what_is_no_list_of_rows_is_refused_though_it_can_be_gone_through(loaded, role, given, remedy):
    """A path gives its letters, an object its keys and a table its columns; none of them is a row."""
    rows = {"forget": FORGET, "retain": RETAIN} | {role: given}
    with pytest.raises(ValueError, match=f"^{role}: must be a list of rows, {remedy}"):
        forget(loaded, method="npo", tuning="full", **rows, **SETTINGS)


def test_the_remedy_for_a_table_works_and_a_generator_is_a_list_of_rows(loaded):
    table = pandas.DataFrame({"question": ["Who?", "Who else?"], "answer": ["Ada", "Bo"], "n": [1, 2]})
    given = table.to_dict("records")
    found = forget(
        loaded, forget=given, retain=(row for row in RETAIN), method="npo", tuning="full", **SETTINGS
    )
    assert [row.answer for row in found.forget] == ["Ada", "Bo"]
    assert [row.answer for row in found.retain] == [row.answer for row in RETAIN]


@pytest.mark.parametrize("setting", [{"start": "x"}, {"metrics": ["uds"]}, {"probes": 3}, {"title": "mine"}])
def test_a_setting_of_a_run_alone_is_refused(loaded, setting):
    with pytest.raises(ValueError, match=f"forget: {next(iter(setting))}: only a run has a use for it"):
        begun(loaded, **setting)


@pytest.mark.parametrize(("method", "tuning"), BEFORE)
def test_the_losses_are_those_from_before_there_was_a_session(loaded, method, tuning):
    losses = [step.loss for step in begun(loaded, METHODS[method](), tuning=tuning)]
    assert losses == pytest.approx(BEFORE[method, tuning], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("method", "tuning"), [("npo", "full"), ("undial", "lora")])
def test_what_is_left_out_of_a_pass_changes_no_number(tiny_folder, monkeypatch, method, tuning):
    """Shared beginnings, last states that nobody asks for, norms in fewer passes: the same curve and weights."""
    found = []
    for lean in (True, False):
        if not lean:
            monkeypatch.setattr(lm, "SHARED", 0.0)
            monkeypatch.setattr(lm, "reads", lambda *_: False)
            monkeypatch.setattr(elementwise, "adopt", lambda model: model)
        loaded, seen = load(str(tiny_folder), tuning=tuning), []
        feed = blocks(loaded.model)[-1].mlp.register_forward_hook(
            lambda _m, args, _o, put=seen.append: put(args[0])
        )
        session = begun(loaded, METHODS[method](retain_weight=1.0), tuning=tuning, epochs=6)
        losses = [step.loss for step in session]
        feed.remove()
        found.append((losses, [p.detach().clone() for p in session.model.parameters()], seen))
    (losses, weights, few), (usual, plain, many) = found
    assert losses == pytest.approx(usual, rel=1e-5, abs=1e-6)
    for one, other in zip(weights, plain, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)
    assert sum(x.numel() for x in few) < 0.9 * sum(x.numel() for x in many)


@pytest.mark.parametrize(("kind", "kept"), [("usual", "recycled"), ("lean", "returned")])
def test_what_a_step_frees_is_kept_for_the_next_or_returned_where_memory_is_lean(
    loaded, monkeypatch, kind, kept
):
    inside = []

    def spied(name):
        @contextlib.contextmanager
        def block():
            inside.append(name)
            yield
            inside.remove(name)

        return block

    for name in ("recycled", "returned"):
        monkeypatch.setattr(memory, name, spied(name))
    session = begun(loaded, memory=kind, max_grad_norm=0.0)
    assert [list(inside) for _ in session] == [[kept]] * 4
    assert inside == []


def test_the_first_step_of_npo_is_its_algebra(loaded):
    """At the start p = p_ref, so that NPO is (2 / β) ln 2 whatever the texts; with no retain term nothing else."""
    session = begun(loaded, METHODS["npo"](beta=0.4, retain_weight=0.0))
    step = next(session)
    assert step.terms == pytest.approx({"forget": 2 / 0.4 * math.log(2)}, rel=1e-6)
    assert (step.step, step.of, step.lr) == (
        1,
        4,
        1e-3,
    )  # two steps an epoch of three texts, warm-up of one step


def test_the_weights_are_those_of_the_loop_written_out(loaded):
    """Gradient ascent by hand: AdamW, the schedule and the clipping of training/loop.py, over the same batches."""
    model = copy.deepcopy(loaded.model)
    session = begun(loaded, "ga", retain=())
    moving = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    rates = [1e-3] + [1e-3 * 0.5 * (1 + math.cos(math.pi * k / 4)) for k in (1, 2, 3)]
    for number, rate in enumerate(rates, 1):
        moving.param_groups[0]["lr"] = rate
        moving.zero_grad()
        (batch,) = session.batches.step(number)
        (answers,) = forward(model, batch.forget)
        (-answers.mean_nll()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        moving.step()
    assert [step.lr for step in session] == pytest.approx(rates)
    for (name, one), other in zip(model.named_parameters(), session.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=2e-6), name


def test_one_can_stop_early_use_the_model_and_go_on(loaded):
    whole = [step.loss for step in begun(in_memory(copy.deepcopy(loaded.model), loaded.tokenizer))]
    session = begun(loaded)
    for step in session:
        assert set(step.terms) == {"forget", "retain"}
        if step.step == 2:
            break
    ids = torch.tensor([[5, 6, 7]])
    assert torch.isfinite(session.model(input_ids=ids).logits).all()
    assert not session.model.training
    assert [step.loss for step in session] == pytest.approx(whole[2:], rel=1e-6)


def test_closing_gives_back_the_gradients(loaded):
    session = begun(loaded)
    next(session)
    assert any(p.grad is not None for p in loaded.model.parameters())
    session.close()
    assert all(p.grad is None for p in loaded.model.parameters())
    assert list(session) == []
    begun(in_memory(loaded.model, loaded.tokenizer)).close()  # one that never began can be closed too


def test_the_same_seed_gives_the_same_losses_and_another_seed_others(loaded):
    def losses(seed):
        return [s.loss for s in begun(in_memory(copy.deepcopy(loaded.model), loaded.tokenizer), seed=seed)]

    assert losses(3) == losses(3)
    assert losses(3) != losses(4)


def test_a_checkpoint_of_a_session_is_gone_on_from_by_another(loaded, tmp_path):
    other = in_memory(copy.deepcopy(loaded.model), loaded.tokenizer)
    first = begun(loaded)
    next(first), next(first)
    first.save_checkpoint(tmp_path, 2)
    rest = [step.loss for step in first]
    second = begun(other)
    assert second.resume(tmp_path) == 2
    assert [step.loss for step in second] == pytest.approx(rest, rel=1e-6)


def test_the_model_of_a_session_is_the_adapted_one(loaded):
    session = begun(loaded, tuning="lora")
    list(session)
    assert session.model is loaded.model
    assert hasattr(session.model, "disable_adapter")


def test_what_is_not_said_is_the_method_s_own(loaded):
    session = forget(loaded, forget=FORGET, retain=RETAIN, method="npo")
    assert session.config.lr == METHODS["npo"].settings("tiny", "full")["lr"]
    assert session.config.tuning == "full"


def test_rows_are_read_in_the_forms_that_people_write(loaded):
    written = [
        "red is red",
        ("What is red?", "red"),
        {"question": "Who?", "answer": "red"},
        {"answer": "red"},
    ]
    session = forget(loaded, forget=[*written, FORGET[0]], method="ga", **SETTINGS)
    assert session.forget[:4] == (
        Row(answer="red is red"),
        Row(question="What is red?", answer="red"),
        Row(question="Who?", answer="red"),
        Row(answer="red"),
    )
    assert session.forget[4] is FORGET[0]


def test_all_rows_given_are_trained_on(loaded):
    many = [Row(question=f"What is {i}?", answer=f"{i}") for i in range(30)]
    assert len(forget(loaded, forget=FORGET, retain=many, method="npo").retain) == 30


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"forget": []}, "forget set .* is empty"),
        ({"forget": ["one", 5]}, r"forget, row 2: must be a text.* got '5'"),
        ({"forget": [{"question": "q"}]}, "forget, row 1"),
        ({"forget": [("q", "a", "b")]}, "forget, row 1"),
        ({"forget": ["a"], "retain": [("q", "  ")]}, "retain, row 1"),
        ({"forget": ["a"], "method": "nope"}, "nope"),
        ({"forget": ["a"], "method": "npo"}, r"needs rows to keep \(role retain\)"),
        ({"forget": ["a"], "lr": -1.0}, "lr must lie in"),
        ({"forget": ["a"], "beta": 0.1}, "unknown field beta"),
        ({"forget": ["a"], "tuning": "layers"}, "tuning must be among full, lora"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_moves(loaded, given, words):
    with pytest.raises(ValueError, match=words):
        forget(loaded, **({"method": "ga"} | given))


def test_a_bare_model_needs_its_tokenizer(tiny):
    model, tokenizer = tiny
    with pytest.raises(ValueError, match="fast tokenizer"):
        forget(model, forget=["a"], method="ga")
    (step,) = forget(model, tokenizer=tokenizer, forget=["red"], method="ga", epochs=1)
    assert step.of == 1


def test_steps_are_counted_without_a_model(loaded):
    session = begun(loaded)
    assert count_steps(session.config, session.method, len(FORGET), len(RETAIN)) == session.steps == 4


PARTS = {"Reference", "make_optimizer", "batches_of", "Phases"}
OTHERS = {
    "unlearn/measure/watch.py: Reference",  # what general text looked like at the start, for a budget
    "unlearn/measure/gradient.py: Reference",  # of a stand-in without weights: nothing is trained
    "unlearn/attacks/relearn.py: make_optimizer",  # no method and no reference: plain fine-tuning, a room below work
}


def assembled(source, name):
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {f"{name}: {called}" for c in calls if (called := ast.unparse(c.func).split(".")[-1]) in PARTS}


def test_a_session_is_put_together_nowhere_else():
    rooms = ("work", "claims", "measure", "attacks", "engines", "commands", "results")
    files = [path for room in rooms for path in (ROOT / "unlearn" / room).rglob("*.py")]
    own = ROOT / "unlearn" / "work" / "session.py"
    found = {
        place
        for path in files
        if path != own
        for place in assembled(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    }
    assert found == OTHERS
    assert len(assembled(own.read_text(encoding="utf-8"), "own")) == len(PARTS)


@pytest.mark.slow
def test_a_run_and_a_claim_train_in_a_session(monkeypatch, loaded, tmp_path):
    from conftest import small_run

    from unlearn.claims import training
    from unlearn.store.config import RunConfig

    begun_of, own = [], Session.__post_init__
    monkeypatch.setattr(
        Session, "__post_init__", lambda self: begun_of.append(self.config.method) or own(self)
    )
    small_run(tmp_path, method="ga", epochs=1)
    config = RunConfig(model="made here", data={}, method="finetune", epochs=1)
    trained = training.train_on(loaded, config, METHODS["finetune"](), (), RETAIN)
    assert begun_of == ["ga", "finetune"]
    assert (trained.state, trained.steps) == ("done", 1)
