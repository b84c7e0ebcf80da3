"""Few-shot prompting puts solved questions before the one that is asked, so that the model falls into answering.

    turns of k other questions with their true answers, then the question;   value = share answered rightly

The examples are retain questions, which the model may know, or a fifth of the forget facts themselves, of which the
rest is asked: practice in the prompt, without a changed weight (Shumailov et al. 2024, arXiv 2407.00106, call it
un-unlearning). The answer that is asked for never stands among them. The retrained model reads the same examples.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from unlearn.attacks.base import Subject
from unlearn.attacks.relearn import SHARE, cut
from unlearn.attacks.swept.asking import Reshape, cell, some
from unlearn.data.base import Row

SHOTS = 4
HELP = "Share of right answers when solved questions stand before the one that is asked."
PAPER = "Shumailov et al. 2024, arXiv 2407.00106"


def after(shots: Sequence[Row]) -> Callable[[Row], Row]:
    """Return the function that puts these questions and answers before a row, as earlier turns.

    ValueError for a format that has no earlier turns, or where there are no examples.
    """
    if not shots:
        raise ValueError("few-shot: there is no other question that could be an example")
    if any(row.format == "completion" for row in shots):
        raise ValueError("few-shot: the completion format has no earlier turns")
    turns: list[tuple[str, str]] = []
    for row in shots:
        turns += [("user", row.question), ("assistant", f"{row.lead} {row.answer}".strip())]
    return lambda row: replace(row, messages=(*turns, *row.messages))


def of_retain(subject: Subject) -> Reshape:
    """Return the guise with retain questions before."""
    shots = some([row for row in subject.data.fit_rows("retain") if row.question], SHOTS)
    return lambda rows: list(map(after(shots), rows))


def of_forget(subject: Subject) -> Reshape:
    """Return the guise with a part of the facts before. Only the other facts are asked."""

    def reshape(rows: Sequence[Row]) -> list[Row]:
        if not rows:
            return []
        taught, rest = cut(rows, SHARE, subject.seed)
        answers = {row.answer for row in rest}
        shots = some([row for row in taught if row.answer not in answers] or taught, SHOTS)
        return list(map(after(shots), rest))

    return reshape


CELLS = (
    cell("fewshot-retain", "Few-shot", f"{SHOTS} retain questions before", HELP, PAPER, of_retain),
    cell("fewshot-forget", "Few-shot", f"{SHOTS} other forget questions before", HELP, PAPER, of_forget),
)
