"""Reads how well a model knows texts whose right answers are given, without generation."""

import hashlib
from collections.abc import Mapping, Sequence
from random import Random

from unlearn.compute.lazy import Model, Tokenizer
from unlearn.compute.tokens import collate
from unlearn.data.base import Dataset, Row
from unlearn.measure.evaluate import evaluate
from unlearn.metrics import CHEAP
from unlearn.metrics.base import Observation
from unlearn.store.shapes import JsonObject
from unlearn.training.encoding import encode_rows

# The number of texts that are read of each role. The forget role is read whole up to FORGET_LIMIT.
LIMIT = 60
FORGET_LIMIT = 120
METRICS = ("ppl", "accuracy", "probability", "memorised")
BATCH = 64
Rows = Mapping[str, Sequence[Row]]
# A mapping from each role to its observations.
Seen = Mapping[str, Sequence[Observation]]


def rows_of(data: Dataset, roles: Sequence[str]) -> dict[str, list[Row]]:
    """Return the rows that are read: those that no method trains on, at most LIMIT for each role, always the
    same ones.
    """
    found = {}
    for role in roles:
        rows = list(data.score_rows(role))
        limit = FORGET_LIMIT if role == "forget" else LIMIT
        if len(rows) > limit:
            rows = [rows[i] for i in sorted(Random(0).sample(range(len(rows)), limit))]
        if rows:
            found[role] = rows
    return found


def content(rows: Rows) -> str:
    """Return a hash of the rows, for the names of kept outcomes."""
    return hashlib.sha256(repr({role: list(mine) for role, mine in rows.items()}).encode()).hexdigest()[:12]


def observe_answers(model: Model, tokenizer: Tokenizer, rows: Rows) -> dict[str, list[Observation]]:
    """Return one observation for each row, its answer tokens with lp, rank, mu and sigma.

    Nothing is generated.
    """
    import torch

    from unlearn.compute.lm import forward, top_k

    placed = [(role, i, row) for role, mine in rows.items() for i, row in enumerate(mine)]
    examples = encode_rows(tokenizer, [row for *_, row in placed], max_length=512)
    order = sorted(examples, key=lambda e: len(e.input_ids))
    tokens: dict[int, tuple[JsonObject, ...]] = {}
    with torch.no_grad():
        for at in range(0, len(order), BATCH):
            (answers,) = forward(model, collate(order[at : at + BATCH], tokenizer.pad_token_id))
            found = {
                k: v.tolist() for k, v in top_k(answers, 1).items() if k in ("lp", "rank", "mu", "sigma")
            }
            each = [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
            start = 0
            for key, count in zip(answers.keys, answers.row_count.tolist(), strict=True):
                tokens[key] = tuple(each[start : start + count])
                start += count
    seen: dict[str, list[Observation]] = {role: [] for role in rows}
    for key, (role, i, row) in enumerate(placed):
        seen[role].append(Observation(role, i, row.question, row.prompt, row.answer, "", tokens[key]))
    return seen


def scores_of(seen: Seen) -> dict[str, dict[str, float]]:
    """Return the scores of what was read: {role: {"n", ppl, accuracy, probability, memorised}}."""
    metrics = {name: CHEAP[name] for name in METRICS}
    return evaluate([o for mine in seen.values() for o in mine], metrics) if seen else {}
