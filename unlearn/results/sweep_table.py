"""Turns a sweep into plain rows for the command line, CSV files and JSON."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from unlearn.results import grid
from unlearn.results.compare import rounded
from unlearn.results.grid import Cell
from unlearn.results.guide import best_of, regret
from unlearn.results.sweep_record import SweepRecord
from unlearn.store.disk import json_safe
from unlearn.store.shapes import JsonObject

Row = JsonObject


def cell_rows(cells: Sequence[Cell]) -> list[Row]:
    """Return the settings of each cell, the parts of "good", its forgetting and its utility.

    A value is None where it was not scored.
    """
    return [
        {
            "method": cell.method,
            "lr": cell.lr,
            "epochs": cell.epochs,
            "batch": cell.batch_size,
            "seed": cell.seed,
            "state": "diverged" if cell.state != "done" else "done",
            "good": grid.good(cell),
            "forget PPL": none_for_nan(cell.score("after", "forget")),
            "target": none_for_nan(grid.target(cell)),
            "retrained": none_for_nan(grid.truth(cell)),
            "retain ×": none_for_nan(grid.rise(cell, "retain")),
            "general ×": none_for_nan(grid.rise(cell, "general")),
            "forgetting": none_for_nan(grid.forgetting(cell)),
            "utility": none_for_nan(grid.utility(cell)),
            "tokens": cell.tokens,
            "seconds": cell.seconds,
            "run": cell.run,
        }
        for cell in cells
    ]


def method_rows(cells: Sequence[Cell]) -> list[Row]:
    """Return the good cells, the width of the lr window and the best good setting of each method."""
    rows = []
    for window in grid.lr_window(cells):
        mine = [s for s in grid.settings(cells) if s.method == window.method and s.good == len(s.cells)]
        best = max(mine, key=lambda s: s.utility()[0], default=None)
        row: Row = {"method": window.method, "good": window.good, "cells": window.cells}
        row |= {
            "decades": window.decades,
            "from lr": none_for_nan(window.low),
            "to lr": none_for_nan(window.high),
        }
        mean, sd, n = best.utility() if best else (math.nan, math.nan, 0)
        row |= {"best utility": none_for_nan(mean), "sd": none_for_nan(sd), "seeds": n}
        rows.append(row | {"best at": f"lr {best.lr:g}, {grid.passes(best.epochs)}" if best else ""})
    return rows


def matched_rows(
    cells: Sequence[Cell], level: float, tolerance: float, metric: str = "probability"
) -> list[Row]:
    """Return each method's best setting at this forgetting, with how many settings lie there and the spread
    over seeds.
    """
    rows = []
    for one in grid.matched(cells, level, tolerance, metric):
        row: Row = {"method": one.method, "settings there": one.n}
        if one.best:
            forgot, (mean, sd, n) = one.best.forgetting(metric)[0], one.best.utility()
            row |= {
                "forgetting": none_for_nan(forgot),
                "utility": none_for_nan(mean),
                "sd": none_for_nan(sd),
                "seeds": n,
            }
            row |= {"lr": one.best.lr, "epochs": one.best.epochs, "batch": one.best.batch_size}
        rows.append(row)
    return rows


def guide_rows(record: SweepRecord) -> list[Row]:
    """Return what the guide took for each method and seed, after how many trials, and its regret."""
    cells, rows = record.cells(), []
    for method, seed, found in record.guided():
        best = best_of(cells, method, seed)
        row: Row = {"method": method, "seed": seed, "trials": len(found.trials)}
        row |= {"took lr": found.chosen.lr if found.chosen else None, "reason": found.reason}
        row |= {"utility": none_for_nan(grid.utility(found.chosen)) if found.chosen else None}
        row |= {"grid's best": none_for_nan(grid.utility(best)) if best else None}
        rows.append(row | {"regret": none_for_nan(regret(found, best)), "run": found.trials[-1].run})
    return rows


def everything(record: SweepRecord) -> Row:
    """Return the whole sweep as JSON values. Numbers that are not finite become their names."""
    cells = record.cells()
    value: Row = {"config": record.config.to_json(), "cells": cell_rows(cells), "methods": method_rows(cells)}
    value |= {"windows": [asdict(window) for window in grid.lr_window(cells)], "guide": guide_rows(record)}
    return json_safe(value)


def text(record: SweepRecord) -> str:
    """Return the tables of methods and of the guide as aligned text, and why no cell is good where none is."""
    cells = record.cells()
    tables = [aligned(rows) for rows in (method_rows(cells), guide_rows(record)) if rows]
    return "\n\n".join([*tables, *filter(None, [grid.why_none_good(cells)])])


def aligned(rows: Sequence[Mapping[str, object]]) -> str:
    """Return the rows as text in columns of equal width. Numbers have three digits."""
    names = [name for name in rows[0] if name != "run"]
    lines = [names, *([_word(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    return "\n".join(
        "  ".join(word.ljust(w) for word, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def to_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Return the rows as CSV with a header line. A cell is empty where there is no value."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def none_for_nan(value: float) -> float | None:
    """Return None for nan, because JSON and tables show a missing number as an empty place."""
    return None if math.isnan(value) else value


def _word(value: object) -> str:
    return "-" if value is None else rounded(value) if isinstance(value, float) else str(value)
