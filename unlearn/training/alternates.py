"""Other answers of the same form to the questions that are to be forgotten, for AltPO (Mekala et al. 2024).

They come with the rows (`wrong`) or from the model itself, which is asked for another plausible answer and sampled at
temperature 1; one that would count as right is drawn again. Where neither gives one, the answer of another text to
forget stands in. What was taken, and from where, is shown in the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from unlearn.compute.lazy import Model, Tokenizer, no_grad, torch
from unlearn.compute.tokens import Example
from unlearn.data.base import Row
from unlearn.metrics.memory.exact import begins_with, normalise_words
from unlearn.training.answers import with_answer
from unlearn.training.batches import Batches
from unlearn.training.encoding import encode_rows, ends_of

ASK = "Invent another answer to this question: as plausible and of the same form, but not the true one. {question}"
# How often the model is asked again before another text's answer stands in.
ROUNDS = 4
# The question is longer than the row's own, so that the run's length does not bound it.
ANY_LENGTH = 10**6


@dataclass(frozen=True)
class Alternate:
    """One other answer. source: "rows", "model" or "another text"."""

    text: str
    source: str


def alternates_of(
    model: Model, tokenizer: Tokenizer, batches: Batches, count: int, source: str
) -> dict[int, list[Alternate]]:
    """Return {key of a forget text: its `count` other answers}, the same for the same seed and model.

    source: "rows" takes the rows' own wrong answers first, "model" asks the model alone. A text's answers repeat where
    there are fewer than `count`.
    """
    found = {}
    for example in batches.forget:
        draw = Random(f"{batches.seed} alternates {example.key}")
        row = batches.asked.get(example.key)
        true = row.answer if row else _said(tokenizer, example.answer_ids)
        given = row.wrong if row and source == "rows" else ()
        # A table may list the right answer among the wrong ones.
        own = [Alternate(text, "rows") for text in given if usable(text, true)][:count]
        if not own:
            own = _asked(model, tokenizer, example, row, true, count, draw)
        if not own:
            own = _borrowed(tokenizer, batches, example, true, draw)
        found[example.key] = [own[k % len(own)] for k in range(count)]
    return found


def alternate_examples(
    tokenizer: Tokenizer, examples: Sequence[Example], found: dict[int, list[Alternate]]
) -> dict[int, list[Example]]:
    """Return {key: the same prompt with each of its other answers}. Their own keys are negative and all
    different.
    """
    made: dict[int, list[Example]] = {}
    for example in examples:
        texts = [one.text for one in found[example.key]]
        keys = range(example.key * len(texts), (example.key + 1) * len(texts))
        made[example.key] = [
            with_answer(tokenizer, example, text, key=-1 - key) for key, text in zip(keys, texts, strict=True)
        ]
    return made


def usable(text: str, true: str) -> bool:
    """Return whether a text has words and is not right to the score of exact answers."""
    return bool(normalise_words(text)) and not begins_with(text, true)


def same(one: str, other: str) -> bool:
    """Return whether two answers are one to the score of exact answers."""
    return normalise_words(one) == normalise_words(other)


def _said(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _asked(
    model: Model,
    tokenizer: Tokenizer,
    example: Example,
    row: Row | None,
    true: str,
    count: int,
    draw: Random,
) -> list[Alternate]:
    """What the model says when asked for another answer, without the true one and without repetitions."""
    texts: list[str] = []
    room = len(example.answer_ids) * 3 // 2 + 8
    for _ in range(ROUNDS):
        for text in _sampled(model, tokenizer, example, row, count, room, draw.getrandbits(31)):
            if usable(text, true) and not any(same(text, other) for other in texts):
                texts.append(text)
        if len(texts) >= count:
            break
    return [Alternate(text, "model") for text in texts[:count]]


@no_grad
def _sampled(
    model: Model, tokenizer: Tokenizer, example: Example, row: Row | None, count: int, room: int, seed: int
) -> list[str]:
    device = model.get_input_embeddings().weight.device
    ids = _prompt(tokenizer, example, row)
    prompt = torch.tensor([list(ids)], device=device)
    more = (
        {"decoder_input_ids": torch.tensor([example.input_ids[:1]], device=device)} if example.source else {}
    )
    start = 1 if example.source else len(ids)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        out = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            num_return_sequences=count,
            max_new_tokens=room,
            eos_token_id=ends_of(tokenizer),
            pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0,
            **more,
        )
    # An answer is one paragraph: what comes after it is the model's next question.
    return [_said(tokenizer, told[start:]).strip().split("\n")[0].strip() for told in out.tolist()]


def _prompt(tokenizer: Tokenizer, example: Example, row: Row | None) -> tuple[int, ...]:
    """The tokens that ask for another answer; without a question to put into words, the text's own prompt."""
    if row is not None and row.question:
        asking = replace(row, question=ASK.format(question=row.question), lead="", entities=())
        (example,) = encode_rows(tokenizer, [asking], max_length=ANY_LENGTH)
    return example.source or example.input_ids[: example.answer_at[0]]


def _borrowed(
    tokenizer: Tokenizer, batches: Batches, example: Example, true: str, draw: Random
) -> list[Alternate]:
    """The answers of the other texts to forget in a random order."""
    others = [_said(tokenizer, e.answer_ids).strip() for e in batches.forget if e.key != example.key]
    texts = [text for text in dict.fromkeys(others) if usable(text, true)]
    if not texts:
        raise ValueError(
            "AltPO: there is no other answer to a text to forget (no wrong answers in the rows, none that the model "
            "gave, no other text); give rows with wrong answers."
        )
    draw.shuffle(texts)
    return [Alternate(text, "another text") for text in texts]
