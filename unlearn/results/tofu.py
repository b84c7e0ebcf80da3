"""Computes TOFU's own numbers from an evaluation log: model utility and forget quality.

Maini et al. 2024, arXiv 2401.06121, §2.2. Two layouts of a log are read: TOFU's aggregated one and
OpenUnlearning's TOFU_EVAL.json. All values are per row; S is a mean loss a token, in nats:

    probability   exp(-S_right) on retain and forget;  p_right / (p_right + Σ p_wrong) on real authors and world facts
    truth ratio   r = exp(-mean_k S_wrong_k) / exp(-S_paraphrased);  max(0, 1 - r), and min(r, 1/r) on forget
    utility       harmonic mean of probability, ROUGE-L recall and truth ratio on the three sets that must stay
    quality       p-value of the two-sample Kolmogorov-Smirnov test of r on forget against the retrained model's r

OpenUnlearning's log holds r itself, which is taken as written.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearn.metrics.tofu import probability, truth
from unlearn.metrics.tofu.items import NORMALISED, SETS, Answers, Log
from unlearn.metrics.tofu.quality import quality as tested
from unlearn.metrics.tofu.utility import utility
from unlearn.store.shapes import JsonObject, JsonView

# The name under which TOFU's own evaluation writes its log.
LOG_NAME = "eval_log_aggregated.json"
MAX_BYTES = 256 * 2**20
# The files that TOFU's script joins, and the letters that OpenUnlearning's metrics begin with.
TOFU_FILES = {
    "eval_log.json": "retain",
    "eval_real_author_wo_options.json": "real_authors",
    "eval_real_world_wo_options.json": "world_facts",
    "eval_log_forget.json": "forget",
}
OPEN_NAMES = {"retain": "retain", "ra": "real_authors", "wf": "world_facts", "forget": "forget"}


def summary(log: Log, retain: Log | None = None) -> JsonObject:
    """Return what `unlearn tofu --json` prints of a log.

    retain is the retrained model's log, for the forget quality.

    model_utility is None where one of its nine parts is missing. ValueError where a forget set holds no truth ratio.
    """
    parts = {name: log.get(name, Answers()).parts(name) for name in SETS}
    found: JsonObject = {
        "model_utility": utility(log),
        "forget_quality": None,
        "ks": None,
        "parts": parts,
        "n": {name: len(log[name].ratio or log[name].probability) for name in SETS if name in log},
    }
    if retain is not None:
        found |= quality(log, retain)
    return found


def quality(log: Log, retain: Log) -> JsonObject:
    """Return the forget quality with the test's D and both numbers of rows, because a p-value alone does not
    show the power of its test.
    """
    sides = [side.get("forget", Answers()).ratio for side in (log, retain)]
    for side, whose in zip(sides, ("the log", "the retrained model's log"), strict=True):
        if not side:
            raise ValueError(f"tofu: {whose} holds no truth ratio of the forget set; evaluate forget10 too.")
    return tested(*sides)


def read_log(path: Path) -> Log:
    """Read the log in a file. ValueError naming file, place and rule where it is no log of either layout."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; give the log in it, such as {path / LOG_NAME}.")
    if not path.exists():
        raise ValueError(f"{path}: there is no such file; give a log that TOFU wrote, such as {LOG_NAME}.")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"{path}: a log may have {MAX_BYTES >> 20} MiB, this file has {size >> 20}.")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error}). Give a log that TOFU wrote.") from None
    return parse(value, str(path))


def parse(value: Any, where: str = "log") -> Log:
    """Return the log that JSON's plain values hold.

    Its keys tell which layout it has. ValueError as in read_log().
    """
    names = set(value) if isinstance(value, Mapping) else set()
    if names & TOFU_FILES.keys():
        return {
            TOFU_FILES[name]: _of_tofu(value[name], TOFU_FILES[name], f"{where}, {name}")
            for name in sorted(names & TOFU_FILES.keys())
        }
    if any(_open_place(name) for name in names):
        return _of_open(value, where)
    raise ValueError(
        f"{where}: holds neither {', '.join(TOFU_FILES)} (TOFU's aggregated log) nor retain_Q_A_Prob and its like "
        f"(OpenUnlearning's TOFU_EVAL.json); it has {', '.join(sorted(map(str, names))[:5]) or 'no keys'}. "
        "Give one of these files."
    )


def _of_tofu(block: object, name: str, where: str) -> Answers:
    right, said = (_column(block, key, where) for key in ("avg_gt_loss", "rougeL_recall"))
    wrong = _column(block, "average_perturb_loss", where, many=True)
    paraphrased = _column(block, "avg_paraphrased_loss", where)
    p = {row: probability.plain(loss) for row, loss in right.items()}
    if name in NORMALISED:
        _same_rows(where, right, wrong)
        p = {row: probability.normalised(loss, wrong[row]) for row, loss in right.items()}
    _same_rows(where, paraphrased, wrong)
    ratio = tuple(truth.ratio(loss, wrong[row]) for row, loss in paraphrased.items())
    return Answers(tuple(p.values()), tuple(said.values()), ratio)


def _of_open(value: JsonView, where: str) -> Log:
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    for key in value:
        if place := _open_place(key):
            name, field, inner = place
            rows = value[key].get("value_by_index") if isinstance(value[key], Mapping) else None
            if rows is None:
                raise ValueError(f"{where}, {key}: has no value_by_index; give the whole TOFU_EVAL.json.")
            found.setdefault(name, {})[field] = tuple(_inner(rows, inner, f"{where}, {key}"))
    return {name: Answers(**columns) for name, columns in found.items()}


def _open_place(key: str) -> tuple[str, str, str] | None:
    """Return (set, field of Answers, name inside a row) of a metric of OpenUnlearning's.

    It is None for a metric that is not read.
    """
    prefix, _, metric = key.partition("_")
    name, metric = OPEN_NAMES.get(prefix, ""), metric.lower()
    normal = "q_a_prob_normalised" if name in NORMALISED else "q_a_prob"
    places = {
        normal: ("probability", "prob"),
        "q_a_rouge": ("rouge", "rougeL_recall"),
        "truth_ratio": ("ratio", "score"),
    }
    return (name, *places[metric]) if name and metric in places else None


def _inner(rows: object, inner: str, where: str) -> list[float]:
    if not isinstance(rows, Mapping):
        raise ValueError(f"{where}: value_by_index must be an object of rows, got {type(rows).__name__}.")
    found = []
    for row, cell in rows.items():
        # OpenUnlearning writes null for a row whose answer had no tokens, and leaves it out of its own mean.
        if cell is None or (isinstance(cell, Mapping) and cell.get(inner) is None):
            continue
        found.append(_number(cell.get(inner) if isinstance(cell, Mapping) else cell, f"{where}, row {row}"))
    return found


def _column(block: object, key: str, where: str, many: bool = False) -> JsonObject:
    """{row: value} of one column, or {row: values} where a row holds several."""
    column = block.get(key) if isinstance(block, Mapping) else None
    if not isinstance(column, Mapping) or not column:
        raise ValueError(
            f"{where}: {key} must be an object of rows and values; it is missing or something else."
        )
    if not many:
        return {row: _number(cell, f"{where}, {key}, row {row}") for row, cell in column.items()}
    found = {}
    for row, cells in column.items():
        if not isinstance(cells, Sequence) or isinstance(cells, str) or not cells:
            raise ValueError(f"{where}, {key}, row {row}: must be a list of losses, got {cells!r:.60}.")
        found[row] = [_number(cell, f"{where}, {key}, row {row}") for cell in cells]
    return found


def _number(value: object, where: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError(f"{where}: must be a finite number, got {value!r:.60}.")


def _same_rows(where: str, one: Mapping[str, object], other: Mapping[str, object]) -> None:
    if one.keys() != other.keys():
        row = min(one.keys() ^ other.keys())
        raise ValueError(f"{where}: row {row} stands in one column alone; give a log whose columns agree.")
