"""This module writes what a model made of TOFU's four sets as the log that TOFU's own scripts read.

The layout is that of its evaluation (eval_log_aggregated.json): one object a set, in it one column a value, in it one
value an item. `unlearn tofu` reads it too. Losses are sums and means over answer tokens, in nats.
"""

import math
from collections.abc import Sequence

from unlearn.measure.evidence import ModelEvidence
from unlearn.metrics.base import Answered, Loss
from unlearn.metrics.tofu import rouge, truth
from unlearn.metrics.tofu.items import NEEDS, NORMALISED, SETS, part_of
from unlearn.metrics.tofu.probability import normalised
from unlearn.store.shapes import JsonObject

# TOFU's name for the log of each set.
FILES = {
    "retain": "eval_log.json",
    "real_authors": "eval_real_author_wo_options.json",
    "world_facts": "eval_real_world_wo_options.json",
    "forget": "eval_log_forget.json",
}


def log_of(evidence: ModelEvidence, when: str) -> JsonObject:
    """Return the log of one model of a run. ValueError where a set is not at hand."""
    if missing := [name for name in SETS if part_of(name) not in evidence.parts]:
        said = " ".join(evidence.items.notes)
        raise ValueError(f"tofu log: needs {NEEDS}; missing are {', '.join(missing)}. {said}".strip())
    return {FILES[name]: _columns(name, evidence.answered(when, part_of(name))) for name in SETS}


def _columns(name: str, items: Sequence[Answered]) -> JsonObject:
    rows: dict[str, dict[str, object]] = {}
    for at, item in enumerate(items):
        for column, value in _values(name, item).items():
            rows.setdefault(column, {})[str(at)] = value
    return rows


def _values(name: str, item: Answered) -> JsonObject:
    assert item.right is not None
    # Real authors and world facts have no paraphrase: there the answer itself stands in its place.
    again: Loss = item.paraphrased or item.right
    wrong = [loss.mean for loss in item.wrong]
    values: JsonObject = {
        "avg_gt_loss": item.right.mean,
        "gt_loss": item.right.total,
        "num_token_gt": item.right.tokens,
        "generated_text": [item.prompt, item.said, item.truth],
        "rouge1_recall": rouge.recall_of_words(item.truth, item.said),
        "rougeL_recall": rouge.recall(item.truth, item.said),
        "average_perturb_loss": wrong,
        "avg_paraphrased_loss": again.mean,
        "truth_ratio": truth.ratio(again.mean, wrong),
        "paraphrased_loss": again.total,
        "perturb_loss": [loss.total for loss in item.wrong],
        "num_token_paraphrased": again.tokens,
        "num_token_perturb": [loss.tokens for loss in item.wrong],
    }
    if name in NORMALISED:
        values["normalized_gt_loss"] = -math.log(normalised(item.right.mean, wrong))
    return values
