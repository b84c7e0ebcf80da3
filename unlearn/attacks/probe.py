"""The linear probe tests whether the value is still in the state before the answer begins.

    a ridge classifier learns "which answer follows" on retain questions (which the model knows), and is asked about
    forget questions;   value = share of (right, wrong) pairs in which the right answer scores higher; chance is 0.5

Wrong are the row's wrong answers, or, where the data set has none, every other answer that the probe has learnt.
The feature is the standardised final-layer state that predicts the first answer token: what the model is about to say.
Each model has a probe of its own, trained on what it kept, so that a head turned away from the answer does not hide it.
Only answers that occur among the retain answers can be asked for. The retrained model's probe is the control. Patil et
al. 2024 (arXiv 2309.17410) read forgotten facts from states likewise; the probe is Alain and Bengio's (1610.01644).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unlearn.attacks.base import BATCH, Attack, Found, Side, Subject, beside, percent
from unlearn.compute.lazy import Tensor, lm, no_grad, torch
from unlearn.compute.tokens import collate
from unlearn.data.base import Row
from unlearn.training.encoding import encode_rows

if TYPE_CHECKING:
    import numpy as np

    from unlearn.models.load import Loaded

TRAIN = "retain"
# The largest and the smallest number of questions that a probe learns on.
MOST, LEAST = 400, 10
# The penalty of the ridge classifier on standardised states.
PENALTY = 100.0


@no_grad
def states(loaded: "Loaded", rows: Sequence[Row], max_length: int, layer: int | None = None) -> "np.ndarray":
    """Return [rows, d], the states that predict each answer's first token: the final ones, or those behind block
    `layer`, from 0.
    """
    examples = encode_rows(loaded.tokenizer, rows, max_length=loaded.fit_length(max_length))
    order = sorted(examples, key=lambda e: len(e.input_ids))
    found: dict[int, Tensor] = {}
    for at in range(0, len(order), BATCH):
        batch = collate(order[at : at + BATCH], loaded.pad_id).to(loaded.device)
        (answers,) = lm.forward(loaded.model, batch, layer=layer)
        pieces = answers.hidden.float().split(answers.row_count.tolist())
        found |= {key: piece[0] for key, piece in zip(answers.keys, pieces, strict=True)}
    return torch.stack([found[key] for key in range(len(rows))]).cpu().numpy()


def pair_share(scores: Mapping[str, float], right: str, wrong: Sequence[str]) -> float:
    """Return the share of the wrong answers that score below the right one. A tie counts half."""
    others = [scores[text] for text in wrong]
    return float(sum((scores[right] > x) + 0.5 * (scores[right] == x) for x in others) / len(others))


def askable(rows: Sequence[Row], classes: set[str]) -> list[tuple[Row, list[str]]]:
    """Return the rows whose answer the probe knows as a class, each with the wrong answers that it knows."""
    others = sorted(classes)
    found = [(row, [x for x in row.wrong or others if x in classes and x != row.answer]) for row in rows]
    return [(row, wrong) for row, wrong in found if row.prompt and row.answer in classes and wrong]


def run(subject: Subject) -> Found | None:
    """Train one probe for each side and return what the attack found.

    ValueError where too few rows can be learnt or asked.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    learn = [row for row in subject.data.rows(TRAIN) if row.prompt][:MOST]
    classes = {row.answer for row in learn}
    asked = {side.role: askable(subject.chosen[side.role], classes) for side in subject.sides()}
    if len(learn) < LEAST or len(classes) < 2:
        raise ValueError(
            f"a probe learns on {LEAST} retain questions or more with two different answers or more; there are "
            f"{len(learn)} with {len(classes)}"
        )
    if missing := [role for role, pairs in asked.items() if not pairs]:
        raise ValueError(f"no {missing[0]} question has an answer that occurs among the retain answers")

    def ask(loaded: "Loaded", side: Side) -> list[float]:
        probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=PENALTY))
        probe.fit(states(loaded, learn, subject.max_length), [row.answer for row in learn])
        pairs = asked[side.role]
        scores = probe.decision_function(states(loaded, [row for row, _ in pairs], subject.max_length))
        # With two answers the classifier gives one score, so the other is its negative.
        lines = scores if scores.ndim > 1 else [(-score, score) for score in scores]
        named = [dict(zip(probe.classes_, line, strict=True)) for line in lines]
        return [pair_share(n, row.answer, wrong) for n, (row, wrong) in zip(named, pairs, strict=True)]

    values = subject.each("forget", ask)
    finding = (
        f"From its final states a linear probe picks the right answer in {percent(values['after'])} of pairs "
        f"(chance 50 %); {beside(subject, values)}."
    )
    return Found(values, finding, details={"learned_on": len(learn), "answers": len(classes), "chance": 0.5})


ATTACK = Attack(
    name="probe",
    title="Linear probe",
    help="Share of (right, wrong) answer pairs that a linear probe on final states orders rightly; chance is 0.5.",
    tells="both",
    run=run,
    paper="Alain and Bengio 2016, arXiv 1610.01644",
    needs=f"{LEAST} retain questions, and forget answers that occur among theirs",
)
