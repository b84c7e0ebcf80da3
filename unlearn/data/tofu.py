"""This module reads the bundled part of TOFU: 40 authors that never were, each with 20 questions, and what is
asked beside them (Maini et al. 2024, arXiv 2401.06121, MIT licence).

Bundled are forget10 (20 authors, 400 rows), the first 800 rows of retain90 (40 authors), wrong and paraphrased answers
of both, and the questions on real authors and on the world. forget05 and forget01 are the last 200 and the last 40 rows
of forget10.
"""

import json
from collections.abc import Sequence
from functools import cache

from unlearn.data.base import Row
from unlearn.store import home

FOLDER = home.ASSETS / "data" / "tofu"
# The rows of each forget set, counted from the end of forget10.
FORGET = {"forget01": 40, "forget05": 200, "forget10": 400}
# So many first rows of retain90 are bundled. They hold all 400 rows of retain_perturbed.
RETAIN = 800


@cache
def part(name: str) -> tuple[Row, ...]:
    """Return the rows of one part, such as forget10 or world_facts_perturbed, with what belongs to each answer.

    ValueError for a part that is not bundled.
    """
    if name.partition("_")[0] in FORGET and not (FOLDER / f"{name}.json").is_file():
        short, ending, _ = name.partition("_")[0], *name.partition("_")[1:]
        return part(f"forget10{'_perturbed' if ending else ''}")[-FORGET[short] :]
    if not (FOLDER / f"{name}.json").is_file():
        raise ValueError(
            f"data: the part {name} of TOFU is not bundled; take it from the hub, or from a folder of the same "
            "layout with --hub-folder."
        )
    with (FOLDER / f"{name}.json").open(encoding="utf-8") as lines:
        return tuple(_row(json.loads(line)) for line in lines)


def _row(cells: dict[str, object]) -> Row:
    wrong = cells.get("perturbed_answer") or []
    return Row(
        question=str(cells["question"]),
        answer=str(cells["answer"]),
        wrong=tuple(map(str, wrong)) if isinstance(wrong, list) else (str(wrong),),
        paraphrase=str(cells.get("paraphrased_answer") or ""),
        asked_otherwise=str(cells.get("paraphrased_question") or ""),
    )


def taught(without: str = "") -> tuple[Row, ...]:
    """Return what smollm2-tofu was taught, in order: 800 rows of retain90 and forget10. without: a forget set
    to leave out, such as forget01.
    """
    if without and without not in FORGET:
        raise ValueError(f"data: forget sets of TOFU are {', '.join(FORGET)}, got {without!r}.")
    rows: Sequence[Row] = part("forget10")
    return (*part("retain90"), *(rows[: -FORGET[without]] if without else rows))
