"""Relearning, swept: practice with every learning rate, on every kind of text, with every weight or with LoRA alone.

    for each of lr × {1/3, 1, 3} × {every weight, LoRA} × {a fifth of the forget facts, retain, general, unrelated}:
        practise 30 steps, look after 1, 2, 5, 10, 20, 30;   value = right answers at the look that tells most

The retrained model practises the same texts for as many steps, and both are read at the same look: the one at which
the unlearned model is furthest above it, of those at which original and control lie apart. A model whose answers come
back by practice on texts that do not hold them had only hidden them. lr is that of plain fine-tuning for the model's
size. Hu et al. 2024, arXiv 2406.13356; unrelated texts: Łucki et al. 2024, arXiv 2409.18025; attacks as a sweep: Che
et al. 2025, arXiv 2502.05209.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from unlearn.attacks.base import Attack, Cell, Found, Subject, exact_each, mean_or_zero, percent, read_answers
from unlearn.attacks.relearn import SHARE, cut, practise
from unlearn.attacks.swept.asking import some
from unlearn.data import authors, capitals
from unlearn.data.base import Row
from unlearn.data.prompts import in_format
from unlearn.methods.references.finetune import FineTune
from unlearn.results.verdict import APART

Source = Literal["forget", "retain", "general", "unrelated"]
Tuning = Literal["full", "lora"]
Curve = Mapping[int, Sequence[float]]

LOOKS = (0, 1, 2, 5, 10, 20, 30)
FACTORS = {1.0: "lr", 3.0: "3 × lr", 1 / 3: "lr / 3"}
TUNINGS: dict[Tuning, str] = {"full": "every weight", "lora": "LoRA"}
SOURCES: dict[Source, str] = {
    "forget": f"{SHARE:.0%} of the forget facts",
    "retain": "retain texts",
    "general": "general texts",
    "unrelated": "unrelated texts",
}
# The steps until the learning rate is full.
WARM = 3
# The most texts that are practised.
TEXTS = 200
PAPER = "Hu et al. 2024, arXiv 2406.13356; Łucki et al. 2024, arXiv 2409.18025"
HELP = "Share of exact answers that come back while other texts are practised; the look that tells most of 30 steps."


def unrelated(subject: Subject) -> list[Row]:
    """Return texts that have nothing to do with the run's: another bundled dataset, in the run's prompt format."""
    other = authors if subject.data.name == "capitals" else capitals
    first = subject.data.rows("forget")[0]
    return list(in_format(other.dataset().rows("general"), first.format, first.system))


def texts_of(subject: Subject, source: Source, role: str) -> tuple[list[Row], list[Row]]:
    """Return (rows to practise, rows of the role that are asked). ValueError where there are none."""
    asked = subject.chosen[role]
    if source == "forget":
        taught, rest = cut(asked, SHARE, subject.seed)
    else:
        rest = list(asked)
        taught = unrelated(subject) if source == "unrelated" else list(subject.data.fit_rows(source))
        taught = some(taught, TEXTS)
    if not taught or not rest:
        raise ValueError(f"relearning: there are no {SOURCES[source]} to practise")
    return taught, rest


def telling(after: Curve, control: Curve, ceiling: float) -> int:
    """Return the look at which the unlearned model is furthest above the control, the earliest such one.

    Of those at which control and original lie apart, where there are any: elsewhere nothing can be told.
    """

    def ahead(k: int) -> float:
        return mean_or_zero(after[k]) - (mean_or_zero(control[k]) if control else 0.0)

    judged = [k for k in sorted(after) if not control or ceiling - mean_or_zero(control[k]) >= APART]
    return max(judged or sorted(after), key=ahead)


def _run(subject: Subject, source: Source, tuning: Tuning, factor: float) -> Found | None:
    curves: dict[str, Curve] = {}
    taught: list[Row] = []
    lr = 0.0
    for done, side in enumerate(subject.sides()):
        taught, rest = texts_of(subject, source, side.role)
        if side.name == "before":
            subject.progress("reading before", 0.0)
            readings = read_answers(subject.model("before"), rest, subject.max_length)
            curves["before"] = {0: exact_each(readings)}
            continue
        loaded = subject.load(side.when)
        lr = factor * rate_of(loaded.size, tuning)
        curves[side.name] = practise(
            loaded, taught, rest, subject, done / 3, tuning=tuning, lr=lr, looks=LOOKS, rate=steady
        )
    ceiling = mean_or_zero(curves["before"][0])
    steps = telling(curves["after"], curves.get("control", {}), ceiling)
    values = {side: list(curve[0 if side == "before" else steps]) for side, curve in curves.items()}
    setting = f"{TUNINGS[tuning]}, lr {lr:.3g}, {SOURCES[source]}, {steps} steps"
    details = {
        "steps": steps,
        "taught": len(taught),
        "lr": lr,
        "setting": setting,
        "curves": {s: {str(k): mean_or_zero(v) for k, v in c.items()} for s, c in curves.items()},
    }
    return Found(values, _sentence(subject, setting, values, curves), curves["after"][0], details)


def _sentence(
    subject: Subject, setting: str, values: Mapping[str, Sequence[float]], curves: Mapping[str, Curve]
) -> str:
    said = f"Practice ({setting}) brings it from {percent(curves['after'][0])} to {percent(values['after'])}"
    said += f"; the original without practice {percent(values['before'])}"
    if not subject.control:
        return f"{said}; there is no control to compare with."
    whom = "the retrained model" if subject.control == "retrained" else "the original on rows it never saw"
    return f"{said}, {whom} from {percent(curves['control'][0])} to {percent(values['control'])}."


def steady(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of a step: full from the third step on, so that more steps are more practice."""
    return peak * min(1.0, step / WARM)


def rate_of(size: str, tuning: Tuning) -> float:
    """Return the learning rate of plain fine-tuning for a model of this size."""
    return FineTune.practice_lr(size, tuning)


def _cell(source: Source, tuning: Tuning, factor: float) -> Cell:
    setting = f"{TUNINGS[tuning]}, {FACTORS[factor]}, {SOURCES[source]}"
    name = f"practice-{source}-{tuning}-{FACTORS[factor].replace(' ', '').replace('×', 'x')}"
    # Where the answers' own fellows are practised, finding nothing is evidence; elsewhere it is none.
    attack = Attack(
        name,
        f"Relearning: {setting}",
        HELP,
        "both" if source == "forget" else "suppressed",
        lambda subject: _run(subject, source, tuning, factor),
        PAPER,
        "two forget facts or more",
    )
    return Cell(attack, "Relearning", setting, cost=48, random=True)


def _grid() -> tuple[Cell, ...]:
    """All cells: the kinds of text before the learning rates, every weight before LoRA."""
    return tuple(
        _cell(source, tuning, factor) for factor in FACTORS for tuning in TUNINGS for source in SOURCES
    )


# The two that tell most often come early: other forget facts, and retain texts.
FIRST, REST = _grid()[:2], _grid()[2:]
