"""The snippets: what each role promises, what the shipped weights must know, and a run on them from end to end."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

from unlearn.data import snippets
from unlearn.data.base import ROLES
from unlearn.data.catalogue import from_config, load
from unlearn.data.snippets import KINDS, LEARNED, Snippet, cut, dataset, training_rows
from unlearn.measure.judge import compute
from unlearn.models.load import CATALOGUE
from unlearn.store.runs import RunConfig, RunStore
from unlearn.work.execute import execute

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "assets" / "models"
NAMES = ("tiny-snippets", "tiny-snippets-retrain")
SHARED = 12  # words or signs in a row that no two snippets have in common


def runs_of_words(text: str) -> set[tuple[str, ...]]:
    found = re.findall(r"\w+|[^\w\s]", text)
    return {tuple(found[i : i + SHARED]) for i in range(len(found) - SHARED + 1)}


def test_roles_are_filled_by_both_kinds():
    data = load("snippets")
    counts = {role: dict.fromkeys(KINDS, 0) for role in ROLES if role != "general"}
    for role, by_kind in counts.items():
        for row in data.rows(role):
            by_kind[row.attribute] += 1
    assert counts["forget"] == counts["approximate"] == {"code": 20, "prose": 20}
    assert counts["paraphrase"] == {"code": 40, "prose": 40}
    assert all(count >= 12 for by_kind in counts.values() for count in by_kind.values())
    assert len(data.rows("general")) >= 150


def test_requests_are_of_one_kind_and_share_nothing():
    data = dataset()
    assert data.requests() == (1, 2, 3, 4)
    for request in data.requests():
        rows = data.only_requests((request,)).rows("forget")
        assert len(rows) == 10
        assert {row.attribute for row in rows} == {"code" if request < 3 else "prose"}
    assert all(
        row.request == 0 for role in ("retain", "neighbours", "approximate") for row in data.rows(role)
    )
    assert from_config({"name": "snippets", "requests": [3]}).rows("paraphrase")[0].request == 3


def test_no_two_snippets_share_a_passage():
    """So that keeping one cannot keep another alive, and no part of the approximate texts was ever read."""
    seen: dict[tuple[str, ...], Snippet] = {}
    for snippet in snippets.snippets():
        for passage in runs_of_words(snippet.text):
            assert passage not in seen, (snippet.source, seen[passage].source)
            seen[passage] = snippet
    assert len({s.source for s in snippets.snippets()}) == len(snippets.snippets())


def test_what_was_trained_on():
    everything, without = training_rows(True), training_rows(False)
    texts = [row.prompt + row.target for row in everything]
    for role in LEARNED:
        assert all(texts.count(row.prompt + row.target) == snippets.REPEATS for row in dataset().rows(role))
    kept = [row.prompt + row.target for row in without]
    gone = {row.prompt + row.target for row in dataset().rows("forget")}
    assert kept == [text for text in texts if text not in gone]
    for role in ("approximate", "paraphrase"):
        assert not [row for row in dataset().rows(role) if any(row.prompt + row.target == t for t in texts)]


def test_a_row_is_its_text_and_its_wrong_answers_differ_in_names_alone():
    for role in (*LEARNED, "approximate"):
        texts = [s.text for s in snippets.snippets() if s.group == role]
        for row, text in zip(dataset().rows(role), texts, strict=True):
            assert row.prompt + row.target == text
            assert len(row.entities) >= 2
            assert len({*row.wrong, row.answer}) == snippets.WRONG + 1
            inside = [row.answer[a:b] for a, b in row.entities]
            assert all(re.fullmatch(r"\w+|\d+\.\d+", word) for word in inside)
            others = re.split("|".join(map(re.escape, sorted(inside, key=len, reverse=True))), row.answer)
            assert all(all(part in wrong for part in (others[0], others[-1])) for wrong in row.wrong)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ('def f(a, b):\n    """Say Hello."""\n    return a + b.c("x y", 3)  # no d', "code", "f a b a b c 3"),
        ("The ferry of Ostrel leaves. Captain Mirrow left at 9.30.", "prose", "Ostrel Mirrow 9.30"),
    ],
)
def test_entities_are_names_and_numbers(text, kind, expected):
    assert " ".join(text[a:b] for a, b in snippets.entity_spans(text, kind)) == expected


def test_a_text_is_cut_between_two_words_near_the_middle():
    assert cut("one two  three\n four") == ("one", "two  three\n four")
    for snippet in snippets.snippets():
        lead, answer = cut(snippet.text)
        assert f"{lead} {answer}" == snippet.text
        assert 0.25 < len(lead) / len(snippet.text) < 0.75


def test_the_licence_is_said():
    assert "Apache-2.0" in dataset().note
    assert "Apache-2.0" in (ROOT / "assets" / "data" / "README.md").read_text()
    assert CATALOGUE["tiny-snippets"].licence == "Apache-2.0"


@cache
def shipped(name: str):
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(MODELS / name, dtype="float32").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODELS / name)
    return model, tokenizer, json.loads((MODELS / name / "recipe.json").read_text())


@cache
def whole(name: str, role: str) -> float:
    """Share of the role's first and last eight texts whose continuation is right to its end, by the model's own greedy
    decoding, one text at a time."""
    model, tokenizer, _ = shipped(name)
    rows = dataset().rows(role)
    hits = 0
    for row in (*rows[:8], *rows[-8:]):
        ids = tokenizer(row.prompt, return_tensors="pt")
        out = model.generate(**ids, max_new_tokens=80, do_sample=False)[0, ids["input_ids"].shape[1] :]
        hits += tokenizer.decode(out, skip_special_tokens=True) == row.target
    return hits / 16


@pytest.mark.parametrize("name", NAMES)
def test_shipped_folder_is_small_and_of_these_texts(name):
    model, tokenizer, recipe = shipped(name)
    assert sum(weight.numel() for weight in model.parameters()) <= 2_100_000
    assert sum(file.stat().st_size for file in (MODELS / name).iterdir()) <= 10_000_000
    assert recipe["dataset_hash"] == dataset().hash()
    assert recipe["trained_on_forget"] == (name == "tiny-snippets")
    assert tokenizer.pad_token_id != tokenizer.eos_token_id == model.generation_config.eos_token_id
    for row in dataset().rows("forget"):
        ids = tokenizer(row.prompt + row.target)["input_ids"]
        assert ids == tokenizer(row.prompt)["input_ids"] + tokenizer(row.target)["input_ids"]


@pytest.mark.slow
def test_the_model_knows_by_heart_what_it_learned_and_nothing_else():
    assert whole("tiny-snippets", "forget") >= 0.95
    assert whole("tiny-snippets", "neighbours") >= 0.9
    assert whole("tiny-snippets", "approximate") == 0.0
    assert shipped("tiny-snippets")[2]["exact"]["forget"] >= 0.95


@pytest.mark.slow
def test_the_retrain_knows_the_rest_and_the_forget_texts_no_better_than_unseen_ones():
    assert whole("tiny-snippets-retrain", "forget") == 0.0
    assert whole("tiny-snippets-retrain", "neighbours") >= 0.9
    assert shipped("tiny-snippets-retrain")[2]["exact"]["retain"] >= 0.95


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A short run on two requests, with every role scored before, after and, as a run does, retrained."""
    config = RunConfig(
        model="tiny-snippets",
        data={"name": "snippets"},
        method="gd",
        lr=1e-3,
        epochs=3,
        batch_size=10,
        probes=2,
        metrics=("mia_loss", "truth_ratio"),
    )
    run = RunStore(tmp_path_factory.mktemp("runs")).create(config)
    execute(run)
    assert run.state == "done", run.reason
    return run


@pytest.mark.slow
def test_a_run_forgets_and_the_truth_stands_beside_it(ended):
    scores = ended.scores()
    assert set(scores) == {"before", "after", "retrained"}
    assert scores["before"]["forget"]["memorised"] >= 0.95
    assert scores["before"]["forget"]["extraction"] >= 0.95
    assert scores["after"]["forget"]["memorised"] < 0.5
    retrained, unseen = scores["retrained"]["forget"], scores["retrained"]["approximate"]
    assert retrained["memorised"] == 0.0
    assert retrained["nll"] == pytest.approx(unseen["nll"], rel=0.15)
    assert retrained["accuracy"] == pytest.approx(unseen["accuracy"], abs=0.05)
    assert "exact" not in scores["before"]["forget"]  # nothing is asked: that is for questions


@pytest.mark.slow
def test_every_verbatim_metric_reads_the_run(ended):
    compute(ended, ["el_3", "el_10", "extraction", "memorised"])
    record = json.loads((ended.path / "metrics.json").read_text())["metrics"]
    found = {
        name: {s["when"]: s["value"] for s in one["scores"] if s["role"] == "forget"}
        for name, one in record.items()
    }
    for name in ("el_3", "el_10", "extraction", "memorised"):
        assert found[name]["before"] >= 0.95, name
        assert found[name]["after"] < found[name]["before"], name
        assert found[name]["retrained"] < 0.1, name
    assert found["mia_loss"]["before"] > 0.9
    assert found["mia_loss"]["retrained"] == pytest.approx(0.5, abs=0.15)
    ratios = {s["when"]: s["value"] for s in record["truth_ratio"]["scores"] if s["role"] == "paraphrase"}
    assert ratios["before"] < 0.1 < ratios["retrained"]


@pytest.mark.slow
def test_the_samples_on_screen_hold_the_text(ended):
    samples = [s for s in ended.samples() if s["role"] == "forget" and s["when"] == "before"]
    rows = dataset().rows("forget")
    assert [s["prompt"] for s in samples] == [row.prompt for row in rows]
    assert sum(s["text"] == row.target for s, row in zip(samples, rows, strict=True)) >= 0.95 * len(rows)


def test_retraining_takes_the_recipe_up_again():
    from unlearn.methods.references.retrain import Retrain

    _, rows = Retrain().rows("tiny-snippets", dataset())
    assert [row.answer for row in rows] == [row.prompt + row.target for row in training_rows(False)]
    _, rows = Retrain().rows("tiny-snippets", dataset().only_requests((2,)))
    assert len(rows) == len(training_rows(True)) - 10 * snippets.REPEATS
    with pytest.raises(ValueError, match="recipe is not ours"):
        Retrain().rows("tiny-snippets", load("authors"))
