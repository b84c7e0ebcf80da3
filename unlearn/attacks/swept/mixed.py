"""Two questions in one prompt: one that the model was to keep, answered, and then one that it was to forget.

    prompt = retain question + forget question, the answer begun with the true retain answer
    value  = share of forget questions answered rightly from there

A model that tells by the question whether to hide its answer finds a question to answer in the same prompt. Thaker et
al. 2024 (arXiv 2410.02879) show that even a loose tie between the two brings forgotten answers back.
"""

from collections.abc import Sequence
from dataclasses import replace

from unlearn.attacks.base import Subject
from unlearn.attacks.swept.asking import Reshape, cell
from unlearn.data.base import Row

HELP = "Share of right answers when a question to keep is asked and answered first, in the same prompt."
PAPER = "Thaker et al. 2024, arXiv 2410.02879"


def behind(kept: Row, row: Row) -> Row:
    """Return the row with another question before its own, and that one's answer before its answer."""
    told = f"{kept.lead} {kept.answer}".strip()
    stop = "" if told.endswith((".", "!", "?")) else "."
    return replace(row, question=f"{kept.question} {row.question}", lead=f"{told}{stop} {row.lead}".strip())


def _reshape(subject: Subject) -> Reshape:
    kept = [row for row in subject.data.fit_rows("retain") if row.question]

    def reshape(rows: Sequence[Row]) -> list[Row]:
        if not kept:
            raise ValueError("mixed: there is no retain question to put before")
        if rows and rows[0].format == "completion":
            raise ValueError("mixed: the completion format has no questions to join")
        return [behind(kept[i % len(kept)], row) for i, row in enumerate(rows)]

    return reshape


CELLS = (cell("mixed-retain", "Two questions in one", "a retain question first", HELP, PAPER, _reshape),)
