"""Tests claim C3: each term of EUL's loss matters (Chen and Yang 2023). KL, TASK and LM are left out in turn."""

from typing import TYPE_CHECKING

from unlearn.claims.base import (
    CONFIRMED,
    REFUTED,
    UNDECIDED,
    Chart,
    Claim,
    Data,
    Figure,
    Finding,
    Published,
    Series,
    Word,
    digits,
    each_of,
    figure,
    per_cent,
    word,
)
from unlearn.claims.c1 import (
    AUTHORS,
    AUTHORS_SEEDS,
    SETTINGS,
    SIZES,
    mean_of,
    paired,
    summarise_scores,
    t5_run,
)
from unlearn.claims.training import settings
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from unlearn.claims.lab import Lab

VARIANTS = {"full": {}, "-KL": {"use_kl": False}, "-TASK": {"use_task": False}, "-LM": {"use_lm": False}}
# An effect that is smaller than this counts as none.
SMALL = {"forget": 0.01, "utility": 0.01, "forget_nll": 0.1}
# Each effect is (variant, value, direction against the full loss, words).
EFFECTS = (
    ("-KL", "forget", 1, "without KL it forgets less"),
    ("-TASK", "utility", -1, "without TASK utility falls"),
    ("-LM", "forget_nll", -1, "without LM the forget answers are less unlikely"),
)
SEEN = {CONFIRMED: "yes", REFUTED: "no", UNDECIDED: "open"}


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
        "EUL as in C1, on the T5 and on the bundled model, each with one of the three terms left out. Read are forget "
        "accuracy, accuracy on the rest, and the loss on the forget answers (the entities, in both settings)."
    )
    confirms = (
        "In both settings each effect is there: the interval of the paired difference lies on its side of 0."
    )
    refutes = (
        "In both settings some effect is not there: the interval lies on the other side of 0, or within one point "
        "(a tenth of a nat for the loss). One of each is partly; an effect on its side that is so small is undecided."
    )
    published = (
        Published(
            "full", {"test": 93.0, "retained": 100, "forgot": 65.7}, "T5-base on IMDB, 0.5 % forgotten"
        ),
        Published("without KL", {"test": 91.4, "retained": 100, "forgot": 90.8}),
        Published("without TASK", {"test": 91.0, "retained": 97.4, "forgot": 67.4}),
        Published("without LM", {"test": 92.4, "retained": 99.0, "forgot": 69.0}),
    )

    def measure(self, lab: "Lab", full: bool) -> JsonObject:
        """Carry out EUL with one term left out at a time and return the scores."""
        seeds = [0, 1, 2, 3, 4] if full else [0, 1, 2]
        runs = []
        for seed in seeds:
            for name, knobs in VARIANTS.items():
                runs.append(
                    {"setting": "t5", "seed": seed, "model": name} | t5_run(lab, seed, "eul", **knobs)
                )
        for seed in seeds[:AUTHORS_SEEDS]:
            for name, knobs in VARIANTS.items():
                run = lab.trial(settings("eul", seed=seed, **knobs), roles=AUTHORS)
                place = {"setting": "authors", "seed": seed, "model": name}
                runs.append(place | summarise_scores(run["scores"], "authors", run["seconds"]))
        return {"n": SIZES.format(len(seeds)), "seeds": seeds, "runs": runs}

    def judge(self, data: Data) -> Finding:
        """Return the verdict, which is undecided where the two settings disagree."""
        each = {setting: self.of_setting(data, setting) for setting in SETTINGS}
        verdict = each_of(*(verdict for verdict, *_ in each.values()))
        sentence = " ".join(said for _, said, _ in each.values())
        return Finding(verdict, sentence, tuple(f for *_, shown in each.values() for f in shown))

    def of_setting(self, data: Data, setting: str) -> tuple[Word, str, tuple[Figure, ...]]:
        """Return (verdict, sentence, figures) of one of the two settings."""
        words, parts, shown = [], [], []
        for variant, name, sign, said in EFFECTS:
            effect = paired(data, setting, name, variant, "full")
            yes = effect.above(0.0) if sign > 0 else effect.below(0.0)
            no = effect.below(0.0) if sign > 0 else effect.above(0.0)
            words.append(word(yes, no or effect.within(-SMALL[name], SMALL[name])))
            seen = SEEN[words[-1]]
            size = (
                f"{digits(effect.mean)} nats"
                if name == "forget_nll"
                else f"{digits(100 * effect.mean)} points"
            )
            parts.append(f"{said} ({seen}, {size})")
            shown.append(figure(f"{said}, {SETTINGS[setting]}", effect))
        verdict = word(set(words) == {CONFIRMED}, REFUTED in words)
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
