"""evaluate(): what a model says about each role's texts, read once and scored by every metric.

One teacher-forced pass gives each answer token's logit, log-prob, rank and the ten likeliest tokens; one batched
greedy generation with a KV cache gives the continuation. Metrics, samples and pages all read these observations.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from unlearn.compute.lazy import lm, no_grad, together, torch
from unlearn.compute.threads import choose_again
from unlearn.compute.tokens import Example, collate, encoder_input, halves
from unlearn.data.base import ROLES, Dataset, Row
from unlearn.metrics import CHEAP, Metric, Observation
from unlearn.training.batches import encode_rows

LIMIT = 40  # texts a role, each of which keeps its sample; the forget role is scored whole up to FORGET_LIMIT
FORGET_LIMIT = 120
TOP = 10
BATCH = 64
PLAIN_TOKENS = 24  # how far a plain text is continued
GREEDY = {
    "do_sample": False,
    "num_beams": 1,
    "temperature": None,
    "top_p": None,
    "top_k": None,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "use_cache": True,
}


def rows_to_score(data: Dataset) -> dict[str, list[Row]]:
    """The rows that scores are computed on, at most LIMIT a role, always the same ones."""
    chosen = {}
    for role in ROLES:
        rows = list(data.score_rows(role))
        limit = FORGET_LIMIT if role == "forget" else LIMIT
        if len(rows) > limit:
            rows = [rows[i] for i in sorted(random.Random(0).sample(range(len(rows)), limit))]
        if rows:
            chosen[role] = rows
    return chosen


def evaluate(
    observations: Sequence[Observation], metrics: dict[str, Metric] = CHEAP
) -> dict[str, dict[str, float]]:
    """{role: {"n": …, metric: value}} for the observations of one model; a metric that does not apply is absent."""
    scores: dict[str, dict[str, float]] = {}
    for role in dict.fromkeys(o.role for o in observations):
        mine = [o for o in observations if o.role == role]
        values = {
            name: score.value for name, metric in metrics.items() if (score := metric(mine)) is not None
        }
        scores[role] = {"n": len(mine)} | values
    return scores


def observe(
    model: Any,
    tokenizer: Any,
    chosen: dict[str, list[Row]],
    *,
    max_length: int = 512,
    device: str = "cpu",
    progress: Callable[[float], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
    look: Callable[[lm.Answers], None] = lambda answers: None,
) -> list[Observation]:
    """Read every chosen row once. check is called between batches and may raise to stop.

    look: called with what the model made of each batch, its keys the places of the rows in the order of `chosen`.
    """
    rows = [(role, index, row) for role, mine in chosen.items() for index, row in enumerate(mine)]
    examples = encode_rows(tokenizer, [row for *_, row in rows], max_length=max_length)
    scored: dict[int, list[dict[str, Any]]] = {}
    order = sorted(examples, key=lambda e: len(e.input_ids))
    for at in range(0, len(order), BATCH):
        check()
        choose_again()
        scored |= score_tokens(model, tokenizer, order[at : at + BATCH], device, look)
        progress(0.4 * (at + BATCH) / len(order))
    prompts = [_prompt(tokenizer, row, example) for (*_, row), example in zip(rows, examples, strict=True)]
    texts = ["" for _ in rows]
    done = 0
    for picked in _by_length(prompts):
        check()
        choose_again()
        room = [prompts[i][2] for i in picked]
        found = generate(model, tokenizer, [prompts[i][0] for i in picked], room, device)
        for i, text in zip(picked, found, strict=True):
            texts[i] = text
        done += len(picked)
        progress(0.4 + 0.6 * done / len(rows))
    return [
        Observation(role, index, row.question, prompt, answer, text, tuple(scored[key]))
        for key, ((role, index, row), (prompt, answer, _), text) in enumerate(
            zip(rows, prompts, texts, strict=True)
        )
    ]


@no_grad
def score_tokens(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    device: str,
    look: Callable[[lm.Answers], None] = lambda answers: None,
) -> dict[int, list[dict[str, Any]]]:
    """{key: one dict an answer token} — token, id, logit, lp, rank, mu, sigma, top [[token, lp], … TOP]."""
    (answers,) = lm.forward(model, collate(examples, tokenizer.pad_token_id).to(device))
    look(answers)
    found = lm.top_k(answers, TOP)
    labels, rows = answers.labels.tolist(), answers.rows.tolist()
    name = _names(tokenizer)
    values = {key: value.tolist() for key, value in found.items()}
    result: dict[int, list[dict[str, Any]]] = {key: [] for key in answers.keys}
    for i, (label, row) in enumerate(zip(labels, rows, strict=True)):
        top = [
            [name(t), round(lp, 4)] for t, lp in zip(values["top_id"][i], values["top_lp"][i], strict=True)
        ]
        result[answers.keys[row]].append(
            {
                "token": name(label),
                "id": label,
                "logit": values["logit"][i],
                "lp": values["lp"][i],
                "rank": values["rank"][i],
                "mu": values["mu"][i],
                "sigma": values["sigma"][i],
                "top": top,
            }
        )
    return result


def _names(tokenizer: Any) -> Callable[[int], str]:
    known: dict[int, str] = {}

    def name(token: int) -> str:
        if token not in known:
            known[token] = tokenizer.decode([token])
        return known[token]

    return name


def _prompt(tokenizer: Any, row: Row, example: Example) -> tuple[str, str, int]:
    """(prompt, true continuation, tokens to generate); a plain text is continued from its middle."""
    if row.prompt:
        answer = sum(label >= 0 for label in example.labels)
        return row.prompt, row.target, min(answer + 6, 64)
    first, rest = halves(row.answer)
    return (first, rest, PLAIN_TOKENS) if first else (rest, "", PLAIN_TOKENS)


def _by_length(prompts: Sequence[tuple[str, str, int]]) -> Iterator[list[int]]:
    order = sorted(range(len(prompts)), key=lambda i: (prompts[i][2], len(prompts[i][0])))
    for at in range(0, len(order), BATCH):
        yield order[at : at + BATCH]


@no_grad
def generate(
    model: Any, tokenizer: Any, prompts: Sequence[str], new_tokens: int | Sequence[int], device: str
) -> list[str]:
    """Greedy continuations (deterministic), in one left-padded batch with a KV cache where the model bears padding.

    new_tokens: for all, or one number a prompt. A prompt that is too long for the model loses its beginning. What
    the model's folder says about generation (penalties, sampling) is left aside: this is the model's own argmax.
    """
    rooms = [new_tokens] * len(prompts) if isinstance(new_tokens, int) else list(new_tokens)
    most = max(rooms)
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048
    most = min(most, positions - 1)
    encoder = model.config.is_encoder_decoder
    read = partial(encoder_input, max_length=positions) if encoder else _open_ended
    coded = [read(tokenizer, prompt)[-(positions - most) :] for prompt in prompts]
    width = max(map(len, coded))
    if min(map(len, coded)) < width and not together.continues(model, width + most):
        one_by_one = zip(prompts, rooms, strict=True)
        return [generate(model, tokenizer, [prompt], room, device)[0] for prompt, room in one_by_one]
    pad = tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in coded], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in coded], device=device)
    with _whole_states(model):
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=most,
            pad_token_id=pad,
            eos_token_id=tokenizer.eos_token_id,
            **GREEDY,
        )
    begins = 1 if encoder else width  # a decoder starts from its start token, not from the prompt
    rows = [row[:room] for row, room in zip(out[:, begins:].tolist(), rooms, strict=True)]
    return tokenizer.batch_decode(rows, skip_special_tokens=True)


@contextmanager
def _whole_states(model: Any) -> Iterator[None]:
    """The head reads the last positions as a tensor of their own.

    As the slice of all positions that they are, and frozen weights, torch multiplies text by text and copies the
    head's matrix for each of them: 3.6 GB and 7 s for 64 texts of SmolLM2 with LoRA.
    """
    head = model.get_output_embeddings()
    if head is None:
        yield
        return
    handle = head.register_forward_pre_hook(lambda _, args: (args[0].contiguous(), *args[1:]))
    try:
        yield
    finally:
        handle.remove()


def _open_ended(tokenizer: Any, prompt: str) -> list[int]:
    """Its tokens without an end-of-text that the tokenizer may close it with; never none at all."""
    ids = list(tokenizer(prompt)["input_ids"])
    if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    return ids or [tokenizer.pad_token_id]
