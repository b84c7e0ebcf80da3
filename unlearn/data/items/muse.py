"""This module reads what MUSE asks a model: memorised openings, questions after examples, and texts to tell apart (Shi
et al. 2024, arXiv 2407.06460).

    verbmem    an opening is continued by 128 tokens
    knowmem    a question after ten or fewer answered ones is continued by 32 tokens
    privleak   texts that the model was trained on (forget) and others that it never saw (holdout)
"""

from collections.abc import Sequence
from pathlib import Path

from unlearn.data.base import Row
from unlearn.data.benchmarks import MUSE_HUB, source_for
from unlearn.data.items.base import Items, Part

VERBATIM_ROOM, QUESTION_ROOM = 128, 32


def items(name: str, folder: Path | None) -> Items:
    """Return the parts of muse-news or muse-books."""
    source = source_for(name, folder, MUSE_HUB[name.partition("-")[2]])
    parts: dict[str, Part] = {}
    opened = source.records("verbmem", "forget", ("prompt", "gt"), "verbatim memorisation")
    if opened:
        rows = tuple(Row(lead=str(cell["prompt"]), answer=str(cell["gt"])) for cell in opened)
        parts["muse verbmem"] = Part(rows, "openings", VERBATIM_ROOM)
    for side in ("forget", "retain"):
        asked = source.maybe("knowmem", f"knowledge of {side}", f"{side}_qa")
        shown = source.maybe("knowmem", f"examples of {side}", f"{side}_qa_icl") if asked else ()
        if asked:
            parts[f"muse knowmem_{side}"] = Part(_after(shown, asked), "openings", QUESTION_ROOM)
    for side in ("forget", "holdout"):
        if texts := source.maybe("privleak", f"privacy leakage ({side})", side):
            parts[f"muse privleak_{side}"] = Part(texts, "texts")
    return Items(parts, tuple(source.notes))


def _after(shown: Sequence[Row], asked: Sequence[Row]) -> tuple[Row, ...]:
    """Each question behind the answered ones, word for word as MUSE puts them."""
    above = "".join(f"Question: {row.question}\nAnswer: {row.answer}\n\n" for row in shown)
    return tuple(Row(lead=f"{above}Question: {row.question}\nAnswer: ", answer=row.answer) for row in asked)
