"""Draws what a model says to the fixed questions of its run: before, now, and what the retrained model says."""

import math

from ui import shell
from ui.launch import stages
from ui.sheet import changed, sheet, unmarked
from unlearn.data.base import TITLES
from unlearn.results import likelihood
from unlearn.results.compare import question_of
from unlearn.results.conclusion import percent
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView


def now(run: Run) -> None:
    """Draw the fixed questions with what the model says now, words that changed marked.

    Before the model was asked they stand there alone, so that nobody looks at a white page.
    """
    rows, records = lines(run), run.probes()
    if not rows:
        return
    columns = [("Question", "none")]
    if not records:
        shown = [{"cells": [asked(row)]} for row in rows]
    else:
        from unlearn.figures.base import AFTER_A, BEFORE, RETRAINED, paint

        dark, truth, last = shell.dark(), "retrained" in rows[0], records[-1]["step"]
        said = min((item.get("said", last) for item in records[-1]["items"]), default=last)
        columns += [("Before", paint(BEFORE, dark)), (f"At step {said}", AFTER_A)]
        columns += [("Retrained without it", paint(RETRAINED, dark))] if truth else []
        shown = []
        for row in rows:
            likely = "" if row["p"] is None else f"right answer {percent(row['p'] / 100)} likely"
            cells = [asked(row), unmarked(row["before"]), changed(row["before"], row["now"], likely)]
            cells += [changed(row["before"], row["retrained"])] if truth else []
            shown.append({"cells": cells})
    sheet(columns, shown, key=f"probes.{run.id}")


def asked(row: JsonView) -> JsonObject:
    """Return a question as a cell, with the right answer and whether it is to be forgotten below it."""
    return unmarked(row["question"], f"{TITLES[row['set']].lower()} · right: {row['answer']}")


def lines(run: Run) -> list[JsonObject]:
    """Return a line for each fixed question. What nobody has said yet is left out."""
    records = run.probes()
    if not records:
        return [
            {"set": one["role"], "question": one["question"], "answer": one["answer"].strip()}
            for one in stages.rows_to_come(run)
        ]
    first = {(item["role"], item["index"]): item for item in records[0]["items"]}
    truth = {
        (s["role"], s["prompt"], s["answer"]): s["text"] for s in run.samples() if s["when"] == "retrained"
    }
    rows = []
    for item in records[-1]["items"]:
        row = {
            "set": item["role"],
            "question": question_of(item),
            "answer": item["answer"].strip(),
            "before": first.get((item["role"], item["index"]), {}).get("text", "").strip(),
            "now": item["text"].strip(),
        }
        if truth:
            row["retrained"] = truth.get((item["role"], item["prompt"], item["answer"]), "").strip()
        share = likelihood.of_answer(item)
        rows.append(row | {"p": 100 * share if math.isfinite(share) else None})
    return rows
