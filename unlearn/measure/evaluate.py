"""This module reads what a model says about each role's texts once, and every metric scores it.

One teacher-forced pass gives each answer token's logit, log-prob, rank and the ten likeliest tokens; one batched
greedy generation with a KV cache gives the continuation. Metrics, samples and pages all read these observations.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext

from unlearn.compute.intervals import Interval, interval
from unlearn.compute.lazy import Model, Tokenizer, chunks, continuing, lm, lora, no_grad
from unlearn.compute.tokens import Example, Whole, collate, halves
from unlearn.data.base import ROLES, Dataset, Row
from unlearn.data.prompts import render
from unlearn.measure.following import Asked, by_length, follow
from unlearn.measure.generating import generate
from unlearn.metrics import CHEAP, Metric, Observation, Score
from unlearn.store.shapes import JsonObject
from unlearn.training.encoding import encode_rows

# Texts a role, each of which keeps its sample; the forget role is scored whole up to FORGET_LIMIT.
LIMIT = 40
FORGET_LIMIT = 120
TOP = 10
# The number of tokens by which a plain text is continued.
PLAIN_TOKENS = 24


def rows_to_score(data: Dataset) -> dict[str, list[Row]]:
    """Return the rows that scores are computed on. Each role has at most LIMIT rows, and they are always the
    same.
    """
    chosen = {}
    for role in ROLES:
        rows = _at_most(FORGET_LIMIT if role == "forget" else LIMIT, data.score_rows(role))
        if rows:
            chosen[role] = rows
    return chosen


def otherwise_to_score(data: Dataset) -> list[Row]:
    """Return the forget questions in other words that forget quality reads: each fact once, as many facts as the forget
    role is scored on. Two wordings of one fact would count as two drawings of a test that wants them independent.
    """
    facts: dict[object, Row] = {}
    for at, row in enumerate(data.score_rows("paraphrase")):
        facts.setdefault((row.subject, row.attribute, row.answer) if row.subject else at, row)
    return _at_most(FORGET_LIMIT, list(facts.values()))


def _at_most(limit: int, rows: Sequence[Row]) -> list[Row]:
    """All of the rows, or so many of them, always the same ones."""
    if len(rows) <= limit:
        return list(rows)
    return [rows[i] for i in sorted(random.Random(0).sample(range(len(rows)), limit))]


def evaluate(
    observations: Sequence[Observation], metrics: dict[str, Metric] = CHEAP
) -> dict[str, dict[str, float]]:
    """Return {role: {"n": …, metric: value}} for the observations of one model. A metric that does not apply
    is absent.
    """
    return evaluate_with_intervals(observations, metrics)[0]


def evaluate_with_intervals(
    observations: Sequence[Observation], metrics: dict[str, Metric] = CHEAP
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, Interval]]]:
    """Return what evaluate() does, and {role: {metric: 95 % interval over the texts}}."""
    return evaluate_with_counts(observations, metrics)[:2]


def evaluate_with_counts(
    observations: Sequence[Observation], metrics: dict[str, Metric] = CHEAP
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, Interval]], dict[str, dict[str, int]]]:
    """Return what evaluate_with_intervals() does, and {role: {metric: the texts that it counts}} of those that apply to
    a part of the texts alone: a text without a question has no exact answer.
    """
    found = _scores(observations, metrics)
    values = {
        role: {"n": n} | {name: score.value for name, score in mine.items()}
        for role, (n, mine) in found.items()
    }
    around = {
        role: {name: interval(score.per_example, metrics[name].combine) for name, score in mine.items()}
        for role, (_, mine) in found.items()
    }
    fewer = {
        role: {name: score.n for name, score in mine.items() if score.n < n}
        for role, (n, mine) in found.items()
    }
    return values, around, {role: mine for role, mine in fewer.items() if mine}


def _scores(
    observations: Sequence[Observation], metrics: dict[str, Metric]
) -> dict[str, tuple[int, dict[str, Score]]]:
    """{role: (its texts, {metric: score})}; a metric that does not apply is absent."""
    found = {}
    for role in dict.fromkeys(o.role for o in observations):
        mine = [o for o in observations if o.role == role]
        scored = {name: metric(mine) for name, metric in metrics.items()}
        found[role] = (len(mine), {name: score for name, score in scored.items() if score is not None})
    return found


def observe(
    model: Model,
    tokenizer: Tokenizer,
    chosen: dict[str, list[Row]],
    *,
    max_length: int = 512,
    device: str = "cpu",
    progress: Callable[[float], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
    look: Callable[[lm.Answers], None] = lambda answers: None,
    continued: bool = True,
    brief: Collection[str] = (),
    scored: Callable[[], None] = lambda: None,
) -> list[Observation]:
    """Read every chosen row once and return one observation for each. check is called between batches and may
    raise to stop.

    The pass that scores an answer also serves its continuation, which is the answer itself as far as its tokens are
    the likeliest. continued: whether texts are continued at all; without it Observation.text is empty. brief: the roles
    whose tokens tell their log-prob alone and not all that score_tokens() does, for less of the head's time.
    scored: called when a batch has been scored, before it is continued.
    look: called with what the model made of each batch, its keys the places of the rows in the order of `chosen`.
    """
    rows = [(role, index, row) for role, mine in chosen.items() for index, row in enumerate(mine)]
    examples = encode_rows(tokenizer, [row for *_, row in rows], max_length=max_length)
    prompts = [prompt_of(tokenizer, row, example) for (*_, row), example in zip(rows, examples, strict=True)]
    told: dict[int, list[JsonObject]] = {}
    texts = ["" for _ in rows]
    lengths = [len(e.input_ids) + prompt[2] for e, prompt in zip(examples, prompts, strict=True)]
    done, apart = 0, []
    ours = continued and continuing.continues(model, max(lengths, default=0))
    with lora.resting(model):
        # Texts of which less is told come on top, so that they split no batch of the others in two.
        for together in by_length(model, lengths, sum(role in brief for role, *_ in rows), spent=True):
            # All are continued together, but a pass has those alone of which the same is told.
            kinds = [[i for i in together if (rows[i][0] in brief) == less] for less in (False, True)]
            picked = [i for kind in kinds for i in kind]
            batch = [examples[i] for i in picked]
            best: dict[int, list[int]] = {}
            parts: list[continuing.Kept] = []
            for part, less in _passes(examples, kinds):
                check()
                with continuing.keep() if ours else nullcontext(continuing.Kept()) as kept:
                    found, likeliest = _scored(model, tokenizer, part, device, look, not less)
                parts.append(kept)
                told, best = told | found, best | likeliest
            scored()
            progress((done + 0.4 * len(picked)) / len(rows))
            said: Sequence[str | None] = [None] * len(picked)
            if ours:
                asked = [
                    Asked(example, prompts[i][0], prompts[i][2])
                    for example, i in zip(batch, picked, strict=True)
                ]
                said = follow(model, tokenizer, continuing.joined(parts), asked, best)
            for i, text in zip(picked, said, strict=True):
                texts[i] = text or ""
            apart += [i for i, text in zip(picked, said, strict=True) if continued and text is None]
            done += len(picked)
            progress(done / len(rows))
        for picked in by_length(model, [len(prompts[i][0]) + prompts[i][2] for i in apart]):
            check()
            here = [apart[i] for i in picked]
            alone = generate(
                model, tokenizer, [prompts[i][0] for i in here], [prompts[i][2] for i in here], device
            )
            for i, own in zip(here, alone, strict=True):
                texts[i] = own
    return [
        Observation(
            *(role, index, row.question, prompt, answer, text, tuple(told[key])),
            whole=isinstance(prompt, Whole),
        )
        for key, ((role, index, row), (prompt, answer, _), text) in enumerate(
            zip(rows, prompts, texts, strict=True)
        )
    ]


def _passes(
    examples: Sequence[Example], kinds: Sequence[Sequence[int]]
) -> Iterator[tuple[list[Example], bool]]:
    """(texts of one pass, whether less is told of them) for the places of the texts of which all and less is told."""
    for less, places in enumerate(kinds):
        texts = [examples[i] for i in places]
        for part in chunks.passes([len(e.input_ids) for e in texts]) if texts else ():
            yield texts[part], bool(less)


@no_grad
def score_tokens(
    model: Model,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    device: str,
    look: Callable[[lm.Answers], None] = lambda answers: None,
) -> dict[int, list[JsonObject]]:
    """Return {key: one dict for each answer token} with token, id, logit, lp, rank, mu, sigma and top
    [[token, lp], … TOP].
    """
    return _scored(model, tokenizer, examples, device, look)[0]


@no_grad
def _scored(
    model: Model,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    device: str,
    look: Callable[[lm.Answers], None],
    detailed: bool = True,
) -> tuple[dict[int, list[JsonObject]], dict[int, list[int]]]:
    """score_tokens() and {key: the likeliest token at each answer place}. detailed: whether tokens tell it all."""
    (answers,) = lm.forward(model, collate(examples, tokenizer.pad_token_id).to(device))
    look(answers)
    if detailed:
        tokens, best = _told(tokenizer, answers)
    else:
        nll, likeliest = lm.nll_and_best(answers)
        tokens, best = [{"lp": -value} for value in nll.tolist()], likeliest.tolist()
    keys = [answers.keys[row] for row in answers.rows.tolist()]
    found: dict[int, tuple[list[JsonObject], list[int]]] = {key: ([], []) for key in answers.keys}
    for key, token, likely in zip(keys, tokens, best, strict=True):
        found[key][0].append(token)
        found[key][1].append(likely)
    return {key: mine for key, (mine, _) in found.items()}, {key: mine for key, (_, mine) in found.items()}


def _told(tokenizer: Tokenizer, answers: lm.Answers) -> tuple[list[JsonObject], list[int]]:
    """What score_tokens() tells of each answer token, and the likeliest token at its place."""
    name, labels = _names(tokenizer), answers.labels.tolist()
    values = {key: value.tolist() for key, value in lm.top_k(answers, TOP).items()}
    result: list[JsonObject] = []
    for i, label in enumerate(labels):
        top = [
            [name(t), round(lp, 4)] for t, lp in zip(values["top_id"][i], values["top_lp"][i], strict=True)
        ]
        result.append(
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
    return result, [ids[0] for ids in values["top_id"]]


def _names(tokenizer: Tokenizer) -> Callable[[int], str]:
    known: dict[int, str] = {}

    def name(token: int) -> str:
        if token not in known:
            known[token] = tokenizer.decode([token])
        return known[token]

    return name


def prompt_of(tokenizer: Tokenizer, row: Row, example: Example) -> tuple[str, str, int]:
    """Return (prompt, true continuation, tokens to generate) of a row. A plain text is continued from its
    middle.
    """
    if row.prompt:
        answer = sum(label >= 0 for label in example.labels)
        text = render(row, tokenizer)
        given = example.input_ids[: example.answer_at[0]]
        prompt = Whole.of(text.prompt, given) if text.own else text.prompt
        return prompt, text.target, min(answer + 6, 64)
    first, rest = halves(row.answer)
    return (first, rest, PLAIN_TOKENS) if first else (rest, "", PLAIN_TOKENS)
