"""Reading models: order, bounds, plain texts, and that a score from the cache is the score itself."""

import math
import os

import pytest
import torch
from reference import answers_of

from unlearn.data.base import Dataset, Row
from unlearn.measure import score_cache
from unlearn.measure.evaluate import (
    FORGET_LIMIT,
    LIMIT,
    evaluate,
    evaluate_with_counts,
    observe,
    otherwise_to_score,
    rows_to_score,
)
from unlearn.measure.generating import generate
from unlearn.metrics import CHEAP
from unlearn.metrics.base import Observation
from unlearn.training.encoding import encode_rows

QUESTIONS = [
    Row(question="What is red?", answer="a novel"),
    Row(question="Where was two born?", answer="in the capital of blue"),
    Row(question="Who?", answer="one"),
]
PLAIN = [Row(answer="the capital of red is where two was born"), Row(answer="green")]
CHOSEN = {"forget": QUESTIONS, "general": PLAIN}


@pytest.fixture
def seen(tiny):
    model, tokenizer = tiny
    return observe(model, tokenizer, CHOSEN)


def test_observations_keep_the_order_of_the_rows(seen):
    assert [(o.role, o.index) for o in seen] == [
        ("forget", 0), ("forget", 1), ("forget", 2), ("general", 0), ("general", 1)
    ]  # fmt: skip
    assert [o.question for o in seen] == [r.question for r in QUESTIONS] + ["", ""]
    assert seen[1].prompt == "Question: Where was two born?\nAnswer:"
    assert seen[1].answer == " in the capital of blue"


def test_a_plain_text_is_continued_from_its_middle(seen):
    assert seen[3].prompt == "the capital of red"
    assert seen[3].answer == " is where two was born"
    assert (seen[4].prompt, seen[4].answer) == ("green", "")


def test_tokens_are_the_answers_with_their_log_probs(tiny, seen):
    model, tokenizer = tiny
    examples = encode_rows(tokenizer, QUESTIONS + PLAIN, max_length=128)
    for o, example, row in zip(seen, examples, QUESTIONS + PLAIN, strict=True):
        logits, labels = answers_of(model, example)
        lps = logits.log_softmax(-1)
        assert [t["id"] for t in o.tokens] == labels
        assert [t["lp"] for t in o.tokens] == pytest.approx(
            [float(lp[y]) for lp, y in zip(lps, labels, strict=True)], abs=1e-4
        )
        assert [t["top"][0][1] for t in o.tokens] == pytest.approx(lps.max(-1).values.tolist(), abs=1e-3)
        assert all(
            t["rank"] == 0 for t in o.tokens if t["top"][0][0] == t["token"] and t["lp"] == t["top"][0][1]
        )
        spoken = "".join(t["token"] for t in o.tokens[:-1])
        assert spoken == row.target if row.question else row.target.endswith(spoken)


@pytest.mark.parametrize("ours", [True, False])
def test_a_frozen_head_is_not_copied_for_each_text(tiny, ours, monkeypatch):
    """A slice that is not contiguous, times a matrix without gradient: torch copies the matrix for each text."""
    model, tokenizer = tiny
    monkeypatch.setattr("unlearn.compute.continuing.continues", lambda model, length: ours)
    prompts = ["Question: Who wrote", "Question: Where was"]
    generate(model, tokenizer, prompts, 3, "cpu")  # the first one may try the model
    head, copies = model.get_output_embeddings(), []
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    handle = head.register_forward_hook(
        lambda _m, args, _o: copies.append(args[0]) if args[0].numel() else None
    )
    try:
        generate(model, tokenizer, prompts, 3, "cpu")
    finally:
        handle.remove()
        for parameter in model.parameters():
            parameter.requires_grad_(True)
    assert len(copies) == 3
    assert all(states.is_contiguous() for states in copies)
    assert not head._forward_pre_hooks


def test_generation_is_greedy_and_a_batch_changes_nothing(tiny):
    model, tokenizer = tiny
    prompts, rooms = (
        ["What is red?", "Question: Where was two born in the capital?\nAnswer:", "one"],
        [9, 3, 6],
    )
    together = generate(model, tokenizer, prompts, rooms, "cpu")
    for prompt, room, text in zip(prompts, rooms, together, strict=True):
        ids = tokenizer(prompt)["input_ids"]
        new = []
        for _ in range(room):
            token = int(model(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax())
            if token == tokenizer.eos_token_id:
                break
            new.append(token)
        assert text == tokenizer.decode(new, skip_special_tokens=True)


def test_what_follows_a_scored_text_is_what_the_library_generates(tiny):
    """Of a model that knows some answers whole and some in part: the pass that scored them serves their texts."""
    from unlearn.compute.lm import forward
    from unlearn.compute.tokens import Batch, collate
    from unlearn.training.loop import fit, make_optimizer

    model, tokenizer = tiny
    rows = [*QUESTIONS, Row(question="What is blue?", answer="the capital of the novel"), *PLAIN]
    examples = encode_rows(tokenizer, rows, max_length=128)
    want_lp = None
    for steps in (0, 12, 40):

        class Stream:
            def step(self, number):
                return [Batch(forget=collate(examples[:3], tokenizer.pad_token_id), retain=None)]

        Stream.steps = steps
        for _ in fit(model, lambda b: {"nll": forward(model, b.forget)[0].mean_nll()}, Stream(),
                     make_optimizer(model, 1e-2), lr=1e-2, device="cpu"):  # fmt: skip
            pass
        model.eval()
        seen = observe(model, tokenizer, {"forget": rows})
        for o, row, example in zip(seen, rows, examples, strict=True):
            room = min(len(example.answer_ids) + 6, 64) if row.question else 24
            ids = torch.tensor([tokenizer(o.prompt)["input_ids"]])
            if ids[0, -1] == tokenizer.eos_token_id:
                ids = ids[:, :-1]
            out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=room,
                                 do_sample=False, pad_token_id=tokenizer.pad_token_id,
                                 eos_token_id=tokenizer.eos_token_id)  # fmt: skip
            assert o.text == tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        want_lp = [t["lp"] for o in seen for t in o.tokens]
        lean = observe(model, tokenizer, {"forget": rows}, continued=False)
        assert [t["lp"] for o in lean for t in o.tokens] == pytest.approx(want_lp, abs=1e-5)
        assert {o.text for o in lean} == {""}
        brief = observe(model, tokenizer, {"forget": rows}, brief=("forget",))
        assert [t["lp"] for o in brief for t in o.tokens] == pytest.approx(want_lp, abs=1e-5)
        assert [o.text for o in brief] == [o.text for o in seen]
        with pytest.MonkeyPatch.context() as patch:
            # A text a pass, all of them continued together.
            patch.setattr("unlearn.compute.chunks.PASS", 1)
            apart = observe(model, tokenizer, {"forget": rows})
        assert [t["lp"] for o in apart for t in o.tokens] == pytest.approx(want_lp, abs=1e-5)
        assert [o.text for o in apart] == [o.text for o in seen]
    assert [o.text for o in seen[:3]] == [o.answer for o in seen[:3]]


def test_what_is_scored_is_said_by_the_weights_as_they_are_saved(tiny, monkeypatch):
    """In bfloat16 a merged adapter may say another word than the saved one, loaded again."""
    from unlearn.compute import continuing
    from unlearn.models.load import add_lora

    model, tokenizer = tiny
    model = add_lora(model, rank=4, alpha=8, seed=0).eval()
    before = {name: p.data_ptr() for name, p in model.named_parameters()}
    kept = []

    def greedy(*given, **more):
        kept.append(all(p.data_ptr() == before[name] for name, p in model.named_parameters()))
        return said(*given, **more)

    said = continuing.greedy
    monkeypatch.setattr(continuing, "greedy", greedy)
    observe(model, tokenizer, CHOSEN)
    assert kept == [True]
    generate(model, tokenizer, ["What is red?", "Who?"], 4, "cpu")
    assert kept == [True, True]


def test_an_answer_that_is_known_is_not_computed_again(tiny, monkeypatch):
    """With the true tokens the likeliest, only what follows the text's own end is generated."""
    from unlearn.compute import continuing
    from unlearn.measure import following

    model, tokenizer = tiny
    examples = encode_rows(tokenizer, QUESTIONS, max_length=128)
    asked = []
    real = continuing.greedy
    monkeypatch.setattr(
        continuing,
        "greedy",
        lambda m, k, starts, *more, **named: asked.extend(starts) or real(m, k, starts, *more),
    )
    monkeypatch.setattr(
        following, "_own", lambda example, begin, best, room, end: list(example.input_ids[begin:])[:room]
    )
    seen = observe(model, tokenizer, {"forget": QUESTIONS})
    assert asked == []  # every answer ends with the end of text
    assert [o.text for o in seen] == [o.answer for o in seen]
    assert len(examples) == 3


def test_texts_are_read_in_batches_that_memory_holds(tiny, monkeypatch):
    from unlearn.compute.continuing import bytes_a_token
    from unlearn.measure import following as module

    model, _ = tiny
    lengths = [30, 10, 20, 40, 10]
    monkeypatch.setattr(module, "CACHE_BYTES", 2 * bytes_a_token(model) * 40)
    batches = list(module.by_length(model, lengths))
    assert sorted(i for batch in batches for i in batch) == [0, 1, 2, 3, 4]
    assert batches == [[1, 4], [2], [0], [3]]
    # What is let go of block by block is held one and a half times.
    monkeypatch.setattr(module, "CACHE_BYTES", 2 * bytes_a_token(model) * 45)
    assert list(module.by_length(model, lengths)) == batches
    assert list(module.by_length(model, lengths, spent=True)) == [[1, 4, 2], [0], [3]]
    monkeypatch.setattr(module, "BATCH", 2)
    assert list(module.by_length(model, lengths, spent=True)) == [[1, 4], [2, 0], [3]]
    assert list(module.by_length(model, lengths, more=1, spent=True)) == [[1, 4, 2], [0], [3]]


def test_a_tokenizer_that_closes_every_text_does_not_end_the_answer(tiny):
    from tokenizers.processors import TemplateProcessing

    model, tokenizer = tiny
    want = generate(model, tokenizer, ["What is red?"], 6, "cpu")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", tokenizer.eos_token_id)]
    )
    assert generate(model, tokenizer, ["What is red?"], 6, "cpu") == want


def test_a_stop_is_heard_between_batches(tiny):
    model, tokenizer = tiny

    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        observe(model, tokenizer, CHOSEN, check=stop)


def test_a_model_that_memorised_everything_scores_at_the_bounds(tiny):
    from unlearn.compute.lm import forward
    from unlearn.compute.tokens import Batch, collate
    from unlearn.training.loop import fit, make_optimizer

    model, tokenizer = tiny
    examples = encode_rows(tokenizer, QUESTIONS + PLAIN[:1], max_length=128)

    class Stream:
        steps = 60

        def step(self, number):
            return [Batch(forget=collate(examples, tokenizer.pad_token_id), retain=None)]

    for _ in fit(model, lambda b: {"nll": forward(model, b.forget)[0].mean_nll()}, Stream(),
                 make_optimizer(model, 1e-2), lr=1e-2, device="cpu"):  # fmt: skip
        pass
    scores = evaluate(observe(model, tokenizer, {"forget": QUESTIONS, "general": PLAIN[:1]}))
    assert scores["forget"]["n"] == 3
    assert [scores["forget"][name] for name in ("exact", "rougeL", "accuracy")] == [1.0, 1.0, 1.0]
    assert scores["general"]["accuracy"] == 1.0
    assert "exact" not in scores["general"]
    for role in scores:
        assert scores[role]["nll"] < 0.1
        assert scores[role]["ppl"] == pytest.approx(math.exp(scores[role]["nll"]))


def test_a_model_that_likes_every_token_alike_scores_as_chance(tiny):
    model, tokenizer = tiny
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    scores = evaluate(observe(model, tokenizer, CHOSEN))
    vocabulary = model.get_output_embeddings().weight.shape[0]
    for role in CHOSEN:
        assert scores[role]["nll"] == pytest.approx(math.log(vocabulary), abs=1e-4)
        assert scores[role]["ppl"] == pytest.approx(vocabulary, rel=1e-4)
        assert scores[role]["accuracy"] == 0.0
    assert scores["forget"]["exact"] == 0.0


def test_a_score_of_a_part_of_the_texts_says_of_how_many():
    read = [
        Observation("general", 0, "Young cat?", "Q: young cat?\nA:", " kitten", " kitten", ()),
        Observation("general", 1, "", "A cat", " is an animal.", " is an animal.", ()),
        Observation("forget", 0, "Who?", "Q: who?\nA:", " Ann", " Ann", ()),
    ]
    values, _, counts = evaluate_with_counts(read, {"exact": CHEAP["exact"]})
    assert values["general"] == {"n": 2, "exact": 1.0}
    assert counts == {"general": {"exact": 1}}


def test_the_same_rows_are_scored_every_time():
    many = tuple(Row(question=f"Q{i}?", answer=str(i)) for i in range(500))
    data = Dataset(name="d", title="D", roles={"forget": many, "retain": many, "paraphrase": many[:5]})
    one, two = rows_to_score(data), rows_to_score(data)
    assert one == two
    assert {role: len(rows) for role, rows in one.items()} == {
        "forget": FORGET_LIMIT, "retain": LIMIT, "paraphrase": 5
    }  # fmt: skip
    assert not set(one["retain"]) & set(
        data.fit_rows("retain")
    )  # no method has trained on what scores "retain"
    order = [int(r.answer) for r in one["forget"]]
    assert order == sorted(order)


# -- cache -----------------------------------------------------------------------------------------------------

IDENTITY = {"model": "abc", "data": "def", "dtype": "float32", "max_length": 64}


def test_a_score_from_the_cache_is_the_score_itself(tmp_path, seen):
    assert score_cache.read(tmp_path, IDENTITY) is None
    score_cache.write(tmp_path, IDENTITY, seen)
    again = score_cache.read(tmp_path, IDENTITY)
    assert again == seen
    assert evaluate(again) == evaluate(seen)


@pytest.mark.parametrize("key", IDENTITY)
def test_everything_that_the_numbers_depend_on_is_in_the_key(tmp_path, seen, key):
    score_cache.write(tmp_path, IDENTITY, seen)
    assert score_cache.read(tmp_path, IDENTITY | {key: "other"}) is None


@pytest.mark.parametrize("content", ["", "{", "[]x", '{"a": 1}', '[{"role": "forget"}]', "[1, 2]", "null"])
def test_a_damaged_cache_file_is_ignored(tmp_path, seen, content):
    score_cache.write(tmp_path, IDENTITY, seen)
    (file,) = (tmp_path / ".cache").iterdir()
    file.write_text(content)
    assert not score_cache.read(tmp_path, IDENTITY)


def test_what_is_read_again_is_dropped_last(tmp_path, seen, monkeypatch):
    monkeypatch.setattr(score_cache, "KEEP", 2)
    for i in range(3):
        score_cache.write(tmp_path, IDENTITY | {"model": i}, seen)
        for place in (tmp_path / ".cache").glob("*.json"):
            os.utime(place, ns=(place.stat().st_atime_ns, place.stat().st_mtime_ns - 10**10))
        assert score_cache.read(tmp_path, IDENTITY | {"model": 0})


def test_the_cache_is_bounded_and_keeps_no_nan(tmp_path, seen, monkeypatch):
    from dataclasses import replace

    monkeypatch.setattr(score_cache, "KEEP", 2)
    for i in range(4):
        score_cache.write(tmp_path, IDENTITY | {"model": i}, seen)
    assert len(list((tmp_path / ".cache").glob("*.json"))) == 2
    spoilt = replace(seen[0], tokens=({**seen[0].tokens[0], "lp": float("nan")},))
    score_cache.write(tmp_path, IDENTITY, [spoilt])
    assert score_cache.read(tmp_path, IDENTITY) is None


@pytest.mark.parametrize(("name", "facts"), [("authors", 90), ("snippets", 40), ("capitals", 22)])
def test_forget_quality_reads_each_fact_that_forget_reads_in_one_other_wording(name, facts):
    from unlearn.data import catalogue

    data = catalogue.load(name)
    found = otherwise_to_score(data)
    assert len(found) == facts == len(rows_to_score(data)["forget"])
    assert len({(row.subject, row.attribute, row.answer) for row in found}) == facts
    assert set(found) <= set(data.rows("paraphrase"))


def test_of_many_facts_forget_quality_reads_as_many_as_forget():
    rows = tuple(Row(question=f"q{i}", answer="yes", wrong=("no",)) for i in range(200))
    data = Dataset(name="t", title="T", roles={"forget": rows, "paraphrase": rows})
    found = otherwise_to_score(data)
    # Rows that name nobody are a fact each, though all have one answer.
    assert found == rows_to_score(data)["forget"]
    assert len(found) == FORGET_LIMIT
