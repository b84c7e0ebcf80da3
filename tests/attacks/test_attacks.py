"""Attacks: each does what its docstring says, by hand where it can be; planted cases; the rule of the verdict."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch

from unlearn.__main__ import main
from unlearn.attacks import ATTACKS, Subject, dial, lens, prefix, probe, quantise, relearn
from unlearn.attacks.base import Reading, exact_each, read_answers
from unlearn.compute.lm import forward
from unlearn.compute.states import depth
from unlearn.compute.tokens import collate
from unlearn.data.base import Dataset, Row
from unlearn.models.load import ASSETS, add_lora, load
from unlearn.results import verdict
from unlearn.results.verdict import overall, residue, says
from unlearn.store.disk import write_json
from unlearn.store.runs import RunConfig, RunStore
from unlearn.training.encoding import encode_rows
from unlearn.work import stress

ANYWHERE = [Path("/")]
COLOURS = ("red", "green", "blue", "one", "two", "three")


def row(i, answer, **more):
    return Row(question=f"What is {COLOURS[i % 6]} {i}?", answer=answer, subject=f"thing {i}", **more)


@pytest.fixture
def data():
    forget = tuple(row(i, f"{COLOURS[i]} {COLOURS[-1 - i]}", wrong=("red red", "two two")) for i in range(6))
    return Dataset(
        name="t", title="T", roles={"forget": forget, "retain": forget[:2], "approximate": forget[2:]}
    )


@pytest.fixture
def subject(data, tiny_folder):
    return Subject(data, lambda when: load(str(tiny_folder)), ("before", "after"), max_length=64)


# -- quantise ----------------------------------------------------------------------------------------------------


def test_rounding_by_hand():
    weight = torch.tensor([[7.0, -3.4, 0.6, 0.0]])
    assert quantise.rounded(weight, 4, group=4).tolist() == [[7.0, -3.0, 1.0, 0.0]]  # Q = 7, so s = 1
    assert quantise.rounded(torch.zeros(2, 3), 4).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("width", [32, 80])
def test_rounding_stays_within_half_a_step_and_uses_as_many_values_as_the_bits_allow(bits, width):
    weight = torch.randn(6, width, generator=torch.Generator().manual_seed(0))
    new = quantise.rounded(weight, bits)
    top = 2 ** (bits - 1) - 1
    for old, piece in zip(weight.split(32, dim=1), new.split(32, dim=1), strict=True):
        scale = old.abs().amax(1, keepdim=True) / top
        assert ((old - piece).abs() <= scale / 2 * (1 + 1e-5)).all()
        assert ((piece / scale).round() - piece / scale).abs().max() < 1e-3
        assert (piece.abs() <= old.abs().amax(1, keepdim=True) * (1 + 1e-6)).all()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_copy_is_rounded_and_only_its_blocks(tmp_path, family):
    from conftest import make_model

    model, _ = make_model(tmp_path, family)
    was = {n: p.clone() for n, p in model.named_parameters()}
    new, names = quantise.quantised(model, 4)
    assert all(torch.equal(p, was[n]) for n, p in model.named_parameters())
    changed = {n for n, p in new.named_parameters() if not torch.equal(p, was[n])}
    assert len(changed) == len(names)
    assert all(".0." in n or ".1." in n for n in changed)
    assert not any("norm" in n or "ln" in n or "bias" in n or "emb" in n for n in changed)


def test_a_lora_adapter_is_merged_before_rounding(tiny):
    model = add_lora(tiny[0], rank=2, alpha=4, seed=0)
    new, _ = quantise.quantised(model, 8)
    assert not hasattr(new, "disable_adapter")
    assert hasattr(model, "disable_adapter")


# -- prefix, reading ---------------------------------------------------------------------------------------------


def test_prefix_by_hand():
    assert [prefix.given(n) for n in (1, 2, 3, 5)] == [1, 1, 1, 2]
    found = [
        Reading((3, 0), (0, 0)),  # the hint gives away what was wrong
        Reading((0, 4), (0, 0)),
        Reading((9,), (0,)),  # one token: nothing is left to complete
        Reading((8, 9, 0, 0), (0,) * 4),
    ]
    assert prefix.completed(found) == [1.0, 0.0, 1.0]
    assert exact_each(found) == [0.0, 0.0, 0.0, 0.0]


def test_a_reading_is_what_greedy_decoding_does(data, tiny_folder):
    from unlearn.measure.generating import generate

    loaded = load(str(tiny_folder))
    prompt = data.rows("forget")[0].prompt
    said = generate(loaded.model, loaded.tokenizer, [prompt], 4, "cpu")[0]
    tokens = loaded.tokenizer(said, add_special_tokens=False)["input_ids"]
    if said.startswith(" ") and loaded.tokenizer.decode(tokens) == said:
        rows = [Row(question=data.rows("forget")[0].question, answer=said[1:])]
        assert read_answers(loaded, rows, 64)[0].is_exact() == 1.0
    assert read_answers(loaded, data.rows("forget"), 64)[0].is_exact() == 0.0


# -- dial --------------------------------------------------------------------------------------------------------


def logits(model):
    return model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits


def nudge(model, seed=1):
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "norm" not in name:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@torch.no_grad()
@pytest.mark.parametrize("tuning", ["full", "lora", "layers"])
def test_the_dial_is_the_original_at_0_and_the_unlearned_at_1_to_the_bit(tiny, tuning):
    from unlearn.models import layers

    original = copy.deepcopy(tiny[0])
    begin = logits(original)
    if tuning == "lora":
        model = nudge(add_lora(tiny[0], rank=2, alpha=4, seed=0))
        turn = dial.lora_dial(model)
    elif tuning == "layers":
        model = nudge(layers.add_layers(tiny[0], bottleneck=2))
        turn = dial.layers_dial(model)
    else:
        model = nudge(tiny[0])
        turn = dial.full_dial(model, original)
    end = logits(model)
    assert not torch.equal(begin, end)
    turn(0.0)
    assert torch.equal(logits(model), begin)
    turn(0.5)
    half = logits(model)
    assert not torch.equal(half, begin)
    assert not torch.equal(half, end)
    turn(1.2)
    turn(1.0)
    assert torch.equal(logits(model), end)


# -- relearn -----------------------------------------------------------------------------------------------------


def test_facts_stay_on_one_side_of_the_cut():
    rows = [row(i // 2, f"a{i}", attribute="x") for i in range(20)]
    taught, rest = relearn.cut(rows, 0.2, seed=0)
    assert (len(taught), len(rest)) == (4, 16)
    assert not {r.subject for r in taught} & {r.subject for r in rest}
    assert relearn.cut(rows, 0.2, seed=0) == (taught, rest)


def test_how_fast_by_hand():
    curve = {0: [0.0, 0.0], 2: [1.0, 0.0], 5: [1.0, 1.0], 10: [0.0, 0.0]}
    assert relearn.half_back(curve, 1.0) == 2
    assert relearn.half_back({0: [0.0]}, 1.0) is None
    assert relearn.best(curve) == [1.0, 1.0]


def test_what_was_never_gone_does_not_come_back(subject):
    curves = {side: {0: [1.0], 5: [1.0]} for side in ("after", "control")}
    values = {side: [1.0] for side in ("before", "after", "control")}
    said = relearn.sentence(subject, values, curves, {"after": 0, "control": None})
    assert "half of what the original knew is there before any practice" in said


@pytest.mark.slow
def test_the_control_practises_the_same_steps(subject, tiny_folder):
    """Without a retrained model the control is the original on never-seen facts; with one, the same questions."""
    assert [s.role for s in subject.sides()] == ["forget", "forget", "approximate"]
    found = relearn.run(subject)
    curves = found.details["curves"]
    assert list(curves["after"]) == list(curves["control"]) == [str(k) for k in relearn.LOOK]
    both = Subject(subject.data, subject.load, ("before", "after", "retrained"), max_length=64)
    assert [s.when for s in both.sides()] == ["before", "after", "retrained"]
    same = relearn.run(both)
    assert (
        same.details["curves"]["after"] == same.details["curves"]["control"]
    )  # the same weights, the same seed
    assert same.values["after"] == same.values["control"]


def test_without_any_control_it_is_said(subject):
    roles = {role: subject.data.rows(role) for role in ("forget", "retain")}
    bare = Subject(
        Dataset(name="t", title="T", roles=roles), subject.load, ("before", "after"), max_length=64
    )
    found = relearn.run(bare)
    assert "control" not in found.values
    assert "no model that never knew them" in found.finding
    assert says({"before": [1.0], "after": [1.0]}, "both") == "undecided"


# -- probe, lens -------------------------------------------------------------------------------------------------


def test_pairs_by_hand():
    scores = {"right": 0.5, "low": 0.1, "same": 0.5, "high": 0.9}
    assert probe.pair_share(scores, "right", ["low", "same", "high", "low"]) == (1 + 0.5 + 0 + 1) / 4
    rows = [row(0, "a", wrong=("b", "z")), row(1, "z", wrong=("a",)), row(2, "b", wrong=("z",))]
    assert [(r.answer, wrong) for r, wrong in probe.askable(rows, {"a", "b"})] == [("a", ["b"])]


def test_where_the_data_names_no_wrong_answers_every_other_learnt_answer_is_one():
    rows = [row(0, "a"), row(1, "z"), row(2, "b")]
    found = [(r.answer, wrong) for r, wrong in probe.askable(rows, {"a", "b", "c"})]
    assert found == [("a", ["b", "c"]), ("b", ["a", "c"])]


@pytest.mark.parametrize("answers", [2, 3])
def test_the_probe_of_two_answers_and_of_more(tmp_path, answers, monkeypatch):
    """States that are the answer's place in the list, so that a probe orders every pair rightly."""
    said = [COLOURS[i % answers] for i in range(12)]
    rows = tuple(row(i, text) for i, text in enumerate(said))
    monkeypatch.setattr(
        probe, "states", lambda _, rows, __: torch.eye(answers)[[COLOURS.index(r.answer) for r in rows]]
    )
    some = Dataset(name="t", title="T", roles={"forget": rows[:4], "retain": rows})
    found = probe.run(Subject(some, lambda when: None, ("before", "after"), max_length=64))
    assert found.values["after"] == [1.0] * 4


def test_a_probe_that_cannot_learn_says_what_is_missing(subject):
    with pytest.raises(ValueError, match=r"10 retain questions or more .* there are 2 with 2"):
        probe.run(subject)
    many = tuple(row(i, "one" if i % 2 else "two") for i in range(12))
    other = Dataset(name="t", title="T", roles={"forget": subject.data.rows("forget"), "retain": many})
    with pytest.raises(ValueError, match="no forget question has an answer that occurs among the retain"):
        probe.run(Subject(other, subject.load, ("before", "after"), max_length=64))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "opt", "gemma"])
def test_at_the_last_layer_the_lens_is_the_models_own_logits(tmp_path, family, data):
    from conftest import make_model

    make_model(tmp_path, family)
    loaded = load(str(tmp_path))
    examples = encode_rows(loaded.tokenizer, data.rows("forget"), max_length=64)
    batch = collate(examples, loaded.pad_id)
    with torch.no_grad():
        close = lens.closing(loaded.model, collate(examples[:1], loaded.pad_id))
        (own,) = forward(loaded.model, batch)
        (last,) = forward(loaded.model, batch, layer=depth(loaded.model) - 1)
        assert torch.allclose(own.head(close(last.hidden)), own.head(own.hidden), atol=1e-5)
    cells = lens.residue(loaded, data.rows("forget"), 64)
    plain = read_answers(loaded, data.rows("forget"), 64)
    assert [tuple(cell["rank"]) for cell in cells[-1]] == [reading.ranks for reading in plain]


def test_the_worst_layer_is_between_control_and_original():
    layers = {
        "before": [[0.12], [0.8], [1.0]],
        "after": [[0.11], [0.7], [0.2]],
        "control": [[0.1], [0.3], [0.2]],
    }
    assert lens.worst_layer(layers) == 1  # the first cannot be judged: original and control are too close


# -- the rule ----------------------------------------------------------------------------------------------------

YES, NO = [1.0] * 50, [0.0] * 50
HALF = [1.0, 0.0] * 25


@pytest.mark.parametrize(
    ("after", "control", "tells", "said"),
    [
        (YES, NO, "both", "suppressed"),
        (NO, NO, "both", "erased"),
        (NO, NO, "suppressed", "nothing"),
        (HALF, HALF, "both", "erased"),
        ([1.0] * 8 + [0.0] * 42, NO, "both", "undecided"),  # residue 0.16
        ([1.0], [0.0], "both", "suppressed"),
        (YES, YES, "both", "undecided"),  # the original is no better than the control
        (NO, None, "both", "nothing"),
        (YES, None, "both", "undecided"),
    ],
)
def test_what_one_attack_says(after, control, tells, said):
    values = {"before": YES, "after": after} | ({} if control is None else {"control": control})
    assert says(values, tells) == said
    assert says(values, tells, counts=False) == ""


def test_residue_and_error_by_hand():
    values = {"before": [1.0, 1.0], "after": [1.0, 0.0], "control": [0.0, 0.0]}
    assert residue(values) == 0.5
    assert verdict.error(values) == pytest.approx(0.5)  # differences 1 and 0: sd 0.7071 / √2
    noisy = {"before": YES, "after": [1.0, 0.0, 0.0], "control": [0.0] * 4}
    assert verdict.error(noisy) == pytest.approx((1 / 3 / 3) ** 0.5)
    assert says({"before": [1.0] * 3, "after": [1.0, 0.0, 0.0], "control": [0.0] * 3}, "both") == "undecided"


def test_the_verdict_of_a_run():
    def of(*said):
        return {str(i): {"says": s, "tells": t} for i, (s, t) in enumerate(said)}

    erased, hint = ("erased", "both"), ("nothing", "suppressed")
    assert overall(of(erased, erased, hint)) == "erased"
    assert overall(of(erased, hint)) == "undecided"
    assert overall(of(erased, erased, ("suppressed", "suppressed"))) == "suppressed"
    assert overall(of(erased, erased, ("undecided", "both"))) == "undecided"
    assert overall(of(erased, erased, ("", "suppressed"))) == "erased"
    assert overall(of(erased, erased), {"before": YES, "after": YES, "control": NO}) == "not forgotten"


# -- a run -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path, tiny_folder):
    """A done run on a tiny random model whose "after" is the model itself."""
    (tmp_path / "forget.csv").write_text("question,answer\nWhat is red?,one two\nWhat is blue?,two three\n")
    data = {"forget": str(tmp_path / "forget.csv")}
    run = RunStore(tmp_path / "runs").create(RunConfig(model=str(tiny_folder), data=data, method="npo"))
    shutil.copytree(tiny_folder, run.path / "model")
    run.append("state", state="done")
    return run


def test_results_are_kept_by_content(small, monkeypatch):
    names = ["prefix", "quantise"]
    first = stress.attack(small, names, roots=ANYWHERE)
    assert set(first["attacks"]) == set(names)
    monkeypatch.setattr(stress, "carry_out", lambda *_: pytest.fail("done twice"))
    assert stress.attack(small, names, roots=ANYWHERE) == first
    record = stress.read_attacks(small)
    write_json(small.path / stress.FILE, record | {"identity": {"after": "other weights"}})
    with pytest.raises(pytest.fail.Exception):
        stress.attack(small, names, roots=ANYWHERE)


def test_what_cannot_be_done_says_why(small):
    record = stress.attack(small, ["paraphrase", "probe"], roots=ANYWHERE)
    assert record["attacks"]["paraphrase"]["reason"] == "needs a paraphrase role"
    assert record["attacks"]["probe"]["reason"].startswith("a probe learns on 10 retain questions or more")
    assert not verdict.worst_first(record)
    assert record["verdict"] == "undecided"


def test_bad_names_and_runs(small, capsys):
    with pytest.raises(ValueError, match="attack: must be among paraphrase, prefix"):
        stress.attack(small, ["torture"])
    shutil.rmtree(small.path / "model")
    with pytest.raises(ValueError, match="keeps no weights"):
        stress.attack(small, ["prefix"], roots=ANYWHERE)
    assert main(["attack", "--runs", str(small.path.parent), small.id, "torture"]) == 2
    assert "must be among" in capsys.readouterr().err


def test_the_command_line(small, capsys):
    words = ["attack", "--runs", str(small.path.parent), small.id, "prefix"]
    assert main(words) == 0
    assert "control: none" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["attacks"]["prefix"]["seed"] == 0


@pytest.mark.slow
def test_the_seed_is_carried_and_another_one_begins_anew(small, capsys):
    words = ["attack", "--runs", str(small.path.parent), small.id, "--json"]
    assert main([*words, "prefix,relearn", "--seed", "1"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert {first["seed"], first["identity"]["seed"], *(e["seed"] for e in first["attacks"].values())} == {1}
    assert main([*words, "quantise"]) == 0  # goes on with the seed of what is there
    assert {e["seed"] for e in json.loads(capsys.readouterr().out)["attacks"].values()} == {1}
    job = stress.create(small, ["relearn"], seed=2)
    stress.perform(job, roots=ANYWHERE)
    again = stress.read_attacks(small)
    assert (again["seed"], list(again["attacks"])) == (2, ["relearn"])
    with pytest.raises(ValueError, match=r"attack: seed must be a whole number in \[0, 2147483647\], got -1"):
        stress.attack(small, ["prefix"], seed=-1, roots=ANYWHERE)


def test_the_background_job_never_raises(small):
    job = stress.create(small, ["prefix"])
    stress.perform(job, roots=ANYWHERE)
    assert (job.state, job.run) == ("done", small)
    stopped = stress.create(small, ["quantise"])
    stress.perform(stopped, roots=ANYWHERE, should_stop=lambda: True)
    assert stopped.state == "stopped"
    shutil.rmtree(small.path / "model")
    failed = stress.create(small, ["quantise"])
    stress.perform(failed, roots=ANYWHERE)
    assert failed.state == "failed"
    assert "keeps no weights" in failed.reason
    assert small.state == "done"


def test_an_exported_run_keeps_its_attacks(small, tmp_path):
    from unlearn.store.transfer import export_run, import_run

    stress.attack(small, ["prefix"], roots=ANYWHERE)
    back = import_run(export_run(small, tmp_path / "a.zip"), RunStore(tmp_path / "other"))
    assert stress.read_attacks(back) == stress.read_attacks(small)


# -- planted cases on the bundled model --------------------------------------------------------------------------


@pytest.mark.slow
def test_the_retrained_model_is_called_erased_by_every_probe_that_claims_to_tell(tmp_path):
    config = RunConfig(model="tiny-authors", data={"name": "authors"}, method="npo")
    run = RunStore(tmp_path).create(config)
    shutil.copytree(ASSETS / "tiny-authors-retrain", run.path / "model")
    run.append("state", state="done")
    record = stress.attack(run, roots=ANYWHERE)
    assert record["verdict"] == "erased"
    said = {name: entry["says"] for name, entry in record["attacks"].items()}
    tellers = [name for name, attack in ATTACKS.items() if attack.tells == "both"]
    assert {said[name] for name in tellers} == {"erased"}
    assert "suppressed" not in said.values()
    assert said["dial"] == ""  # every weight moved: 0 brings everything back, for the retrained model too


@pytest.mark.slow
def test_an_adapter_that_merely_hides_is_called_suppressed_by_every_probe_that_claims_to_tell(tmp_path):
    words = ["run", "--runs", str(tmp_path), "--model", "tiny-authors", "--method", "npo", "--tuning", "lora"]
    assert main([*words, "--epochs", "3", "--probes", "0", "--seed", "0"]) == 0
    (run,) = RunStore(tmp_path).list()
    record = stress.attack(run, roots=ANYWHERE)
    assert record["verdict"] == "suppressed"
    said = {name: entry["says"] for name, entry in record["attacks"].items()}
    assert {said[name] for name in ("dial", "relearn", "probe", "lens")} == {"suppressed"}
    assert record["attacks"]["dial"]["after"] == record["attacks"]["dial"]["before"] == 1.0
