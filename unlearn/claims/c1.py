"""Tests claim C1: EUL forgets most at kept utility, in a fraction of the time (Chen and Yang 2023).

C3 uses its experiment too.

Two settings: the paper's own, a T5 that classifies reviews (small, made here, with its exact retrain each time), and
the bundled model with its one exact retrain.
"""

import copy
import math
import time
from typing import TYPE_CHECKING

from unlearn.claims.a1 import recipe
from unlearn.claims.base import (
    Chart,
    Claim,
    Data,
    Figure,
    Finding,
    Interval,
    Published,
    Series,
    Word,
    above,
    all_of,
    below,
    digits,
    each_of,
    figure,
    interval,
    number,
    per_cent,
)
from unlearn.claims.reading import content, observe_answers, rows_of, scores_of
from unlearn.claims.training import settings, train_on
from unlearn.claims.worlds import as_rows, learned, reviews, small_t5
from unlearn.methods import method_named
from unlearn.store.runs import RunConfig
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab
    from unlearn.models.load import Loaded

SETTINGS = {"t5": "T5 on reviews", "authors": "the bundled model"}
NAMES = {
    "original": "original",
    "retrain": "retrained",
    "finetune": "fine-tuned on the rest",
    "gd": "reverse gradient",
    "eul": "EUL",
}
TONES = {"original": "before", "retrain": "retrained", "finetune": "retain", "gd": "b", "eul": "a"}
# The bundled model has fewer seeds, because its runs cost more.
AUTHORS_SEEDS = 3
SEEDS = 12
SIZES = "T5, {} seeds: 48 forget and 192 other reviews; bundled model, seeds 0 to 2: 90 forget and 180 other texts"
POINT, THIRD = 0.01, 1 / 3
UTILITY = {"t5": ("test", "retain"), "authors": ("retain", "general", "neighbours")}
T5_TRAINING = {"lr": 3e-3, "epochs": 40, "batch_size": 48}
T5_EUL = {"layer_share": 0.2, "retain_per_forget": 4.0, "lm_weight": 1.0}
T5_RUNS: dict[str, JsonObject] = {
    "finetune": {"lr": 1e-3, "epochs": 40, "batch_size": 48},
    "gd": {"lr": 1e-3, "epochs": 10, "batch_size": 16},
    "eul": {"lr": 1e-2, "epochs": 20, "batch_size": 8},
}


class C1(Claim):
    """The claim that EUL forgets most at kept utility, in a fraction of the time."""

    key = "C1"
    title = "EUL forgets most, keeps utility, and is quick"
    paper = "Chen and Yang 2023, arXiv 2310.20150"
    url = "https://arxiv.org/abs/2310.20150"
    sentence = (
        "Unlearning layers forget more than retraining, fine-tuning and reverse gradient do, keep the accuracy on the "
        "rest within a point, and take a fraction of retraining's time."
    )
    experiment = (
        "A small T5 learns film reviews of ten persons. Seven in ten can be judged by their words, the others only "
        "be known by heart; all reviews of two persons are to be forgotten, with reviews, a model and a retrain of "
        f"its own for each of {SEEDS} seeds. The same on the bundled model with its exact retrain. Read are the share "
        "of right answers on the forget texts and on the rest, and CPU seconds of training (the bundled recipe's are "
        "computed from its tokens)."
    )
    design = "T5: 12 seeds with reviews, model and retrain of their own; bundled model: 3 seeds"
    confirms = (
        "In both settings: EUL's loss of accuracy on the rest is under one point, its forget accuracy is below that of "
        "retraining, fine-tuning and reverse gradient, and it takes under a third of retraining's time; each by its "
        "interval of paired differences."
    )
    refutes = (
        "In both settings one of these does not hold: its interval lies wholly on the other side of its limit. "
        "Confirmed in one and refuted in the other is partly. Forget accuracy that cannot be told from another's "
        "decides nothing."
    )
    published = (
        Published(
            "original",
            {"test": 93.2, "retained": 100, "forgot": 100, "MLM loss": 1.46, "s": ""},
            "T5-base on IMDB, 0.5 % forgotten",
        ),
        Published("retrained", {"test": 92.8, "retained": 100, "forgot": 92.5, "MLM loss": 1.52, "s": 6685}),
        Published("fine-tuned", {"test": 93.0, "retained": 100, "forgot": 96.5, "MLM loss": 1.47, "s": 4200}),
        Published("SISA", {"test": 92.4, "retained": 98.2, "forgot": 91.5, "MLM loss": 1.54, "s": 1580}),
        Published(
            "reverse gradient", {"test": 92.0, "retained": 97.3, "forgot": 68.6, "MLM loss": 1.56, "s": 4400}
        ),
        Published("EUL", {"test": 93.0, "retained": 100, "forgot": 65.7, "MLM loss": 1.78, "s": 1200}),
    )
    note = (
        "Below the retrained model is over-forgetting: a model that never saw the texts would not do so badly on them, "
        "and an attacker can tell. Where EUL equals the retrained model the claim is refuted, not the method: "
        "equal is the ideal."
    )
    elsewhere = "Its own setting is a classifier; a retrain of another seed takes over an hour here."

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Train and unlearn in both settings and return the scores and CPU seconds of each model."""
        seeds = list(range(SEEDS if full else 3))
        runs = []
        for seed in seeds:
            runs += [{"setting": "t5", "seed": seed, "model": m} | told for m, told in t5(lab, seed).items()]
        for seed in seeds[:AUTHORS_SEEDS]:
            runs += [
                {"setting": "authors", "seed": seed, "model": m} | told
                for m, told in authors(lab, seed).items()
            ]
        return {"n": SIZES.format(len(seeds)), "seeds": seeds, "runs": runs}

    def judge(self, data: Data) -> Finding:
        """Return the verdict, which is undecided where the two settings disagree."""
        each = {setting: self.of_setting(data, setting) for setting in SETTINGS}
        verdict = each_of(*(verdict for verdict, *_ in each.values()))
        sentence = " ".join(said for _, said, _ in each.values())
        return Finding(verdict, sentence, tuple(f for *_, shown in each.values() for f in shown))

    def of_setting(self, data: Data, setting: str) -> tuple[Word, str, tuple[Figure, ...]]:
        """Return (verdict, sentence, figures) of one of the two settings."""
        loss = paired(data, setting, "utility", "original", "eul")
        ahead = {m: paired(data, setting, "forget", m, "eul") for m in ("retrain", "finetune", "gd")}
        share = interval(
            number(e["seconds"]) / number(r["seconds"])
            for e, r in zip(of(data, setting, "eul"), of(data, setting, "retrain"), strict=True)
        )
        verdict = all_of(
            below(loss, POINT), *(above(found, 0.0) for found in ahead.values()), below(share, THIRD)
        )
        eul, retrain = (mean_of(data, setting, m, "forget") for m in ("eul", "retrain"))
        change = f"{'loses' if loss.mean > 0 else 'gains'} {digits(100 * abs(loss.mean))} points"
        side = "below" if eul.mean < retrain.mean else "above"
        sentence = (
            f"On {SETTINGS[setting]} ({verdict}) EUL answers {per_cent(eul.mean)} of the forget texts rightly, {side} "
            f"the retrained model's {per_cent(retrain.mean)}, {change} on the rest, and "
            f"takes {per_cent(share.mean)} of retraining's time."
        )
        shown = (
            figure(f"forget accuracy of EUL, {SETTINGS[setting]}", eul),
            figure(f"retrained less EUL, {SETTINGS[setting]}", ahead["retrain"]),
            figure(f"loss on the rest, {SETTINGS[setting]}", loss),
            figure(f"time over retraining's, {SETTINGS[setting]}", share),
        )
        return verdict, sentence, shown

    def chart(self, data: Data) -> Chart:
        """Return a chart of the right answers of each model on the texts to forget."""
        found = []
        for model, name in NAMES.items():
            each = [mean_of(data, setting, model, "forget") for setting in SETTINGS]
            found.append(
                Series(
                    name, list(SETTINGS.values()), [100 * f.mean for f in each], [100 * f.low for f in each],
                    [100 * f.high for f in each], TONES[model],
                )
            )  # fmt: skip
        return Chart(
            "Right answers on the texts to forget; below retrained is over-forgetting", "", "right, %", tuple(found),
            kind="bar",
        )  # fmt: skip


def of(data: Data, setting: str, model: str) -> list[JsonView]:
    """Return the runs of a model in one setting, in the order of seeds."""
    return [run for run in data["runs"] if (run["setting"], run["model"]) == (setting, model)]


def mean_of(data: Data, setting: str, model: str, name: str) -> Interval:
    """Return the interval over seeds of one value of a model."""
    return interval(run[name] for run in of(data, setting, model))


def paired(data: Data, setting: str, name: str, a: str, b: str) -> Interval:
    """Return the interval of model a less model b, paired by seed."""
    pairs = zip(of(data, setting, a), of(data, setting, b), strict=True)
    return interval(number(x[name]) - number(y[name]) for x, y in pairs)


def summarise_scores(scores: JsonView, setting: str, seconds: float) -> dict[str, float]:
    """Return {"forget", "forget_nll", "utility", "seconds"} from {role: scores}.

    A run without scores diverged.
    """
    if not scores:
        return {"forget": math.nan, "forget_nll": math.nan, "utility": math.nan, "seconds": seconds}
    kept = [scores[role]["memorised"] for role in UTILITY[setting] if role in scores]
    return {
        "forget": scores["forget"]["memorised"],
        "forget_nll": math.log(number(scores["forget"]["ppl"])),
        "utility": sum(kept) / len(kept),
        "seconds": seconds,
    }


# -- the bundled model -------------------------------------------------------------------------------------------


def authors(lab: "Lab", seed: int) -> dict[str, dict[str, float]]:
    """Return {model: its scores} on the bundled model. Original and retrain are the same for every seed."""
    rows = rows_of(lab.authors, AUTHORS)
    made = recipe(lab)
    whole = made["tokens"] * made["seconds_per_token"]
    found = {
        "original": summarise_scores(lab.reference(rows), "authors", 0.0),
        "retrain": summarise_scores(lab.reference(rows, "retrained"), "authors", whole),
    }
    for method in ("finetune", "gd", "eul"):
        run = lab.trial(settings(method, seed=seed), roles=AUTHORS)
        found[method] = summarise_scores(run["scores"], "authors", run["seconds"])
    return found


AUTHORS = ("forget", "retain", "general", "neighbours")


# -- T5 ----------------------------------------------------------------------------------------------------------


def t5(lab: "Lab", seed: int) -> dict[str, dict[str, float]]:
    """Return {model: its scores} in one world of reviews, which has its own original, retrain and unlearned
    models.
    """
    return {name: t5_run(lab, seed, name) for name in NAMES}


def t5_run(lab: "Lab", seed: int, name: str, **knobs: object) -> dict[str, float]:
    """Return the scores of one model in the world of this seed.

    knobs are the method's, beside those set for all.
    """
    parts = {role: as_rows(some) for role, some in reviews(seed).items()}
    what = {
        "what": f"T5, {name} {knobs or ''}, seed {seed}",
        "knobs": knobs,
        "settings": repr((T5_TRAINING, T5_EUL, T5_RUNS.get(name))),
        "texts": content(parts),
    }

    def compute() -> JsonObject:
        loaded, seconds = t5_trained(parts, seed, name, knobs)
        return summarise_scores(
            scores_of(observe_answers(loaded.model, loaded.tokenizer, parts)), "t5", seconds
        )

    return lab.once(what, compute)


# The original model of the last world is kept for the next run in the same world.
_ORIGINALS: "dict[int, Loaded]" = {}


def t5_trained(parts: JsonView, seed: int, name: str, knobs: JsonView) -> "tuple[Loaded, float]":
    """Return (the model, CPU seconds of its training)."""
    began = time.process_time()
    if name == "retrain":
        return learned(small_t5(seed), parts["retain"], seed=seed, **T5_TRAINING), time.process_time() - began
    if seed not in _ORIGINALS:
        _ORIGINALS.clear()
        _ORIGINALS[seed] = learned(
            small_t5(seed), [*parts["retain"], *parts["forget"]], seed=seed, **T5_TRAINING
        )
    loaded = copy.deepcopy(_ORIGINALS[seed])
    if name == "original":
        return loaded, time.process_time() - began
    cls = method_named(name)
    method = cls.from_knobs({**(T5_EUL if "layers" in cls.tunings else {}), **knobs})
    config = RunConfig(
        model="made here",
        data={},
        method=name,
        tuning=method.tuning_for("full"),
        seed=seed,
        max_length=64,
        **T5_RUNS[name],
    )
    return loaded, train_on(loaded, config, method, parts["forget"], parts["retain"]).seconds
