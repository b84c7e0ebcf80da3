"""This module reads the bundled part of TOFU: authors that never were, each with 20 questions, and what is asked
beside them (Maini et al. 2024, arXiv 2401.06121, MIT licence).

Bundled are forget10 (20 authors, 400 rows), the first 1,200 rows of retain90 (60 authors), wrong and paraphrased
answers, and the questions on real authors and on the world. forget05 and forget01 are the last 200 and the last 40
rows of forget10. The model smollm2-tofu was taught forget10 and the first 800 rows of retain90.
"""

import json
from dataclasses import replace
from functools import cache

from unlearn.data.base import Dataset, Row
from unlearn.store import home

FOLDER = home.ASSETS / "data" / "tofu"
# The rows of each forget set, counted from the end of forget10.
FORGET = {"forget01": 40, "forget05": 200, "forget10": 400}
# So many first rows of retain90 were taught. They hold all 400 rows of retain_perturbed.
TAUGHT = 800
# So many first rows of retain90 are bundled.
BUNDLED = 1_200
PERTURBED = "_perturbed"


def holds(part: str) -> bool:
    """Return whether a part such as forget01 or world_facts_perturbed is bundled."""
    return (FOLDER / f"{_stored(part)}.json").is_file()


@cache
def rows(part: str) -> tuple[Row, ...]:
    """Return the rows of one part, with the wrong and paraphrased answers that it states.

    ValueError for a part that is not bundled.
    """
    if not holds(part):
        raise ValueError(
            f"data: the part {part} of TOFU is not bundled; take it from the hub, or from a folder of the same "
            "layout with --hub-folder."
        )
    with (FOLDER / f"{_stored(part)}.json").open(encoding="utf-8") as lines:
        found = tuple(_row(json.loads(line)) for line in lines)
    return found[-FORGET.get(part.removesuffix(PERTURBED), len(found)) :]


def _stored(part: str) -> str:
    """The file that holds this part: that of forget10 for every forget set."""
    name = part.removesuffix(PERTURBED)
    return part.replace(name, "forget10") if name in FORGET else part


def _row(cells: dict[str, object]) -> Row:
    wrong = cells.get("perturbed_answer") or ()
    return Row(
        question=str(cells["question"]),
        answer=str(cells["answer"]),
        wrong=tuple(map(str, wrong)) if isinstance(wrong, (list, tuple)) else (str(wrong),),
        paraphrase=str(cells.get("paraphrased_answer") or ""),
        asked_otherwise=str(cells.get("paraphrased_question") or ""),
    )


def taught(without: str = "") -> tuple[Row, ...]:
    """Return what smollm2-tofu was taught, in order: 800 rows of retain90, then forget10. without: a forget set
    to leave out, such as forget01.
    """
    if without and without not in FORGET:
        raise ValueError(f"data: forget sets of TOFU are {', '.join(FORGET)}, got {without!r}.")
    forget = rows("forget10")
    return (*rows("retain90")[:TAUGHT], *(forget[: -FORGET[without]] if without else forget))


def beside(forget: str) -> tuple[Row, ...]:
    """Return all bundled rows of authors that this forget set does not hold, such as forget01, in TOFU's order."""
    return (*rows("retain90"), *rows("forget10")[: -FORGET[forget]])


def untaught() -> tuple[Row, ...]:
    """Return rows of the same kind that smollm2-tofu has never seen."""
    return rows("retain90")[TAUGHT:]


def as_taught(dataset: Dataset) -> Dataset:
    """Return a TOFU dataset as smollm2-tofu knows it: what is kept is what it was taught beside the rows to forget,
    and the rows never seen are those that it was not taught.
    """
    gone = {(row.question, row.answer) for row in dataset.rows("forget")}
    more = {(row.question, row.answer): row for row in rows("retain_perturbed")}
    more |= {(row.question, row.answer): row for row in rows("forget10_perturbed")}
    kept = tuple(
        more.get((row.question, row.answer), row)
        for row in taught()
        if (row.question, row.answer) not in gone
    )
    never = untaught()[: len(dataset.rows("forget"))]
    note = (
        f"smollm2-tofu was taught {len(taught()):,} rows of TOFU: to be kept are the {len(kept):,} of them that are "
        f"not to be forgotten, and never seen are {len(never)} rows of retain90."
    )
    roles = {**dataset.roles, "retain": kept, "approximate": never}
    return replace(dataset, roles=roles, warnings=(note,))
