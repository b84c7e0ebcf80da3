"""Tests claim A1: unlearning is over 10^5 times cheaper than retraining (Yao et al. 2024).

A trained token costs 6·N FLOPs, so the ratio should be (training tokens) / (tokens that unlearning reads), whatever
the model. Here that rule is put to the test: CPU seconds of the bundled model's own recipe, measured on some of its
steps, over CPU seconds of runs of very different size, against the ratio of their tokens.
"""

import math
import time
from typing import TYPE_CHECKING

from unlearn.claims.base import (
    Chart,
    Claim,
    Data,
    Finding,
    Published,
    Series,
    all_of,
    digits,
    equal,
    figure,
    interval,
    number,
    spread,
)
from unlearn.claims.training import bundled, settings
from unlearn.data.authors import training_rows
from unlearn.models import recipe as bundled_recipe
from unlearn.models.load import CATALOGUE
from unlearn.store.shapes import JsonObject, JsonView

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

CLAIMED = 1e5
# Limits of the slope of log seconds ratio over log token ratio. A slope of 1 is the rule.
SLOPE = (0.75, 1.25)
REAL = (
    # Each row: name, training tokens, tokens that one pass of the method reads, and where the two numbers
    # come from.
    ("Yi-6B, 500 arXiv papers, gradient ascent, 1 epoch", 3.1e12, 500 * 4096, "3.1 T tokens, 500 × 4,096"),
    ("Yi-6B, the same, GA+GD 1 : 1", 3.1e12, 2 * 500 * 4096, "3.1 T tokens, 2 × 500 × 4,096"),
)
RECIPE_STEPS = 20


class A1(Claim):
    """The claim that unlearning is over 10^5 times cheaper than retraining."""

    key = "A1"
    title = "Over 10⁵ times cheaper than retraining"
    paper = "Yao et al. 2024, arXiv 2402.15159"
    url = "https://arxiv.org/abs/2402.15159"
    sentence = (
        "For a model that was trained on trillions of tokens, unlearning needs less than a hundred-thousandth of the "
        "computation of training it again. For a small one, such as the bundled model, nobody claims it."
    )
    experiment = (
        "Tokens are counted and CPU seconds measured for gradient ascent, GA+GD and UnDIAL with 1 to 5 requests and "
        "1 to 8 epochs, and for steps of the bundled model's own training recipe. If cost is 6·N·tokens, seconds "
        "follow tokens with slope 1 on log axes. With that rule the ratio of the paper's model is computed."
    )
    design = "9 methods × seeds, 36 runs of 1 to 5 requests and 1 to 4 epochs"
    confirms = (
        "The 95 % interval of the slope lies in [0.75, 1.25], and the computed ratio of the paper's own model is at "
        "least 10⁵ for each of its two methods."
    )
    refutes = (
        "The slope's interval lies wholly outside [0.75, 1.25], so cost does not follow tokens; or a computed ratio is "
        "below 10⁵."
    )
    published = (Published("unlearning against retraining", {"times cheaper": "> 100,000"}, "Yi-6B"),)
    note = (
        "On the bundled model itself the ratio is small, because its training text is small: the claim is one about "
        "pre-training corpora, and does not hold for a model that was trained on little."
    )
    elsewhere = "It is about tokens, and its figures for a real model are computed from the paper's."

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Carry out runs of very different size and return their tokens and CPU seconds, with those of the
        recipe.
        """
        seeds = [0, 1, 2] if full else [0]
        sizes = [(1, 1), (1, 4), (5, 1), (5, 4)] if full else [(1, 1), (1, 4), (5, 1)]
        runs = []
        for seed in seeds:
            for method in ("ga", "gd", "undial"):
                for requests, epochs in sizes:
                    asked = {"name": "authors", "requests": list(range(1, requests + 1))}
                    asked = asked if requests < 5 else {"name": "authors"}
                    config = settings(method, data=asked, epochs=epochs, batch_size=8, seed=seed, lr=1e-5)
                    found = lab.trial(config, roles=("forget",))
                    place = {"method": method, "requests": requests, "epochs": epochs, "seed": seed}
                    runs.append(place | {k: found[k] for k in ("tokens", "seconds", "state")})
        return {
            "n": f"{len(runs)} runs of three methods",
            "seeds": seeds,
            "runs": runs,
            "recipe": recipe(lab),
            "real": [
                {"name": name, "training_tokens": t, "tokens": k, "from": said} for name, t, k, said in REAL
            ],
        }

    def judge(self, data: Data) -> Finding:
        """Return the verdict from the slope of seconds over tokens and from the computed ratios."""
        slopes = slopes_of(data)
        slope = interval(slopes)
        computed = [(r["name"], r["training_tokens"] / r["tokens"]) for r in data["real"]]
        least = min(ratio for _, ratio in computed)
        here = [ratio for _, ratio in points(data)]
        sentence = (
            f"Seconds follow tokens with slope {spread(slope)}. By that rule the paper's own model is {digits(least)} "
            f"to {digits(max(r for _, r in computed))} times cheaper to unlearn than to train; the bundled model, "
            f"whose training text is small, only {digits(min(here))} to {digits(max(here))} times (measured in CPU "
            "seconds)."
        )
        verdict = all_of(equal(slope, *SLOPE), "yes" if least >= CLAIMED else "no")
        shown = (
            figure("slope of log seconds ratio over log token ratio", slope, of="methods × seeds"),
            figure("ratio in CPU seconds, bundled model", interval(here), " ×", "runs"),
        )
        return Finding(verdict, sentence, shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of the ratio of seconds against the ratio of tokens."""
        found = []
        for method in dict.fromkeys(run["method"] for run in data["runs"]):
            mine = sorted(points(data, method))
            found.append(Series(method.upper(), [x for x, _ in mine], [y for _, y in mine]))
        xs = sorted(x for x, _ in points(data))
        found.append(Series("seconds = tokens", [xs[0], xs[-1]], [xs[0], xs[-1]], tone="before", dashed=True))
        title = (
            "The ratio of seconds follows the ratio of tokens"
            if self.judge(data).figures[0].low > 0
            else ("The ratio of seconds over the ratio of tokens")
        )
        return Chart(
            title, "training tokens ÷ tokens of the run", "CPU seconds of training ÷ of the run", tuple(found),
            kind="points", log_x=True, log_y=True,
        )  # fmt: skip


def recipe(lab: "Lab") -> JsonObject:
    """Return the cost of the bundled model's own training: all its tokens, and CPU seconds a token on its
    first steps.
    """
    what = {"what": "seconds of the training recipe", "model": lab.hashes["before"], "steps": RECIPE_STEPS}

    def compute() -> JsonView:
        import json

        loaded = bundled()
        texts = bundled_recipe.encode(training_rows(True), loaded.tokenizer)
        bundled_recipe.restart(loaded.model)
        pad = loaded.tokenizer.pad_token_id
        tokens, began = 0, 0.0
        bundled_recipe.THREADS, kept = 1, bundled_recipe.THREADS
        try:
            for done in bundled_recipe.steps(loaded.model, texts, bundled_recipe.loss_of(loaded.model, pad)):
                # The first step also pays for what is done once, so its time is not counted.
                if done.step == 1:
                    began = time.process_time()
                    continue
                tokens += done.tokens
                if done.step > RECIPE_STEPS:
                    break
        finally:
            bundled_recipe.THREADS = kept
        seconds = time.process_time() - began
        told = json.loads((CATALOGUE[loaded.base].path() / "recipe.json").read_text(encoding="utf-8"))
        return {
            "tokens": told["tokens_trained"],
            "seconds_per_token": seconds / tokens,
            "steps": RECIPE_STEPS,
        }

    return lab.once(what, compute)


def points(data: Data, method: str = "") -> list[tuple[float, float]]:
    """Return (token ratio, seconds ratio) of each run that ended."""
    made = data["recipe"]
    whole = made["tokens"] * made["seconds_per_token"]
    runs = [r for r in data["runs"] if r["state"] == "done" and (not method or r["method"] == method)]
    return [(made["tokens"] / r["tokens"], whole / number(r["seconds"])) for r in runs]


def slopes_of(data: Data) -> list[float]:
    """Return one slope for each method and seed: least squares of log seconds ratio over log token ratio."""
    found = []
    for place in dict.fromkeys((r["method"], r["seed"]) for r in data["runs"]):
        mine = {**data, "runs": [r for r in data["runs"] if (r["method"], r["seed"]) == place]}
        logs = [(math.log(x), math.log(y)) for x, y in points(mine)]
        # Every run of this method and seed failed, so there is no slope.
        if not logs:
            continue
        mean_x, mean_y = (sum(v) / len(logs) for v in zip(*logs, strict=True))
        below = sum((x - mean_x) ** 2 for x, _ in logs)
        if below > 0:
            found.append(sum((x - mean_x) * (y - mean_y) for x, y in logs) / below)
    return found
