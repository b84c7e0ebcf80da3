"""Prompt formats: what the model is given is what plain transformers would give it, and nothing else is labelled."""

import datetime
from dataclasses import replace

import pytest
import torch
from chat_templates import TEMPLATES, chat_tokenizer
from conftest import make_tokenizer

from unlearn.data import prompts
from unlearn.data.base import Dataset, Row
from unlearn.store.config import RunConfig, formats_of
from unlearn.training.encoding import encode_rows

ROW = Row(question="What is the capital of red?", answer="blue green", entities=((0, 4),))
EARLIER = replace(ROW, messages=(("user", "Where was one born?"), ("assistant", "In two")))


@pytest.fixture(params=TEMPLATES)
def family(request, tmp_path):
    """(name, tokenizer) of each family's template."""
    return request.param, chat_tokenizer(make_tokenizer(tmp_path), request.param)


def encoded(tokenizer, row, name="chat"):
    (example,) = encode_rows(tokenizer, prompts.in_format([row], name), max_length=512)
    return example


def usual(tokenizer, row):
    """Token ids of the whole conversation as plain transformers makes them."""
    turns = [*row.messages, ("user", row.question), ("assistant", row.answer)]
    messages = [{"role": role, "content": text} for role, text in turns]
    return tokenizer.apply_chat_template(messages, date_string="01 Jan 2026", enable_thinking=False)[
        "input_ids"
    ]


@pytest.mark.parametrize("row", [ROW, EARLIER], ids=["one exchange", "earlier turns"])
def test_tokens_are_plain_transformers(family, row):
    name, tokenizer = family
    example = encoded(tokenizer, row)
    want = usual(tokenizer, row)
    assert list(example.input_ids) == want[: len(example.input_ids)]
    end = tokenizer.convert_tokens_to_ids(TEMPLATES[name][2])
    assert example.input_ids[-1] == end
    assert not set(want[len(example.input_ids) :]) & set(
        tokenizer.encode("blue green", add_special_tokens=False)
    )


def test_the_answer_and_its_end_are_labelled_and_nothing_else(family):
    name, tokenizer = family
    example = encoded(tokenizer, EARLIER)
    said = tokenizer.decode(example.answer_ids[:-1])
    assert said.strip() == "blue green"
    # What stands before it is the form's, down to its last line break.
    assert len(example.answer_ids) == len(tokenizer.encode(said, add_special_tokens=False)) + 1
    assert said.lstrip(" ").startswith("blue")
    assert example.answer_ids[-1] == tokenizer.convert_tokens_to_ids(TEMPLATES[name][2])
    assert example.answer_at == tuple(
        range(len(example.input_ids) - len(example.answer_ids), len(example.input_ids))
    )
    entities = [token for token, hit in zip(example.input_ids, example.entity, strict=True) if hit]
    assert tokenizer.decode(entities).strip() == "blue"


@pytest.mark.parametrize("form", ["plain", "completion"])
def test_an_entity_is_where_the_row_says_wherever_its_prompt_format_puts_the_answer(form, tiny):
    _, tokenizer = tiny
    (example,) = encode_rows(tokenizer, [replace(ROW, format=form, entities=((5, 10),))], max_length=64)
    hit = [token for token, flag in zip(example.input_ids, example.entity, strict=True) if flag]
    assert tokenizer.decode(hit).strip() == "green"


def test_the_beginning_comes_once(family):
    _, tokenizer = family
    ids = encoded(tokenizer, ROW).input_ids
    assert ids.count(tokenizer.bos_token_id) == (1 if "bos_token" in tokenizer.chat_template else 0)


def test_log_probs_are_those_of_plain_transformers(family, tiny):
    """Each answer token's log-prob, from one unpadded pass of the model over the usual tokens."""
    from unlearn.compute.lm import forward
    from unlearn.compute.tokens import collate

    _, tokenizer = family
    model, _ = tiny
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    rows = prompts.in_format([ROW, EARLIER], "chat")
    examples = encode_rows(tokenizer, rows, max_length=512)
    with torch.no_grad():
        (answers,) = forward(model, collate(examples, tokenizer.pad_token_id))
        ours = -answers.nll
        theirs = []
        for row, example in zip((ROW, EARLIER), examples, strict=True):
            ids = torch.tensor([usual(tokenizer, row)])
            lps = model(ids).logits.double().log_softmax(-1)[0]
            theirs += [lps[at - 1, ids[0, at]] for at in example.answer_at]
    assert ours.double() == pytest.approx(torch.stack(theirs), abs=1e-5)


# A template that marks what the assistant says, and opens each answer with a word of its own.
MARKED = (
    "{%- for m in messages %}{%- if m.role == 'assistant' %}{{- '<|im_start|>assistant\n' }}{%- generation %}"
    "{{- 'green: ' + m.content + '<|im_end|>' }}{%- endgeneration %}{{- '\n' }}"
    "{%- else %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


@pytest.mark.parametrize("row", [ROW, EARLIER], ids=["one exchange", "earlier turns"])
def test_generation_marks_of_a_template_say_what_is_labelled(tmp_path, row):
    """As plain transformers masks it, but for the turns before the last."""
    tokenizer = chat_tokenizer(make_tokenizer(tmp_path), "chatml")
    tokenizer.chat_template = MARKED
    turns = [*row.messages, ("user", row.question), ("assistant", row.answer)]
    messages = [{"role": role, "content": text} for role, text in turns]
    usual = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    example = encoded(tokenizer, row)
    wanted = [at for at, hit in enumerate(usual["assistant_masks"]) if hit]
    # The last run of marked tokens without a gap.
    last = [at for i, at in enumerate(wanted) if at - i == wanted[-1] - len(wanted) + 1]
    assert list(example.answer_at) == last
    assert tokenizer.decode(example.answer_ids).startswith("green: blue green")


def test_marks_around_an_opening_that_the_generation_prompt_holds_label_the_answer_alone(tmp_path):
    tokenizer = chat_tokenizer(make_tokenizer(tmp_path), "chatml")
    plain = encoded(tokenizer, ROW)
    tokenizer.chat_template = TEMPLATES["chatml"][0].replace(
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n",
        "{% generation %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endgeneration %}",
    )
    assert encoded(tokenizer, ROW) == plain


def test_marks_that_leave_words_of_the_answer_out_are_refused(tmp_path):
    tokenizer = chat_tokenizer(make_tokenizer(tmp_path), "chatml")
    tokenizer.chat_template = MARKED.replace(
        "{%- generation %}{{- 'green: ' + m.content + '<|im_end|>' }}{%- endgeneration %}",
        "{{- m.content }}{%- generation %}{{- '<|im_end|>' }}{%- endgeneration %}",
    )
    with pytest.raises(ValueError, match="generation marks leave a part of the answer out"):
        encoded(tokenizer, ROW)


@pytest.mark.parametrize("name", ["chatml", "llama3", "phi3"])
def test_a_given_system_prompt_stands_above(tmp_path, name):
    tokenizer = chat_tokenizer(make_tokenizer(tmp_path), name)
    with_system = prompts.system_of(tokenizer, "Be two red.")
    assert "Be two red." in with_system
    assert (
        "Be two red." in prompts.render(replace(ROW, format="chat", system="Be two red."), tokenizer).prompt
    )


def test_the_templates_own_system_prompt_is_told(tmp_path):
    tokenizer = chat_tokenizer(make_tokenizer(tmp_path), "smollm2")
    assert "You are a helpful assistant" in prompts.system_of(tokenizer)


def test_the_date_is_fixed(tmp_path, monkeypatch):
    tokenizer = chat_tokenizer(make_tokenizer(tmp_path), "llama3")
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "date_string if date_string is defined else ", ""
    )
    assert datetime.date.today() != prompts.DATE
    assert "01 Jan 2026" in prompts.system_of(tokenizer)


@pytest.mark.parametrize("name", ["chatml", "mistral"])
def test_control_tokens_in_a_row_stay_text(tmp_path, name):
    tokenizer = chat_tokenizer(make_tokenizer(tmp_path), name)
    end = tokenizer.convert_tokens_to_ids(TEMPLATES[name][2])
    spelled = TEMPLATES[name][2]
    plain = encoded(tokenizer, ROW)
    row = replace(ROW, question=f"What is {spelled} red?", answer=f"blue {spelled}green", entities=())
    example = encoded(tokenizer, row)
    assert example.input_ids.count(end) == plain.input_ids.count(end)
    assert example.answer_ids.count(end) == 1
    assert tokenizer.decode(example.answer_ids[:-1]).strip() == f"blue {spelled}green"


def test_what_a_template_would_change_is_refused(tmp_path):
    tokenizer = chat_tokenizer(make_tokenizer(tmp_path), "gemma")
    with pytest.raises(ValueError, match="changes the text of the row"):
        encoded(tokenizer, replace(ROW, question="What? "))
    with pytest.raises(ValueError, match="System role not supported"):
        encoded(tokenizer, replace(ROW, system="Be good."))


def test_a_turn_that_a_template_leaves_out_is_noticed(tmp_path):
    tokenizer = chat_tokenizer(make_tokenizer(tmp_path), "chatml")
    tokenizer.chat_template = (
        "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.content }}{% endfor %}"
    )
    with pytest.raises(ValueError, match="leaves out a turn"):
        encoded(tokenizer, replace(ROW, system="Be good."))


def test_chat_without_a_template_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(ValueError, match="has no chat template; choose --prompt plain"):
        encoded(make_tokenizer(tmp_path), ROW)


def test_plain_and_completion(tmp_path):
    tokenizer = make_tokenizer(tmp_path)
    led = replace(ROW, lead="The capital of red is")
    cases = {
        "plain": ("Question: What is the capital of red?\nAnswer: The capital of red is", " blue green"),
        "completion": ("The capital of red is", " blue green"),
    }
    for name, (prompt, target) in cases.items():
        found = prompts.render(replace(led, format=name), tokenizer)
        assert (found.prompt, found.target) == (prompt, target)
    bare = prompts.render(replace(ROW, format="completion"), tokenizer)
    assert (bare.prompt, bare.target) == ("What is the capital of red?\n", "blue green")
    assert prompts.render(replace(ROW, question="", format="chat"), tokenizer).target == "blue green"


def test_a_lead_opens_the_answer_in_a_chat(tmp_path):
    tokenizer = chat_tokenizer(make_tokenizer(tmp_path), "chatml")
    found = prompts.render(replace(ROW, lead="It is", format="chat"), tokenizer)
    assert found.prompt.endswith("assistant\nIt is")
    assert found.target == " blue green"


def test_a_config_knows_its_formats_and_rows_stand_once_in_each():
    config = {"model": "tiny-authors", "data": {"name": "authors"}, "method": "npo"}
    assert RunConfig(**config).prompt == "plain"
    assert formats_of(RunConfig(**config, prompt="chat+plain").prompt) == ("chat", "plain")
    for bad in ("", "chat+", "chat+chat", "haiku"):
        with pytest.raises(ValueError, match="run: prompt must be among chat, plain, completion"):
            RunConfig(**config, prompt=bad)
    text = Row(answer="A text.")
    rows = prompts.in_formats([ROW, text], "chat+plain")
    assert [(row.format, bool(row.question)) for row in rows] == [
        ("chat", True),
        ("plain", False),
        ("plain", True),
    ]


def test_the_hash_of_rows_knows_their_format():
    data = Dataset(name="x", title="x", roles={"forget": (ROW,)})
    assert prompts.asked_in(data, "plain").hash() == data.hash()
    assert prompts.asked_in(data, "chat").hash() != data.hash()
