"""Language-model arithmetic: what is labelled, what is read, and that chunks change nothing."""

import copy

import pytest
import torch
from conftest import make_model, make_tokenizer
from reference import answers_of, token_nlls

from unlearn.compute import head, lm
from unlearn.compute.lm import forward, top_k
from unlearn.compute.tokens import IGNORE, Example, collate, encode

PROMPT, TARGET = "Question: What is two?\nAnswer:", " green blue"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def coded(tokenizer, prompt=PROMPT, target=TARGET, **options):
    return encode(tokenizer, prompt, target, **({"key": 0, "max_length": 128} | options))


def test_answer_tokens_are_those_behind_the_prompt(tokenizer):
    example = coded(tokenizer)
    labelled = [t for t, label in zip(example.input_ids, example.labels, strict=True) if label != IGNORE]
    assert tokenizer.decode(labelled[:-1]) == TARGET
    assert labelled[-1] == tokenizer.eos_token_id
    assert all(label in (IGNORE, t) for t, label in zip(example.input_ids, example.labels, strict=True))
    assert example.input_ids[:-1] == tuple(tokenizer(PROMPT + TARGET)["input_ids"])


def test_boundary_counts_characters_and_not_bytes(tokenizer):
    example = coded(tokenizer, "Où est Łódź？\nAnswer:", " 東京 é")
    labelled = [label for label in example.labels if label not in (IGNORE, tokenizer.eos_token_id)]
    assert tokenizer.decode(labelled) == " 東京 é"


def test_plain_text_labels_all_but_the_first_token(tokenizer):
    example = coded(tokenizer, "", "the capital is red")
    assert example.labels[0] == IGNORE
    assert example.labels[1:] == example.input_ids[1:]


def test_truncation_leaves_no_end_of_text(tokenizer):
    whole = coded(tokenizer)
    cut = coded(tokenizer, max_length=len(whole.input_ids) - 1)
    assert cut.input_ids == whole.input_ids[:-1]
    assert cut.labels == whole.labels[:-1]
    assert len(cut.entity) == len(cut.input_ids)


@pytest.mark.parametrize(("prompt", "target"), [(PROMPT, TARGET), ("", "")])
def test_no_answer_left_is_an_error_with_a_remedy(tokenizer, prompt, target):
    with pytest.raises(ValueError, match=r"no answer within max_length 8; shorten it or raise it"):
        coded(tokenizer, prompt * 3, target, max_length=8)


def test_no_tokens_at_all_is_an_error_too(tokenizer):
    bare = copy.deepcopy(tokenizer)
    bare.eos_token = None
    with pytest.raises(ValueError, match="no answer"):
        coded(bare, "", "")


def test_entity_mask_marks_the_tokens_of_the_spans(tokenizer):
    example = coded(tokenizer, spans=[(7, 11)])  # "blue" in " green blue"
    marked = [t for t, hit in zip(example.input_ids, example.entity, strict=True) if hit]
    assert tokenizer.decode(marked).strip() == "blue"
    assert not any(coded(tokenizer).entity)


def test_a_tokenizer_that_adds_bos_and_eos(tokenizer):
    from tokenizers.processors import TemplateProcessing

    both = copy.deepcopy(tokenizer)
    both.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", both.bos_token_id), ("<eos>", both.eos_token_id)]
    )
    example, plain = coded(both), coded(tokenizer)
    assert example.input_ids == (both.bos_token_id, *plain.input_ids)
    assert example.labels == (IGNORE, *plain.labels)
    text = coded(both, "", "the capital")
    assert text.labels[0] == IGNORE
    assert text.labels[1:] == text.input_ids[1:]  # bos stands before the first word, which is predicted then


def test_pad_equal_to_eos_masks_no_real_end_of_text(tokenizer):
    eos = tokenizer.eos_token_id
    short, long = coded(tokenizer, target=" red"), coded(tokenizer, target=" green blue red")
    batch = collate([short, long], pad_id=eos)
    end = len(short.input_ids)
    assert batch.labels[0, end - 1] == eos
    assert batch.attention_mask[0].tolist() == [1] * end + [0] * (len(long.input_ids) - end)
    assert (batch.labels[0, end:] == IGNORE).all()
    assert batch.total_tokens == sum(label != IGNORE for e in (short, long) for label in e.labels)


def batches_of(tokenizer):
    first = [coded(tokenizer, target=t, key=i) for i, t in enumerate((" red", " green blue in the capital"))]
    second = [coded(tokenizer, "", "the capital of two is where red was born in blue.", key=5)]
    return first, second


def test_forward_equals_full_logits_one_text_at_a_time(tiny):
    model, tokenizer = tiny
    first, second = batches_of(tokenizer)
    pad = tokenizer.pad_token_id
    one, two = forward(model, collate(first, pad), collate(second, pad))
    oracle = copy.deepcopy(model).double()
    for answers, examples in ((one, first), (two, second)):
        want = [token_nlls(oracle, e) for e in examples]
        assert torch.allclose(answers.nll.double(), torch.cat(want), atol=1e-4)
        assert torch.allclose(
            answers.row_sum(answers.nll).double(), torch.stack([w.sum() for w in want]), atol=1e-3
        )
        assert answers.row_count.tolist() == [len(w) for w in want]
        assert float(answers.mean_nll()) == pytest.approx(float(torch.cat(want).mean()), rel=1e-5)


def test_two_batches_in_one_pass_equal_each_alone(tiny):
    model, tokenizer = tiny
    first, second = (collate(rows, tokenizer.pad_token_id) for rows in batches_of(tokenizer))
    for together, batch in zip(forward(model, first, second), (first, second), strict=True):
        (alone,) = forward(model, batch)
        assert torch.allclose(together.hidden, alone.hidden, atol=1e-5)
        assert torch.equal(together.labels, alone.labels)
        assert torch.equal(together.rows, alone.rows)
        assert together.keys == alone.keys


def test_padding_ids_and_later_tokens_do_not_leak(tiny):
    model, tokenizer = tiny
    examples, _ = batches_of(tokenizer)
    (zero,) = forward(model, collate(examples, 0))
    (nine,) = forward(model, collate(examples, 9))
    assert torch.allclose(zero.nll, nine.nll, atol=1e-6)
    gradient = torch.autograd.grad(zero.nll.sum(), model.get_input_embeddings().weight)[0]
    unused = set(range(gradient.shape[0])) - {t for e in examples for t in e.input_ids}
    assert gradient[sorted(unused - {0})].abs().sum() == 0 or model.config.tie_word_embeddings


def gradients(model, examples, pad):
    model.zero_grad()
    (answers,) = forward(model, collate(examples, pad))
    weights = torch.linspace(0.1, 2.0, len(answers.labels))

    def focus(logits, labels, extra):
        return extra * torch.nn.functional.cross_entropy(logits, labels, reduction="none")

    values = answers.per_token(focus, weights)
    (answers.mean_nll() + values.sum()).backward()
    return values.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])


def in_chunks_of(monkeypatch, size):
    for module in (head, lm):
        monkeypatch.setattr(module, "chunk", lambda *_: size)


@pytest.mark.parametrize("size", [1, 3])
def test_chunks_change_neither_values_nor_gradients(tiny, monkeypatch, size):
    model, tokenizer = tiny
    examples = [e for rows in batches_of(tokenizer) for e in rows]
    whole = gradients(model, examples, 0)
    in_chunks_of(monkeypatch, size)
    for got, want in zip(gradients(model, examples, 0), whole, strict=True):
        assert torch.allclose(got, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


def test_chunks_do_not_keep_the_logits(tiny, monkeypatch):
    """With small chunks the graph holds hidden states, never [T, V]: that is what the chunks are for."""
    model, tokenizer = tiny
    examples = [e for rows in batches_of(tokenizer) for e in rows]
    in_chunks_of(monkeypatch, 2)
    monkeypatch.setattr(head, "keeps", lambda *_: False)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(tuple(t.shape)), t)[1], lambda t: t):
        (answers,) = forward(model, collate(examples, 0))
        answers.nll.sum()
    assert not [
        shape for shape in kept if shape[-1:] == (len(tokenizer),) and len(shape) == 2 and shape[0] != 32
    ]


def test_no_full_logits_are_ever_made(tiny):
    model, tokenizer = tiny
    seen = []
    handle = model.get_output_embeddings().register_forward_hook(lambda _m, _i, out: seen.append(out.shape))
    forward(model, collate(batches_of(tokenizer)[0], 0))
    handle.remove()
    assert all(shape.numel() == 0 for shape in seen)


@pytest.mark.parametrize("size", [1000, 3])
def test_top_k_equals_torch_by_hand(tiny, monkeypatch, size):
    model, tokenizer = tiny
    in_chunks_of(monkeypatch, size)
    examples = [e for rows in batches_of(tokenizer) for e in rows]
    (answers,) = forward(model, collate(examples, 0))
    found = top_k(answers, 5)
    logits, labels = zip(*(answers_of(model, e) for e in examples), strict=True)
    logits, labels = torch.cat(logits), torch.tensor([label for part in labels for label in part])
    lps = logits.log_softmax(-1)
    own = lps.gather(1, labels[:, None])[:, 0]
    assert torch.allclose(found["lp"].double(), own, atol=1e-4)
    assert torch.allclose(found["logit"].double(), logits.gather(1, labels[:, None])[:, 0], atol=1e-4)
    assert found["rank"].tolist() == [
        int((row > row[y]).sum()) for row, y in zip(logits, labels, strict=True)
    ]
    assert torch.allclose(found["top_lp"].double(), lps.sort(descending=True).values[:, :5], atol=1e-4)
    assert torch.equal(found["top_id"], lps.sort(descending=True).indices[:, :5])


def answers_with(logits, labels):
    """Answers whose head is the identity: hidden states are the logits."""
    return lm.Answers(
        hidden=logits, labels=labels, rows=labels * 0, keys=(0,), total_tokens=len(labels), total_rows=1,
        head=lambda hidden: hidden,
    )  # fmt: skip


def test_of_equal_logits_only_the_first_has_rank_zero():
    """A collapsed model that likes every token alike must not count as always right."""
    found = top_k(answers_with(torch.zeros(4, 4), torch.arange(4)), 2)
    assert found["rank"].tolist() == [0, 1, 2, 3]


def test_a_few_tokens_at_a_time_tell_what_all_together_tell(monkeypatch):
    """Logits as coarse as 16 bits, words that cannot come, and a token beside nan, in blocks of two of seven tokens."""
    logits = torch.randn(7, 30, generator=torch.Generator().manual_seed(0)).mul(2).round().div(2)
    logits[1, 3:9], logits[4, 7] = -torch.inf, torch.nan
    labels = torch.tensor([4, 20, 29, 0, 5, 17, 11])
    whole = top_k(answers_with(logits, labels), 3)
    monkeypatch.setattr(head, "BLOCK", 60)
    found = top_k(answers_with(logits, labels), 3)
    nll, best = lm.nll_and_best(answers_with(logits, labels))
    for name, value in whole.items():
        assert torch.equal(found[name].nan_to_num(nan=7.0), value.nan_to_num(nan=7.0)), name
    for i, (row, y) in enumerate(zip(logits.double(), labels.tolist(), strict=True)):
        ahead = [not v <= row[y] or (v == row[y] and j < y) for j, v in enumerate(row.tolist())]
        assert int(found["rank"][i]) == sum(map(bool, ahead))
        if i == 4:
            assert found["lp"][i].isnan()
            continue
        lps = row.log_softmax(-1)
        p = lps.exp()
        mean = sum(a * b for a, b in zip(p.tolist(), lps.tolist(), strict=True) if a)
        spread = sum(a * (b - mean) ** 2 for a, b in zip(p.tolist(), lps.tolist(), strict=True) if a)
        assert float(found["lp"][i]) == pytest.approx(float(lps[y]), abs=1e-6)
        assert float(found["mu"][i]) == pytest.approx(mean, abs=1e-5)
        assert float(found["sigma"][i]) == pytest.approx(spread**0.5, abs=1e-5)
        assert float(nll[i]) == pytest.approx(-float(lps[y]), abs=1e-6)
        assert row[int(best[i])] == row.max()


def test_nan_logits_rank_nothing_first():
    found = top_k(answers_with(torch.full((2, 4), float("nan")), torch.tensor([0, 3])), 2)
    assert min(found["rank"].tolist()) > 0


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("gemma2", {"num_key_value_heads": 1, "head_dim": 8, "final_logit_softcapping": 2.0}),
        ("cohere", {"num_key_value_heads": 2, "logit_scale": 0.25}),
        ("granite", {"num_key_value_heads": 2, "logits_scaling": 4.0}),
    ],
)
def test_heads_that_scale_or_cap_their_logits(family, changes):
    from transformers import AutoConfig, AutoModelForCausalLM

    from unlearn.models.load import check_head

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family, vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, **({"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2} | changes),
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20.0)
    check_head(model)
    example = Example(tuple(range(3, 15)), (IGNORE,) * 4 + tuple(range(7, 15)), 0)
    (answers,) = forward(model, collate([example], 0))
    assert torch.allclose(answers.nll.double(), token_nlls(model, example), atol=1e-3)
    plain = torch.nn.functional.cross_entropy(
        model.get_output_embeddings()(answers.hidden), answers.labels, reduction="none"
    )
    assert not torch.allclose(plain, answers.nll, atol=1e-2)  # the cap or scale really matters here


def test_an_unknown_head_is_refused(tmp_path):
    from unlearn.models.load import check_head

    model, _ = make_model(tmp_path)
    real = model.forward

    def doubled(*args, **kwargs):
        out = real(*args, **kwargs)
        out.logits = out.logits * 2
        return out

    model.forward = doubled
    with pytest.raises(ValueError, match="changes its logits after the output head"):
        check_head(model)
