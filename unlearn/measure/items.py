"""This module asks a model the items of a benchmark, in batches of similar length.

The answers of one question (the right one in other words, the wrong ones) go through the model together: their common
prompt is read once (compute/packing.py). The pass that scores the right answer also serves its continuation, so
that only what departs from it is generated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace

from unlearn.compute.lazy import continuing, lm, no_grad
from unlearn.compute.tokens import Example, Whole, collate
from unlearn.data.base import Row
from unlearn.data.items.base import Part
from unlearn.data.prompts import has_template, instructed
from unlearn.measure.evaluate import generate, prompt_of
from unlearn.measure.following import Asked, by_length, follow, open_ended, positions_of
from unlearn.metrics.base import Answered, Loss
from unlearn.models.load import Loaded
from unlearn.store.shapes import JsonObject
from unlearn.training.encoding import encode_rows

# Texts that are scored together.
BATCH = 96
# The most tokens of a text that is scored alone.
LONGEST = 2048
# Called with the share of the part that is done; it may raise to stop.
Progress = Callable[[float], None]
# Called with each number of tokens that went through the model.
Count = Callable[[int], None]


def ask(
    loaded: Loaded,
    part: Part,
    *,
    max_length: int = 512,
    progress: Progress = lambda share: None,
    count: Count = lambda tokens: None,
) -> list[Answered]:
    """Return what the model makes of each item of the part, in order. Its questions are in their rows' own format."""
    if part.kind == "questions":
        return _questions(loaded, part, max_length, progress, count)
    if part.kind == "texts":
        return _texts(loaded, part.rows, progress, count)
    return _continued(loaded, part, progress, count)


def _questions(
    loaded: Loaded, part: Part, max_length: int, progress: Progress, count: Count
) -> list[Answered]:
    length = loaded.fit_length(max_length)
    right = encode_rows(loaded.tokenizer, part.rows, max_length=length)
    found = _answered(loaded, part, right, lambda share: progress(share / 2), count)
    others = [
        replace(row, answer=text, entities=())
        for row in part.rows
        for text in ([row.paraphrase] if row.paraphrase else []) + list(row.wrong)
    ]
    coded = encode_rows(loaded.tokenizer, others, max_length=length)
    losses = iter(_losses(loaded, coded, part.rows, lambda share: progress((1 + share) / 2), count))
    return [
        replace(
            item,
            paraphrased=next(losses) if row.paraphrase else None,
            wrong=tuple(next(losses) for _ in row.wrong),
        )
        for row, item in zip(part.rows, found, strict=True)
    ]


@no_grad
def _answered(
    loaded: Loaded, part: Part, examples: Sequence[Example], progress: Progress, count: Count
) -> list[Answered]:
    """The right answers' losses and what the model says in their place, at most part.room tokens with the prompt."""
    model, tokenizer = loaded.model, loaded.tokenizer
    prompts = [prompt_of(tokenizer, row, e)[0] for row, e in zip(part.rows, examples, strict=True)]
    rooms = [max(1, part.room - len(open_ended(tokenizer, prompt))) for prompt in prompts]
    found: dict[int, Answered] = {}
    reach = [max(len(e.input_ids), part.room) for e in examples]
    ours = continuing.continues(model, min(positions_of(model), max(reach, default=0)))
    for picked in by_length(model, [len(e.input_ids) + part.room for e in examples]):
        batch = [examples[i] for i in picked]
        tokens = collate(batch, tokenizer.pad_token_id).to(loaded.device)
        with continuing.keep() if ours else nullcontext(continuing.Kept()) as kept:
            (answers,) = lm.forward(model, tokens)
        nll, best = lm.nll_and_best(answers)
        counts = answers.row_count.tolist()
        totals = answers.row_sum(nll).tolist()
        choices = dict(zip(answers.keys, (part.tolist() for part in best.split(counts)), strict=True))
        asked = [
            Asked(e, prompt, room)
            for e, prompt, room in ((examples[i], prompts[i], rooms[i]) for i in picked)
        ]
        said = follow(model, tokenizer, kept, asked, choices) if ours else [None] * len(picked)
        alone = [i for i, text in zip(picked, said, strict=True) if text is None]
        texts = dict(zip(picked, said, strict=True))
        if alone:
            made = generate(
                model, tokenizer, [prompts[i] for i in alone], [rooms[i] for i in alone], loaded.device
            )
            texts |= dict(zip(alone, made, strict=True))
        for i, total, n in zip(picked, totals, counts, strict=True):
            found[i] = Answered(str(prompts[i]), part.rows[i].answer, str(texts[i]), right=Loss(total, n))
        more = sum(len(tokenizer(str(texts[i]))["input_ids"]) for i in picked)
        count(sum(len(e.input_ids) for e in batch) + more)
        progress(len(found) / len(examples))
    return [found[i] for i in range(len(examples))]


@no_grad
def _losses(
    loaded: Loaded, examples: Sequence[Example], rows: Sequence[Row], progress: Progress, count: Count
) -> list[Loss]:
    """One loss for each answer, in order. The answers of one row share a batch, and so their prompt."""
    found: dict[int, Loss] = {}
    for picked in _together(examples, [len(row.wrong) + bool(row.paraphrase) for row in rows]):
        batch = [examples[i] for i in picked]
        (answers,) = lm.forward(loaded.model, collate(batch, loaded.tokenizer.pad_token_id).to(loaded.device))
        totals, counts = answers.row_sum(answers.nll).tolist(), answers.row_count.tolist()
        found |= {i: Loss(total, n) for i, total, n in zip(picked, totals, counts, strict=True)}
        count(sum(len(e.input_ids) for e in batch))
        progress(len(found) / len(examples))
    return [found[i] for i in range(len(examples))]


def _together(examples: Sequence[Example], groups: Sequence[int]) -> Iterator[list[int]]:
    """Yield batches of places. Groups (so many texts one after the other) stay whole and come shortest first."""
    places, at = [], 0
    for size in groups:
        places.append(list(range(at, at + size)))
        at += size
    batch: list[int] = []
    for group in sorted(
        filter(None, places), key=lambda group: max(len(examples[i].input_ids) for i in group)
    ):
        if batch and len(batch) + len(group) > BATCH:
            yield batch
            batch = []
        batch += group
    if batch:
        yield batch


def _continued(loaded: Loaded, part: Part, progress: Progress, count: Count) -> list[Answered]:
    """What the model says after each prompt: an instruction in its own chat, or an opening as it stands."""
    tokenizer, room = loaded.tokenizer, part.room
    prompts = [_prompt(loaded, part, row) for row in part.rows]
    lengths = [min(positions_of(loaded.model), len(open_ended(tokenizer, p)) + room) for p in prompts]
    said: dict[int, str] = {}
    for picked in by_length(loaded.model, lengths):
        texts = generate(loaded.model, tokenizer, [prompts[i] for i in picked], room, loaded.device)
        said |= dict(zip(picked, texts, strict=True))
        count(sum(lengths[i] for i in picked))
        progress(len(said) / len(prompts))
    return [
        Answered(str(prompt), _cut(loaded, part, row), said[i])
        for i, (row, prompt) in enumerate(zip(part.rows, prompts, strict=True))
    ]


def _prompt(loaded: Loaded, part: Part, row: Row) -> str:
    if part.kind == "openings":
        return row.lead
    text = instructed(loaded.tokenizer, row.question, row.lead)
    return Whole(text) if has_template(loaded.tokenizer) else text


def _cut(loaded: Loaded, part: Part, row: Row) -> str:
    """The true text, no longer than what could be said; an answer to a question stays whole."""
    if part.kind != "openings" or row.lead.endswith("Answer: "):
        return row.answer
    ids = loaded.tokenizer(row.answer, add_special_tokens=True)["input_ids"][: part.room]
    return str(loaded.tokenizer.decode(ids, skip_special_tokens=True))


@no_grad
def _texts(loaded: Loaded, rows: Sequence[Row], progress: Progress, count: Count) -> list[Answered]:
    """Each text's log-probs, token by token, without an end that was added."""
    examples = encode_rows(loaded.tokenizer, rows, max_length=loaded.fit_length(LONGEST))
    eos, found = loaded.tokenizer.eos_token_id, {}
    for picked in by_length(loaded.model, [len(e.input_ids) for e in examples]):
        batch = [examples[i] for i in picked]
        (answers,) = lm.forward(loaded.model, collate(batch, loaded.tokenizer.pad_token_id).to(loaded.device))
        values = lm.top_k(answers, 1)
        counts = answers.row_count.tolist()
        columns = [values[name].split(counts) for name in ("lp", "mu", "sigma")]
        for i, e, *three in zip(picked, batch, *columns, strict=True):
            keep = len(e.answer_ids) - (e.answer_ids[-1] == eos)
            lps, mu, sigma = (tuple(column.tolist()[:keep]) for column in three)
            found[i] = Answered("", rows[i].answer, lps=lps, mu=mu, sigma=sigma)
        count(sum(len(e.input_ids) for e in batch))
        progress(len(found) / len(examples))
    return [found[i] for i in range(len(examples))]


def to_json(items: Sequence[Answered]) -> list[JsonObject]:
    """Return the items as plain JSON values."""
    return [asdict(item) for item in items]


def from_json(values: Sequence[JsonObject]) -> list[Answered]:
    """Return the items that to_json() wrote."""
    return [
        Answered(
            prompt=one["prompt"],
            truth=one["truth"],
            said=one["said"],
            right=one["right"] and Loss(**one["right"]),
            paraphrased=one["paraphrased"] and Loss(**one["paraphrased"]),
            wrong=tuple(Loss(**loss) for loss in one["wrong"]),
            **{name: tuple(one[name]) for name in ("lps", "mu", "sigma")},
        )
        for one in values
    ]
