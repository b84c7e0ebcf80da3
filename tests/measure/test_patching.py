"""Patched log-probs and UDS against plain hooks on a transformers model in float64, a layer and a text at a time."""

import copy

import pytest
import torch
from conftest import make_model

from unlearn.data.base import Row
from unlearn.measure import patching
from unlearn.measure.evidence import ModelEvidence
from unlearn.measure.patching import entity_places, patched
from unlearn.metrics import METRICS
from unlearn.models.load import in_memory, load
from unlearn.training.encoding import encode_rows

ROWS = [
    Row(question="Where was Alma born?", answer="in the red capital of blue novels", entities=((7, 18),)),
    Row(question="Who writes a novel?", answer="three"),
    Row(answer="What is the capital of green where one was born in a novel ?"),
]
# Where each family keeps its blocks.
BLOCKS = {
    "llama": lambda model: model.model.layers,
    "gpt2": lambda model: model.transformer.h,
    "opt": lambda model: model.model.decoder.layers,
}


@pytest.fixture(scope="module", params=list(BLOCKS))
def folders(request, tmp_path_factory):
    """(blocks of a model, {when: folder}): the models differ a little, as an unlearned one differs from its start."""
    found = {}
    for when, seed in (("before", 0), ("other", 1)):
        found[when] = tmp_path_factory.mktemp(when)
        make_model(found[when], request.param, seed=seed)
    before, other = (load(str(folder), device="cpu").model for folder in found.values())
    for when, share in (("after", 0.3), ("retrained", 0.8)):
        mixed = copy.deepcopy(before)
        with torch.no_grad():
            for p, q in zip(mixed.parameters(), other.parameters(), strict=True):
                p.lerp_(q, share)
        found[when] = tmp_path_factory.mktemp(when)
        mixed.save_pretrained(found[when])
        load(str(found["before"]), device="cpu").tokenizer.save_pretrained(found[when])
    del found["other"]
    return BLOCKS[request.param], found


@pytest.fixture(scope="module")
def evidence(folders):
    names = {when: when for when in folders[1]}
    return ModelEvidence(
        {"forget": ROWS}, lambda when: load(str(folders[1][when]), device="cpu"), names, max_length=128
    )


def by_hand(blocks, target, source, ids, places):
    """[layer] mean log-prob of the tokens at `places`: states of the source put in before each of them, in float64."""
    target, source = target.double(), source.double()
    at = [place - 1 for place in places]
    found = []
    with torch.no_grad():
        states = source(input_ids=ids, output_hidden_states=True).hidden_states
        for layer, block in enumerate(blocks(target)):
            last = layer == len(blocks(target)) - 1
            own = caught(blocks(source)[layer], source, ids) if last else states[layer + 1]

            def put(_, __, output, own=own):
                hidden = output[0] if isinstance(output, tuple) else output
                hidden = hidden.clone()
                for place in at:
                    hidden[0, place] = own[0, place]
                return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

            handle = block.register_forward_hook(put)
            logits = target(input_ids=ids).logits[0].double()
            handle.remove()
            lps = [logits[i].log_softmax(-1)[ids[0, place]] for i, place in zip(at, places, strict=True)]
            found.append(float(torch.stack(lps).mean()))
    return found


def caught(block, model, ids):
    """The last block's own output, which hidden_states holds only behind the final norm."""
    kept = []
    handle = block.register_forward_hook(
        lambda _, __, output: kept.append(output[0] if isinstance(output, tuple) else output)
    )
    model(input_ids=ids)
    handle.remove()
    return kept[0]


def plain(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()


def test_patched_log_probs_and_the_score_equal_those_of_plain_hooks(folders, evidence):
    blocks, names = folders
    tokenizer = evidence.reader.tokenizer("before")
    examples = encode_rows(tokenizer, ROWS, max_length=128)
    want = {}
    for when, folder in names.items():
        want[when] = [
            by_hand(
                blocks, plain(names["before"]), plain(folder), torch.tensor([e.input_ids]),
                entity_places(e, tokenizer.eos_token_id),
            )
            for e in examples
        ]  # fmt: skip
        for mine, theirs in zip(evidence.patched(when, "forget"), want[when], strict=True):
            assert mine == pytest.approx(theirs, abs=1e-4)
    scores = METRICS["uds"].measure(evidence)
    for when in names:
        each = []
        for full, gone, mine in zip(want["before"], want["retrained"], want[when], strict=True):
            d1 = [a - b for a, b in zip(full, gone, strict=True)]
            d2 = [a - b for a, b in zip(full, mine, strict=True)]
            kept = [(x, y) for x, y in zip(d1, d2, strict=True) if x > 0.05]
            if kept:
                each.append(sum(x * min(max(y / x, 0), 1) for x, y in kept) / sum(x for x, _ in kept))
        assert scores[when, "forget"].value == pytest.approx(sum(each) / len(each), abs=1e-5)
    assert scores["before", "forget"].value == pytest.approx(0.0, abs=1e-5)
    assert scores["retrained", "forget"].value == pytest.approx(1.0, abs=1e-5)
    assert 0.02 < scores["after", "forget"].value < 0.98


def test_which_tokens_are_read(evidence):
    tokenizer = evidence.reader.tokenizer("before")
    marked, unmarked, text = encode_rows(tokenizer, ROWS, max_length=128)
    words = [tokenizer.decode(marked.input_ids[i]) for i in entity_places(marked, tokenizer.eos_token_id)]
    assert "".join(words).strip() == "red capital"
    for example in (unmarked, text):
        assert entity_places(example, tokenizer.eos_token_id) == list(example.answer_at[:-1])


def test_a_deep_model_in_parts_gives_the_same(evidence, monkeypatch):
    models = [evidence.reader.model(when) for when in ("before", "retrained")]
    examples = encode_rows(models[0].tokenizer, ROWS, max_length=128)
    whole = patched(*models, examples)
    monkeypatch.setattr(patching, "MOST_TOKENS", 1)
    for mine, theirs in zip(patched(*models, examples), whole, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)


def test_models_of_another_shape_are_not_patched(evidence, tmp_path):
    deep, tokenizer = make_model(tmp_path, num_hidden_layers=3)
    models = {"before": evidence.reader.model("before"), "retrained": in_memory(deep, tokenizer)}
    other = ModelEvidence({"forget": ROWS}, models.__getitem__, {when: when for when in models})
    assert other.patched("retrained", "forget") == []
    assert METRICS["uds"].measure(other) == {}
