"""Tests claim C2: fused unlearning layers serve a sequence of deletion requests (Chen and Yang 2023)."""

from random import Random
from typing import TYPE_CHECKING

from unlearn.claims.base import (
    Chart,
    Claim,
    Data,
    Finding,
    Interval,
    Published,
    Series,
    above,
    all_of,
    below,
    figure,
    interval,
    number,
    per_cent,
)
from unlearn.claims.reading import Rows, content, observe_answers, rows_of, scores_of
from unlearn.claims.training import bundled, settings, train
from unlearn.results.sweep_record import identity
from unlearn.store.runs import RunConfig
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.training.encoding import encode_rows

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

NAMES = {
    "before": "before",
    "chain": "one after the other",
    "fuse": "fused",
    "average": "plain average",
    "joint": "all at once",
}
TONES = {"before": "before", "chain": "forget", "fuse": "a", "average": "general", "joint": "retain"}
UTILITY = ("retain", "general", "neighbours")
ROLES = ("forget", *UTILITY)
REQUESTS = (1, 2, 3, 4, 5)
# A difference in forget probability that is smaller than this counts as none.
LEAD = 0.02


class C2(Claim):
    """The claim that fused unlearning layers serve a sequence of deletion requests."""

    key = "C2"
    title = "Fusion serves a sequence of requests"
    paper = "Chen and Yang 2023, arXiv 2310.20150"
    url = "https://arxiv.org/abs/2310.20150"
    sentence = (
        "Layers trained apart, one set a request, and fused by least squares forget at least as much as training on "
        "and on, keep more of the rest, and do better than their plain average."
    )
    experiment = (
        "Five requests with EUL at its tuned settings: one after the other in the same layers (random orders); layers "
        "trained apart from the original, then fused, or averaged; and all five at once. Read are the probability of "
        "the right answers to forget and, for the rest (retain, general, neighbours), the share reproduced."
    )
    design = "5 requests in 10 random orders; chain, fusion, average, all at once"
    confirms = (
        "Against the chain, fused layers leave at most 0.02 more probability and keep more of the rest, and they "
        "forget more than the average: each by its interval of paired differences."
    )
    refutes = (
        "One of the three does not hold: fused forget less than the chain (interval above 0.02), keep less of the "
        "rest, or forget less than the average (interval below 0)."
    )
    published = (
        Published(
            "one after the other",
            {"test": "93.0, 92.1, 91.0", "forgot": "64.6, 64.8, 64.2"},
            "T5-base, requests 2 → 1 → 3",
        ),
        Published("fused", {"test": "93.0, 92.8, 92.4", "forgot": "64.6, 62.2, 60.8"}),
    )
    elsewhere = "Five sets of layers and a chain for each of ten seeds take some seventeen hours."

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Carry out five requests in each mode and return forgetting and utility."""
        seeds = list(range(10 if full else 3))
        epochs = {} if full else {"epochs": 3}
        rows = rows_of(lab.authors, ROLES)
        runs = []
        for seed in seeds:
            config = settings("eul", seed=seed, **epochs)
            order = Random(seed).sample(REQUESTS, len(REQUESTS))
            runs.append({"mode": "before", "seed": seed} | summarise_scores(lab.reference(rows)))
            chained = lab.chain(config, order, rows)["after"]
            runs.append(
                {"mode": "chain", "seed": seed}
                | summarise_scores(chained[-1] if len(chained) > len(order) else {})
            )
            for mode, scores in joined(lab, config, rows).items():
                runs.append({"mode": mode, "seed": seed} | summarise_scores(scores))
            runs.append(
                {"mode": "joint", "seed": seed} | summarise_scores(lab.trial(config, roles=ROLES)["scores"])
            )
        count = sum(len(rows[role]) for role in UTILITY)
        return {"n": f"{len(rows['forget'])} forget and {count} other texts", "seeds": seeds, "runs": runs}

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the paired differences between the modes."""
        more = paired(data, "forget", "fuse", "chain")
        kept = paired(data, "utility", "fuse", "chain")
        ahead = paired(data, "forget", "average", "fuse")
        rest = paired(data, "utility", "fuse", "average")
        verdict = all_of(below(more, LEAD), above(kept, 0.0), above(ahead, 0.0))
        parts = "; ".join(
            f"{name} {mean_of(data, mode, 'forget').mean:.2f} and {per_cent(mean_of(data, mode, 'utility').mean)}"
            for mode, name in NAMES.items()
        )
        sentence = (
            f"After five requests, probability of the answers to forget and share of the rest kept: {parts}."
        )
        shown = (
            figure("forget probability, fused less chain", more),
            figure("rest, fused less chain", kept),
            figure("forget probability, average less fused", ahead),
            figure("rest, fused less average", rest),
        )
        return Finding(verdict, sentence, shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of the rest that is kept against the answers that are left."""
        found = []
        for mode, name in NAMES.items():
            x, y = (mean_of(data, mode, value) for value in ("forget", "utility"))
            found.append(Series(name, [x.mean], [100 * y.mean], [100 * y.low], [100 * y.high], TONES[mode]))
        return Chart(
            "Up and left is better: the answers gone, the rest still there", "probability of the answers to forget",
            "the rest reproduced, %", tuple(found), kind="points",
        )  # fmt: skip


def summarise_scores(scores: JsonView) -> JsonObject:
    """Return {"forget": probability, "utility": share of the rest reproduced}.

    A chain that broke off has neither.
    """
    if not scores:
        return {"forget": "nan", "utility": "nan"}
    kept = [scores[role]["memorised"] for role in UTILITY]
    return {"forget": scores["forget"]["probability"], "utility": sum(kept) / len(kept)}


def mean_of(data: Data, mode: str, name: str) -> Interval:
    """Return the interval over seeds of one value of a mode."""
    return interval(run[name] for run in data["runs"] if run["mode"] == mode)


def paired(data: Data, name: str, a: str, b: str) -> Interval:
    """Return the interval of mode a less mode b, paired by seed."""
    values = {mode: [number(r[name]) for r in data["runs"] if r["mode"] == mode] for mode in (a, b)}
    return interval(x - y for x, y in zip(values[a], values[b], strict=True))


def joined(lab: "Lab", config: RunConfig, rows: Rows) -> JsonObject:
    """Return {"fuse" | "average": scores} of layers trained apart, one set for each request, each from the
    original.
    """
    what = {
        "what": f"layers apart, {config.epochs} epochs, seed {config.seed}",
        "run": identity(config),
        "model": lab.hashes["before"],
        "data": lab.authors.hash(),
        "rows": content(rows),
    }

    def compute() -> JsonObject:
        from unlearn.models import fusion, layers

        states, grams, loaded = [], [], bundled()
        for request in REQUESTS:
            data, loaded = lab.authors.only_requests((request,)), bundled()
            if train(loaded, config, data).state != "done":
                return {"fuse": {}, "average": {}}
            own = encode_rows(loaded.tokenizer, data.rows("forget"), max_length=config.max_length)
            grams.append(fusion.grams_of(loaded.model, own))
            states.append({name: weight.clone() for name, weight in layers.layer_state(loaded.model).items()})
        found = {}
        for mode, state in (("fuse", fusion.fuse(states, grams)), ("average", fusion.average(states))):
            layers.set_layer_state(loaded.model, state)
            found[mode] = scores_of(observe_answers(loaded.model, loaded.tokenizer, rows))
        return found

    return lab.once(what, compute)
