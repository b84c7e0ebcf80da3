"""Probes within their budgets: how often, what they cost, and that nothing said of a step is another step's."""

from dataclasses import replace
from itertools import pairwise

import pytest

from unlearn.data.base import Row
from unlearn.measure import probes as module
from unlearn.measure.probes import Probes
from unlearn.store.runs import RunConfig, RunStore
from unlearn.training.budget import GENERATED, LOOKS, Clock

ROWS = {
    role: [Row(question=f"{role} {i}?", answer=f"red {i}") for i in range(6)] for role in ("forget", "retain")
}

# The tokens of an answer: continuing it takes up to so many passes and some more.
ANSWER = 40


class Machine:
    """Steps, looks and generations that take so many seconds; observe() is the real thing's shape."""

    def __init__(self, tmp_path, monkeypatch, *, step, row, token, probes=8):
        self.at, self.step, self.row, self.token = 0.0, step, row, token
        self.calls = []
        config = RunConfig(model="m", data={"name": "authors"}, method="ga", probes=probes)
        self.run = RunStore(tmp_path).create(config)
        self.clock = Clock(lambda: self.at)
        monkeypatch.setattr("unlearn.measure.probes.observe", self.observe)

    def observe(self, model, tokenizer, chosen, *, max_length, device, continued, scored):
        from unlearn.metrics.base import Observation

        (rows,) = chosen.values()
        self.calls.append((continued, len(rows)))
        self.at += self.row * len(rows)
        scored()
        self.at += self.token if continued else 0
        token = {
            "token": "a",
            "id": 1,
            "logit": 1.0,
            "lp": -self.at,
            "rank": 0,
            "mu": 0.0,
            "sigma": 1.0,
            "top": [],
        }
        return [
            Observation(
                "probe",
                i,
                r.question,
                r.prompt,
                r.target,
                f"at {self.at}" if continued else "",
                (token,) * ANSWER,
            )
            for i, r in enumerate(rows)
        ]

    def before(self):
        """What the model said of every row before the run, which costs the run nothing."""
        found = []
        for role, rows in ROWS.items():
            for place, one in enumerate(
                self.observe(
                    *(None, None, {role: rows}),
                    max_length=64,
                    device="cpu",
                    continued=True,
                    scored=lambda: None,
                )
            ):
                found.append(replace(one, role=role, index=place, text=f"before {role} {place}"))
        self.calls.clear()
        self.clock = Clock(lambda: self.at)
        return found

    def train(self, of, before=()):
        loaded = type("L", (), {"model": None, "tokenizer": None, "device": "cpu"})
        watched = self.watched = Probes(self.run, loaded, ROWS, of, 64, self.clock, before)
        watched.begin(0)
        for step in range(1, of + 1):
            self.at += self.step
            self.run.append(
                "step", step=step, of=of, loss=0.0, terms={}, grad_norm=0.0, lr=0.0, tokens=0, seconds=0.0
            )
            watched.follow(step, of)
        watched.record(of)
        return self.run.probes()


@pytest.mark.parametrize(
    ("of", "step", "row", "token"),
    [
        (20, 2.5, 0.05, 2.0),
        (20, 2.5, 0.2, 10.0),
        (400, 0.02, 0.01, 0.3),
        (1000, 1.0, 0.1, 5.0),
        (50, 10.0, 0.01, 0.2),
    ],
)
@pytest.mark.parametrize("asked", [False, True])
def test_both_budgets_hold_whatever_a_step_and_a_probe_cost(
    tmp_path, monkeypatch, of, step, row, token, asked
):
    machine = Machine(tmp_path, monkeypatch, step=step, row=row, token=token)
    records = machine.train(of, machine.before() if asked else ())
    trained = of * step
    spent = machine.clock.spent
    assert max(GENERATED, LOOKS) <= 0.05
    assert spent.get("probes", 0.0) <= GENERATED * trained + 1e-9
    least = max(LOOKS * trained, 20 * row)  # one row at a time is the least that a look can read
    assert spent["looks"] <= least + 6 * row
    assert len(records) >= min(of, 20)
    generated = [r["step"] for r in records if all(i["said"] == r["step"] for i in r["items"])]
    assert generated[0] == 0
    assert generated[-1] == of
    between = generated[1:-1]
    affordable = min(7, int(GENERATED * trained / (6 * row + token)))
    assert affordable - 1 <= len(between) <= affordable
    if len(between) > 1:
        gaps = [b - a for a, b in pairwise(generated)]
        assert max(gaps) <= 2.5 * min(gaps)  # spread over the whole run, and not at one of its ends


@pytest.mark.parametrize(("row", "looks"), [(0.2, 20), (0.001, 24)])
def test_where_one_row_is_too_much_it_is_read_as_often_as_promised(tmp_path, monkeypatch, row, looks):
    """30 steps: not after each of them, as many as a person asked for where there is time."""
    machine = Machine(tmp_path, monkeypatch, step=0.5, row=row, token=50.0, probes=24)
    records = machine.train(30, machine.before())
    assert looks <= len(records) <= looks + 2


def test_what_was_not_read_again_says_of_which_step_it_is(tmp_path, monkeypatch):
    machine = Machine(tmp_path, monkeypatch, step=1.0, row=0.02, token=50.0)
    records = machine.train(20)
    assert [r["step"] for r in records] == list(range(21))
    seen = {}
    for record in records:
        assert [i["role"] for i in record["items"]] == ["forget"] * 5 + ["retain"] * 5
        for place, item in enumerate(record["items"]):
            if "read" in item:
                assert item["read"] < record["step"]
                assert item["nll"] == seen[place]
            seen[place] = item["nll"]
    partly = [r for r in records if any("read" in i for i in r["items"])]
    assert partly
    assert all(sum("read" not in i for i in r["items"]) >= 1 for r in partly)
    fresh = [place for r in partly for place, item in enumerate(r["items"]) if "read" not in item]
    assert set(fresh) == set(range(10))  # by turns


def test_a_row_between_two_answers_keeps_the_earlier_with_its_step(tmp_path, monkeypatch):
    machine = Machine(tmp_path, monkeypatch, step=1.0, row=0.001, token=0.4)
    records = machine.train(60)
    texts = {}
    for record in records:
        for place, item in enumerate(record["items"]):
            if item["said"] == record["step"]:
                texts[place] = item["text"]
            assert item["text"] == texts[place]
    assert {i["said"] for i in records[-1]["items"]} == {60}
    assert (True, 10) in machine.calls
    assert machine.calls.count((True, 10)) == len({i["said"] for r in records for i in r["items"]})


def test_what_was_asked_before_the_run_is_not_asked_again_at_its_beginning(tmp_path, monkeypatch):
    machine = Machine(tmp_path, monkeypatch, step=1.0, row=0.001, token=0.4)
    before = machine.before()
    first = machine.train(10, before)[0]
    assert first["step"] == 0
    assert {item["text"] for item in first["items"]} <= {one.text for one in before}
    kept = {(one.role, one.index): one for one in before}
    for item in first["items"]:
        one = kept[item["role"], item["index"]]
        assert (item["text"], item["tokens"]) == (one.text, list(one.tokens))
        assert item["nll"] == pytest.approx(-one.tokens[0]["lp"])
    assert machine.clock.spent["ends"] == pytest.approx(10 * 0.001 + 0.4)


def test_one_row_that_was_not_asked_before_has_all_of_them_asked(tmp_path, monkeypatch):
    machine = Machine(tmp_path, monkeypatch, step=1.0, row=0.001, token=0.4)
    machine.train(10, machine.before()[1:])
    assert machine.calls[0] == (True, 10)


def test_what_is_said_last_is_told_by_role_and_place(tmp_path, monkeypatch):
    machine = Machine(tmp_path, monkeypatch, step=1.0, row=0.001, token=0.4)
    records = machine.train(10)
    step, said = machine.watched.said
    assert step == 10
    assert [(one.role, one.index, one.text) for one in said] == [
        (item["role"], item["index"], item["text"]) for item in records[-1]["items"]
    ]


def test_no_probes_were_asked_for(tmp_path, monkeypatch):
    machine = Machine(tmp_path, monkeypatch, step=1.0, row=0.001, token=0.4, probes=0)
    assert machine.train(10) == []
    assert machine.calls == []


def test_a_run_that_goes_on_repeats_no_record(tmp_path, monkeypatch):
    machine = Machine(tmp_path, monkeypatch, step=1.0, row=0.001, token=0.4)
    machine.train(30)
    lines = (machine.run.path / "probes.jsonl").read_text().count("\n")
    loaded = type("L", (), {"model": None, "tokenizer": None, "device": "cpu"})
    again = Probes(machine.run, loaded, ROWS, 40, 64, machine.clock)
    again.begin(30)
    again.follow(30, 40)
    assert (machine.run.path / "probes.jsonl").read_text().count("\n") == lines
    assert module.LEAST == 20
