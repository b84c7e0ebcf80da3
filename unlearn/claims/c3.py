"""Tests claim C3: each term of EUL's loss matters (Chen and Yang 2023). KL, TASK and LM are left out in turn."""

from typing import TYPE_CHECKING

from unlearn.claims.base import (
    Answer,
    Chart,
    Claim,
    Data,
    Figure,
    Finding,
    Interval,
    Published,
    Series,
    Word,
    all_of,
    digits,
    each_of,
    figure,
    per_cent,
    there,
)
from unlearn.claims.c1 import (
    AUTHORS,
    SEEDS,
    SETTINGS,
    mean_of,
    paired,
    summarise_scores,
    t5_run,
)
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

VARIANTS = {"full": {}, "-KL": {"use_kl": False}, "-TASK": {"use_task": False}, "-LM": {"use_lm": False}}
PEOPLE, DRAWS = 2, 10
# An effect that is smaller than this does not matter.
SMALL = {"forget": 0.01, "utility": 0.01, "forget_nll": 0.1}
# Each effect is (variant, value, direction against the full loss, words).
EFFECTS = (
    ("-KL", "forget", 1, "without KL it forgets less"),
    ("-TASK", "utility", -1, "without TASK utility falls"),
    ("-LM", "forget_nll", -1, "without LM the forget answers are less unlikely"),
)


class C3(Claim):
    """The claim that each term of EUL's loss matters."""

    key = "C3"
    title = "Each term of EUL's loss matters"
    paper = "Chen and Yang 2023, arXiv 2310.20150"
    url = "https://arxiv.org/abs/2310.20150"
    sentence = (
        "Without the KL term EUL forgets less, without the task term it loses accuracy on the rest, and without the "
        "language term the masked entities come back."
    )
    experiment = (
        f"EUL on the T5 of C1, {SEEDS} seeds with reviews and a model of their own, and on the bundled model, {DRAWS} "
        f"draws of {PEOPLE} authors to forget; each with one of the three terms left out. Read are forget accuracy, "
        "accuracy on the rest, and the loss on the forget answers (the entities, in both settings)."
    )
    design = "T5: 12 seeds; bundled model: 10 draws of 2 authors; each term left out"
    confirms = (
        "In both settings each of the three effects is there: the interval of the paired difference lies on its side "
        "of 0. All three must, so none is corrected."
    )
    refutes = (
        "In both settings some effect is not there: its interval lies wholly under one point (a tenth of a nat for the "
        "loss) on its side, or on the other. Confirmed in one setting and refuted in the other is partly, and so is an "
        "effect that is there but wholly under that size."
    )
    published = (
        Published(
            "full", {"test": 93.0, "retained": 100, "forgot": 65.7}, "T5-base on IMDB, 0.5 % forgotten"
        ),
        Published("without KL", {"test": 91.4, "retained": 100, "forgot": 90.8}),
        Published("without TASK", {"test": 91.0, "retained": 97.4, "forgot": 67.4}),
        Published("without LM", {"test": 92.4, "retained": 99.0, "forgot": 69.0}),
    )
    elsewhere = "Its own setting is a classifier, as for C1."

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Carry out EUL with one term left out at a time and return the scores."""
        seeds = list(range(SEEDS if full else 3))
        runs = []
        for seed in seeds:
            for name, knobs in VARIANTS.items():
                runs.append(
                    {"setting": "t5", "seed": seed, "model": name} | t5_run(lab, seed, "eul", **knobs)
                )
        for seed in seeds[:DRAWS]:
            data = lab.draw(seed, PEOPLE)
            for name, knobs in VARIANTS.items():
                run = lab.trial(lab.settings("eul", seed=seed, **knobs), data, roles=AUTHORS)
                place = {"setting": "authors", "seed": seed, "model": name}
                runs.append(place | summarise_scores(run["scores"], "authors", run["seconds"]))
        told = f"T5, {len(seeds)} seeds: 48 forget and 192 other reviews; bundled model, {len(seeds[:DRAWS])} draws: "
        return {"n": f"{told}18 forget texts, 60 to keep and 60 general ones", "seeds": seeds, "runs": runs}

    def judge(self, data: Data) -> Finding:
        """Return the verdict, which is partly where the two settings disagree."""
        each = {setting: self.of_setting(data, setting) for setting in SETTINGS}
        verdict = each_of(*(verdict for verdict, *_ in each.values()))
        sentence = " ".join(said for _, said, _ in each.values())
        return Finding(verdict, sentence, tuple(f for *_, shown in each.values() for f in shown))

    def of_setting(self, data: Data, setting: str) -> tuple[Word, str, tuple[Figure, ...]]:
        """Return (verdict, sentence, figures) of one of the two settings."""
        answers, parts, shown = list[Answer](), [], []
        for variant, name, sign, said in EFFECTS:
            effect = paired(data, setting, name, variant, "full")
            answers.append(there(turned(effect, sign), SMALL[name]))
            seen = answers[-1]
            size = (
                f"{digits(effect.mean)} nats"
                if name == "forget_nll"
                else f"{digits(100 * effect.mean)} points"
            )
            parts.append(f"{said} ({seen}, {size})")
            shown.append(figure(f"{said}, {SETTINGS[setting]}", effect))
        verdict = all_of(*answers)
        whole = mean_of(data, setting, "full", "forget")
        sentence = (
            f"On {SETTINGS[setting]} ({verdict}), where the full loss leaves {per_cent(whole.mean)} right: "
            f"{'; '.join(parts)}."
        )
        return verdict, sentence, tuple(shown)

    def chart(self, data: Data) -> Chart:
        """Return a chart of the right answers on the texts to forget, with one term left out."""
        found = []
        for variant, tone in zip(VARIANTS, ("a", "forget", "retain", "b"), strict=True):
            each = [mean_of(data, setting, variant, "forget") for setting in SETTINGS]
            found.append(
                Series(
                    variant, list(SETTINGS.values()), [100 * f.mean for f in each], [100 * f.low for f in each],
                    [100 * f.high for f in each], tone,
                )
            )  # fmt: skip
        title = "Right answers on the texts to forget, with one term of the loss left out"
        return Chart(title, "", "right, %", tuple(found), kind="bar")


def turned(effect: Interval, sign: int) -> Interval:
    """Return the effect with its claimed direction upwards."""
    if sign > 0:
        return effect
    return Interval(-effect.mean, -effect.high, -effect.low, effect.sd, effect.n)
