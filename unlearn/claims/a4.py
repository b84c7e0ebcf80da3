"""Tests claim A4: after unlearning, membership inference falls to chance (Yao et al. 2024)."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from unlearn.claims.base import (
    LEAST,
    Chart,
    Claim,
    Data,
    Finding,
    Published,
    Series,
    above,
    all_of,
    below,
    equal,
    figure,
    interval,
    number,
    spread,
)
from unlearn.claims.reading import Rows, Seen, content, observe_answers, scores_of
from unlearn.claims.training import bundled
from unlearn.compute.lazy import Tokenizer
from unlearn.metrics.membership.mia import DEFAULT_K, min_k
from unlearn.metrics.membership.roc import summary
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

NAMES = {
    "before": "before",
    "gd": "GA+GD, where forgetting is matched",
    "ga": "gradient ascent, at its end",
    "gd end": "GA+GD, at its end",
}
CHANCE = (0.4, 0.6)
ROLES = ("forget", "approximate")
PEOPLE, DRAWS = 10, 10
# A little more than the tuned rate, so that the target is passed on the way and not only at the end.
SETTINGS: dict[str, JsonObject] = {"gd": {"lr": 2.5e-4}, "ga": {}}
# The parts of an epoch after which the attack is tried.
EVERY = 0.5


class A4(Claim):
    """The claim that membership inference falls to chance after unlearning."""

    key = "A4"
    title = "Membership inference falls to chance"
    paper = "Yao et al. 2024, arXiv 2402.15159"
    url = "https://arxiv.org/abs/2402.15159"
    sentence = (
        "An attacker who tells training texts from never-seen ones by their least likely tokens (Min-K%) succeeds "
        "before unlearning and can only guess after it."
    )
    experiment = (
        f"Min-K% (K = 20) tells the forget texts of {PEOPLE} authors from 60 texts of the same form that the model "
        f"never saw, on {DRAWS} draws of both. How much is forgotten decides what the attacker sees, so forgetting is "
        "matched: GA+GD's AUC is read where its forget perplexity passes the original's on the never-seen texts (the "
        "target), by interpolation between readings half an epoch apart. Gradient ascent, which nothing stops, is "
        "read at its end. The AUC is the raw one: below 0.5 the forget texts stand out by being too unlikely, which "
        "is a leak too."
    )
    design = "10 draws of 10 authors and of never-seen texts; read at matched forgetting"
    confirms = (
        "Over draws, the interval before lies above 0.8 (or every draw does), that of GA+GD at matched forgetting "
        "inside [0.4, 0.6] (TOST), and that of gradient ascent below 0.5."
    )
    refutes = (
        "The interval of GA+GD lies wholly outside [0.4, 0.6]: still above (not forgotten) or below (over-forgotten, "
        "which tells members just as well). Or that of gradient ascent lies above 0.5."
    )
    published = (Published("Min-K% after unlearning", {"AUC": "close to 0.5"}, "Yi-6B, arXiv"),)

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Carry out both methods on each draw and return the AUC of Min-K% along the way."""
        seeds = list(range(DRAWS if full else 3))
        runs = []
        for seed in seeds:
            data = lab.draw(seed, PEOPLE if full else PEOPLE // 2)
            rows = lab.rows(data, ROLES)
            before = _before(lab, rows)
            for method, own in SETTINGS.items():
                config = lab.settings(method, seed=seed, **own)
                found = lab.trial(config, data, roles=ROLES, every=EVERY, watch=leak)
                path = [before] + [
                    {"ppl": point["scores"]["forget"]["ppl"], "auc": point["watched"].get("auc", "nan")}
                    for point in found["curve"]
                ]
                target = before["target"]
                runs.append({"method": method, "seed": seed, "target": target, "path": path})
        sizes = {role: len(mine) for role, mine in rows.items()}
        told = f"{sizes['forget']} forget and {sizes['approximate']} never-seen texts a draw"
        return {"n": told, "seeds": seeds, "runs": runs}

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the intervals of the AUC before and after."""
        found = readings(data)
        before, ga, gd = (interval(found[name]) for name in ("before", "ga", "gd"))
        known = len(found["before"]) >= LEAST and min(found["before"]) > 0.8
        verdict = all_of("yes" if known else above(before, 0.8), equal(gd, *CHANCE), below(ga, 0.5))
        end = interval(found["gd end"])
        short = sum(math.isnan(value) for value in found["gd"])
        passed = f"{spread(gd)} after GA+GD where its forget perplexity passes the target"
        if short:
            passed = (
                f"not to be matched after GA+GD, whose forget perplexity never passes the target on {short} of "
                f"{len(found['gd'])} draws"
            )
        sentence = (
            f"The AUC is {spread(before)} before, {passed}, {spread(end)} at the end of the same runs, and "
            f"{spread(ga)} after gradient ascent."
        )
        shown = tuple(
            figure(f"AUC, {NAMES[name]}", interval(found[name]), of="draws")
            for name in ("gd", "ga", "gd end", "before")
        )
        return Finding(verdict, sentence, shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of the AUC against how much is forgotten, one line a draw of GA+GD."""
        lines = []
        for run in data["runs"]:
            if run["method"] == "gd":
                pairs = [(number(p["ppl"]) / number(run["target"]), number(p["auc"])) for p in run["path"]]
                pairs = sorted(pair for pair in pairs if all(map(math.isfinite, pair)))
                x, y = zip(*pairs, strict=True)
                lines.append(Series(f"draw {run['seed']}", list(x), list(y), tone="forget"))
        return Chart(
            "Telling forget texts from never-seen ones on the way to forgetting (1: the target)",
            "forget perplexity ÷ target", "Min-K% AUC", tuple(lines), log_x=True, lines={"chance": 0.5},
        )  # fmt: skip


def readings(data: Data) -> dict[str, list[float]]:
    """Return {what NAMES names: its AUC, one number for each draw}. It is nan where a run never reached the target."""
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for run in data["runs"]:
        path = run["path"]
        end = number(path[-1]["auc"])
        if run["method"] == "ga":
            found["ga"].append(end)
            continue
        found["before"].append(number(path[0]["auc"]))
        found["gd end"].append(end)
        found["gd"].append(matched(path, number(run["target"])))
    return found


def matched(path: Sequence[JsonView], target: float) -> float:
    """Return the AUC where the forget perplexity first passes the target, linear in its logarithm between readings."""
    for a, b in pairwise(path):
        low, high = number(a["ppl"]), number(b["ppl"])
        if low < target <= high:
            part = math.log(target / low) / math.log(high / low) if math.isfinite(high) else 1.0
            return number(a["auc"]) + part * (number(b["auc"]) - number(a["auc"]))
    return math.nan


def leak(seen: Seen, rows: Rows, tokenizer: Tokenizer) -> JsonObject:
    """Return {"auc", "interval"} of Min-K% between the two roles. It is empty where a log-prob is not finite."""
    attack = min_k(DEFAULT_K)
    sides = [[attack(o, o.answer, o) for o in seen[role]] for role in ROLES]
    found = summary(*sides)
    return {key: found[key] for key in ("auc", "interval")} if found else {}


def _before(lab: "Lab", rows: Rows) -> JsonObject:
    """Return {"ppl", "auc", "target"} of the original model; the target is its perplexity on the never-seen texts."""

    def compute() -> JsonObject:
        loaded = bundled(world=lab.world)
        seen = observe_answers(loaded.model, loaded.tokenizer, rows)
        scores = scores_of(seen)
        return {
            "ppl": scores["forget"]["ppl"],
            "auc": leak(seen, rows, loaded.tokenizer)["auc"],
            "target": scores["approximate"]["ppl"],
        }

    what = {"what": "Min-K% before", "model": lab.hashes["before"], "rows": content(rows)}
    return lab.once(what, compute)
