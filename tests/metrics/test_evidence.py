"""What metrics read from a model, against the model's own full logits and plain generation."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_model

from unlearn.compute import lm
from unlearn.data.base import Row
from unlearn.measure.evidence import ModelEvidence
from unlearn.measure.prefixes import plan
from unlearn.metrics import METRICS
from unlearn.metrics.memory.el import extraction_likelihood
from unlearn.models.load import load
from unlearn.training.encoding import encode_rows

ROWS = {
    "forget": [
        Row(
            question="Where was Alma born?",
            answer="in the red capital of blue novels",
            wrong=("blue", "green one"),
            entities=((7, 18),),
        ),
        Row(question="Who writes?", answer="three", wrong=("two", "one two three")),
        Row(answer="What is the capital of green where one was born in a novel ?"),
    ],
    "retain": [Row(question="What is red?", answer="blue green", wrong=("two",))],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    found = {}
    for seed, when in enumerate(("before", "after", "retrained")):
        found[when] = tmp_path_factory.mktemp(when)
        make_model(found[when], seed=seed)
    return found


@pytest.fixture(scope="module")
def evidence(folders):
    return ModelEvidence(
        ROWS, lambda when: load(str(folders[when]), device="cpu"), {w: w for w in folders}, max_length=128
    )


def whole(evidence, when, row):
    """(log-probs [n, V] at the answer, answer ids, final states [n, d]) from one unpadded text."""
    loaded = evidence.reader.model(when)
    (example,) = encode_rows(loaded.tokenizer, [row], max_length=128)
    places = [i for i, label in enumerate(example.labels) if label != -100]
    with torch.no_grad():
        out = loaded.model(input_ids=torch.tensor([example.input_ids]), output_hidden_states=True)
    before = [i - 1 for i in places]
    ids = torch.tensor([example.input_ids[i] for i in places])
    return out.logits[0, before].double().log_softmax(-1), ids, out.hidden_states[-1][0, before].double()


def test_moments_of_the_log_prob(evidence):
    for row, o in zip(ROWS["forget"], evidence.seen("after", "forget"), strict=True):
        lps, ids, _ = whole(evidence, "after", row)
        p = lps.exp().numpy()
        for place, token in enumerate(o.tokens):
            mu = np.average(lps[place], weights=p[place])
            spread = math.sqrt(np.average((lps[place] - mu) ** 2, weights=p[place]))
            assert token["lp"] == pytest.approx(float(lps[place, ids[place]]), abs=1e-4)
            assert token["mu"] == pytest.approx(mu, abs=1e-4)
            assert token["sigma"] == pytest.approx(spread, abs=1e-4)


def test_wrong_answers(evidence):
    found = evidence.wrong_nll("after", "forget")
    assert [len(x) for x in found] == [2, 2, 0]
    for row, values in zip(ROWS["forget"], found, strict=True):
        for wrong, value in zip(row.wrong, values, strict=True):
            lps, ids, _ = whole(evidence, "after", Row(question=row.question, answer=wrong))
            assert value == pytest.approx(-float(lps.gather(1, ids[:, None]).mean()), abs=1e-5)


def test_the_same_asked_otherwise_is_read_for_as_many_facts_as_are_given(evidence, folders):
    """Rows of their own, and without such rows those of the role paraphrase."""

    def nll(row, answer):
        lps, ids, _ = whole(evidence, "after", replace(row, answer=answer, entities=()))
        return -float(lps.gather(1, ids[:, None]).mean())

    marked, plain, text = ROWS["forget"]
    names, held = {w: w for w in folders}, evidence.reader.model
    own = ModelEvidence(ROWS, held, names, max_length=128, otherwise=[marked, plain, text])
    role = ModelEvidence({"paraphrase": [marked, plain]}, held, names, max_length=128)
    for found in (own.otherwise("after"), role.otherwise("after")):
        assert len(found) == 2
        for row, (right, wrong) in zip((marked, plain), found, strict=True):
            assert right == pytest.approx(nll(row, row.answer), abs=1e-4)
            assert list(wrong) == pytest.approx([nll(row, one) for one in row.wrong], abs=1e-4)


def test_divergence_and_features(evidence):
    for role in ROWS:
        found = evidence.divergence("retrained", "after", role)
        for row, value in zip(ROWS[role], found, strict=True):
            p, q = (whole(evidence, when, row)[0] for when in ("retrained", "after"))
            assert value == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), rel=1e-4)
            assert value > 0
        for row, feature in zip(ROWS[role], evidence.features("after", role), strict=True):
            assert feature == pytest.approx(whole(evidence, "after", row)[2].mean(0).numpy(), abs=1e-4)
    assert evidence.divergence("after", "after", "forget") == [0.0] * 3


def test_generations_under_the_original_model(evidence):
    loaded = evidence.reader.model("before")
    found = evidence.generation_nll("after", "forget")
    for o, value in zip(evidence.seen("after", "forget"), found, strict=True):
        if not o.text.strip():
            assert value is None
            continue
        head, both = (loaded.tokenizer(x)["input_ids"] for x in (o.prompt, o.prompt + o.text))
        with torch.no_grad():
            lps = loaded.model(input_ids=torch.tensor([both])).logits[0].double().log_softmax(-1)
        values = [-float(lps[i - 1, both[i]]) for i in range(len(head), len(both))]
        assert value == pytest.approx(np.mean(values), abs=1e-4)


def test_entities_are_the_tokens_of_the_span(evidence):
    first, second, _ = evidence.entities("forget")
    tokens = [t["token"] for t in evidence.seen("after", "forget")[0].tokens]
    assert len(first) == len(tokens)
    marked = "".join(t for t, hit in zip(tokens, first, strict=True) if hit)
    assert marked.strip() == "red capital"
    assert not any(second)


def test_continuations_equal_plain_generation_from_every_prefix(evidence):
    loaded = evidence.reader.model("after")
    for row, (answer, found) in zip(ROWS["forget"], evidence.continuations("after", "forget"), strict=True):
        (example,) = encode_rows(loaded.tokenizer, [row], max_length=128)
        start = example.answer_at[0]
        assert list(found) == list(range(max(0, len(answer) - 2)))
        for place, ids in found.items():
            out = loaded.model.generate(
                input_ids=torch.tensor([example.input_ids[: start + place]]),
                max_new_tokens=len(answer) - place,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=loaded.tokenizer.eos_token_id,
            )
            want = out[0, start + place :].tolist()
            eos = loaded.tokenizer.eos_token_id
            assert ids == (want[: want.index(eos)] if eos in want else want)


def test_a_memorised_text_needs_no_generation_and_has_full_el(evidence):
    loaded = evidence.reader.model("after")
    (example,) = encode_rows(loaded.tokenizer, [ROWS["forget"][0]], max_length=128)
    known = plan(example, [0] * len(example.answer_ids), loaded.tokenizer.eos_token_id)
    assert set(known.departs.values()) == {len(known.answer)}
    paths = {place: known.answer[place:] for place in known.departs}
    assert extraction_likelihood(known.answer, paths, 3) == 1.0
    one_missed = plan(example, [0, 1, *[0] * (len(example.answer_ids) - 2)], None)
    assert (one_missed.departs[0], one_missed.departs[1]) == (1, 1)
    assert one_missed.departs[2] == len(one_missed.answer)


def test_a_random_model_stands_at_the_lower_bounds(evidence):
    for name in ("memorised", "exact", "el_10"):
        assert METRICS[name].measure(evidence)["after", "forget"].value < 0.1
    assert METRICS["probability"].measure(evidence)["after", "forget"].value < 0.1


def test_every_metric_gives_as_many_values_as_it_counts(evidence):
    for name, metric in METRICS.items():
        for score in metric.measure(evidence).values():
            assert len(score.per_example) == score.n > 0, name


# A flag, a p-value with its own n and D, numbers of all texts together, and means of other metrics' means.
WITHOUT = {"collapse", "forget_quality", "distinct_1", "distinct_2", "mauve", "aggregate"}


def test_every_score_has_its_interval(evidence):
    found = {name: metric.measure(evidence) for name, metric in METRICS.items()}
    assert {name for name, scores in found.items() if scores} - WITHOUT >= {
        "kept",
        "ppl",
        "el_3",
        "kl_retrain",
    }
    for name, scores in found.items():
        for place, score in scores.items():
            assert ("interval" in score.details) != (name in WITHOUT), name
            if name not in WITHOUT and math.isfinite(score.value):
                low, high = score.details["interval"]
                assert low - 1e-9 <= score.value <= high + 1e-9, (name, place)


@pytest.fixture
def passes(monkeypatch):
    """{(model, what it read): how often}, filled while texts go through models."""
    found, read = Counter(), lm.forward

    def counting(model, *batches, **options):
        for batch in batches:
            for ids, mask in zip(batch.input_ids.tolist(), batch.attention_mask.tolist(), strict=True):
                found[id(model), tuple(i for i, there in zip(ids, mask, strict=True) if there)] += 1
        return read(model, *batches, **options)

    monkeypatch.setattr(lm, "forward", counting)
    return found


def test_a_full_evaluation_reads_no_text_twice(folders, passes):
    """Also not what two models say alike: after is here the model before, loaded once more."""
    names = {"before": "before", "after": "before", "retrained": "retrained"}
    held = {when: load(str(folders[name]), device="cpu") for when, name in names.items()}
    fresh = ModelEvidence(ROWS, held.get, names, max_length=128)
    fresh.keeps = {role for metric in METRICS.values() for role in metric.states}
    one, *others = fresh._observe("after")
    fresh._memo["seen", "after"] = [replace(one, text=" red novel"), *others]
    for name, metric in METRICS.items():
        # Fisher information takes a pass of its own, as nothing else here needs a gradient.
        if name != "drift":
            metric.measure(fresh)
    assert max(passes.values()) == 1
    by_model = Counter(model for model, _ in passes)
    assert by_model[id(held["retrained"].model)] == 4 + 5  # the rows, and their wrong answers
    said = {(o.prompt, o.text) for w in names for r in ROWS for o in fresh.seen(w, r) if o.text.strip()}
    assert by_model[id(held["before"].model)] == 4 + 5 + len(said)


def test_a_continuation_that_is_the_own_answer_is_not_read_again(evidence, passes):
    fresh = ModelEvidence(ROWS, evidence.reader.model, evidence.hashes, max_length=128)
    fresh._memo["seen", "after"] = [replace(o, text=o.answer) for o in fresh._observe("before")]
    read = [o.tokens for o in fresh.seen("before", "forget")]
    done = sum(passes.values())
    found = fresh.generation_nll("after", "forget")
    assert sum(passes.values()) == done
    tokenizer = evidence.reader.model("before").tokenizer
    for o, tokens, value in zip(fresh.seen("after", "forget"), read, found, strict=True):
        begin, end = (len(tokenizer(text)["input_ids"]) for text in (o.prompt, o.prompt + o.answer))
        own = [-t["lp"] for t in tokens[:-1]]  # without the end of text, which was not generated
        assert value == pytest.approx(np.mean(own[begin - end :]), abs=1e-6)


def test_what_is_shared_equals_what_is_read_on_its_own(folders):
    def evidence(keeps):
        found = ModelEvidence(
            ROWS, lambda when: load(str(folders[when]), device="cpu"), {w: w for w in folders}, max_length=128
        )
        found.keeps = keeps
        return found

    shared, alone = evidence(("forget", "retain")), evidence(())
    for when in folders:
        shared.seen(when, "forget")
    for role in ("forget", "retain"):
        assert shared.features("after", role) == pytest.approx(alone.features("after", role), abs=1e-6)
        mine, theirs = (x.divergence("retrained", "after", role) for x in (shared, alone))
        assert mine == pytest.approx(theirs, abs=1e-6)


def test_the_cache_gives_the_same_numbers_without_a_model(folders, tmp_path):
    hashes = {w: w for w in folders}
    first = ModelEvidence(
        ROWS, lambda when: load(str(folders[when]), device="cpu"), hashes, max_length=128, store=tmp_path
    )
    again = ModelEvidence(
        ROWS, lambda when: load(str(folders[when]), device="cpu"), hashes, max_length=128, store=tmp_path
    )
    for name in ("seen", "wrong_nll", "generation_nll", "continuations"):
        assert getattr(first, name)("after", "forget") == getattr(again, name)("after", "forget"), name
    assert first.reader.tokens > 0
    assert again.reader.tokens == 0
