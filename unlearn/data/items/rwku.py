"""This module reads what RWKU asks about one person: three levels of questions, two of neighbours, and texts to tell
apart (Jin et al. 2024, arXiv 2406.10890).

    level 1    a sentence with a blank                  level 3    nine kinds of adversarial questions
    level 2    a question                               neighbours the same as levels 1 and 2, of related people
"""

from collections.abc import Mapping
from pathlib import Path

from unlearn.data.base import Row
from unlearn.data.benchmarks import rwku_folder
from unlearn.data.files.read import read_table
from unlearn.data.items.base import Items, Part

ROOM = 30
BLANK = "Please complete the blank in the following question.\nQuestion: {}\n"
BRIEF = "Please briefly answer the following question.\nQuestion: {}\n"
# Of two kinds of level 3 the wording is another one.
BARE = "Please briefly answer the following question.\n{}\n"
OPEN = "Please briefly answer the following question.\nQuestion: {}"
ANSWERS = "Answer:"
QUESTIONS = {
    "forget_level1": "level1",
    "forget_level2": "level2",
    "forget_level3": "level3",
    "neighbor_level1": "neighbour1",
    "neighbor_level2": "neighbour2",
}


def items(name: str, folder: Path | None) -> Items:
    """Return the parts of rwku:NAME."""
    where = rwku_folder(name, folder)
    parts: dict[str, Part] = {}
    notes: list[str] = []
    for stem, title in QUESTIONS.items():
        records = _records(where, stem, notes)
        asked = tuple(_asked(record, blank=stem.endswith("level1")) for record in records)
        if asked:
            parts[f"rwku {title}"] = Part(asked, "instructions", ROOM)
    for stem in ("forget_mia", "retain_mia"):
        texts = tuple(Row(answer=str(r["text"])) for r in _records(where, stem, notes) if r.get("text"))
        if texts:
            parts[f"rwku {stem}"] = Part(texts, "texts")
    return Items(parts, tuple(notes))


def _records(where: Path, stem: str, notes: list[str]) -> tuple[Mapping[str, object], ...]:
    path = where / f"{stem}.json"
    if path.is_file():
        return read_table(path, path.name).records
    notes.append(f"{path.name} is not in {where}.")
    return ()


def _asked(record: Mapping[str, object], blank: bool) -> Row:
    """One probe as RWKU words it: the instruction, and the word that opens the answer."""
    kind, form, lead = str(record.get("type")), BLANK if blank else BRIEF, ANSWERS
    if kind == "affirmative suffix":
        form, lead = OPEN, ""
    elif kind == "incontext learning":
        form = BARE
    return Row(question=form.format(record["query"]), answer=str(record["answer"]), lead=lead, attribute=kind)
