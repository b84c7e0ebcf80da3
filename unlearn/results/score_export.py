"""Writes the comparison table for a spreadsheet (CSV) and for a paper (LaTeX with booktabs).

Both hold the rows of compare.score_table, as the Compare page shows them. Names come from runs, which may be
somebody else's: a cell never starts a formula in a spreadsheet and never is a command in LaTeX.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from unlearn.results.compare import COMMON, LETTERS, Written, described, number, rounded, score_table
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject

# What a good score looks like in each role. In the other roles the score should stay as it was.
GOALS = {"forget": "as retrained", "paraphrase": "as retrained", "approximate": "unchanged"}
TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "−": "$-$", "∞": r"$\infty$", "Δ": r"$\Delta$", "→": r"$\to$",
    "·": r"$\cdot$", "÷": r"$\div$",
}  # fmt: skip


def rows(runs: Sequence[Run]) -> list[JsonObject]:
    """Return the rows of compare.score_table with "score" (title), "what" (definition) and "goal" added.

    A missing number is None.
    """
    table = []
    for row in score_table(runs):
        title, what, better = described(row["metric"])
        goal = GOALS.get(row["role"], f"{better} is better" if better else "")
        known = {k: None if isinstance(v, float) and v != v else v for k, v in row.items()}
        table.append(known | {"score": title, "what": what, "goal": goal})
    return table


def columns(runs: Sequence[Run], table: Sequence[Mapping[str, object]]) -> list[tuple[str, str]]:
    """Return (key, heading) of the columns in order. "retrained" and intervals are there only where a row has them.

    Where runs differ in n, before or retrained, each has its own column of it beside its score.
    """
    titles = {"n": "n", "before": "Before", "retrained": "Retrained"}
    apart = [name for name in COMMON if any(f"{name}_{letter}" in row for row in table for letter in LETTERS)]
    heads = [("role", "Rows"), ("score", "Score")]
    heads += [(name, titles[name]) for name in ("n", "before") if name not in apart]
    for letter in LETTERS[: len(runs)]:
        name = f" {letter.upper()}" if len(runs) > 1 else ""
        known = any(row.get(f"around_{letter}") for row in table)
        heads += [(f"{one}_{letter}", f"{titles[one]}{name}") for one in ("n", "before") if one in apart]
        heads += [(letter, f"After{name}"), *([(f"around_{letter}", f"95 %{name}")] if known else [])]
        heads += [(f"delta_{letter}", f"Δ{name}")]
        heads += [(f"retrained_{letter}", f"Retrained{name}")] if "retrained" in apart else []
    truth = "retrained" not in apart and any(row["retrained"] is not None for row in table)
    return [*heads, *([("retrained", "Retrained")] if truth else []), ("goal", "Goal")]


def as_csv(runs: Sequence[Run]) -> str:
    """Return the table as CSV: one line for each role and metric, numbers in full, definitions last."""
    table = rows(runs)
    found = (key for key, _ in columns(runs, table))
    # Each end of an interval has a cell of its own.
    keys = [one for key in found for one in ([f"low_{key[7:]}", f"high_{key[7:]}"] if _ends(key) else [key])]
    out = io.StringIO()
    writer = csv.DictWriter(out, [*keys, "what"], extrasaction="ignore")
    writer.writeheader()
    for row in table:
        ends = {
            f"{end}_{key[7:]}": value
            for key, both in row.items()
            if _ends(key) and both
            for end, value in zip(("low", "high"), both, strict=True)
        }
        writer.writerow({key: _inert((row | ends).get(key)) for key in (*keys, "what")})
    return out.getvalue()


def as_latex(runs: Sequence[Run]) -> str:
    r"""Return the table as LaTeX, which needs \usepackage{booktabs}.

    Numbers have three significant digits, and comments say how to repeat each run.
    """
    table = rows(runs)
    heads = columns(runs, table)
    letters = "".join("l" if key in ("role", "score", "goal") else "r" for key, _ in heads)
    lines = [r"% needs \usepackage{booktabs}", *(f"% {_one_line(run.config.command())}" for run in runs)]
    lines += [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{tex(_caption(runs))}}}",
        rf"\begin{{tabular}}{{{letters}}}",
    ]
    lines += [r"\toprule", " & ".join(tex(head) for _, head in heads) + r" \\", r"\midrule"]
    last = None
    for row in table:
        if last not in (None, row["role"]):
            lines.append(r"\addlinespace")
        last = row["role"]
        lines.append(" & ".join(_cell(key, row.get(key)) for key, _ in heads) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def tex(text: object) -> str:
    """Escape any text so that LaTeX prints it and does nothing else."""
    return "".join(TEX.get(letter, letter) for letter in _one_line(text))


def _caption(runs: Sequence[Run]) -> str:
    names = [f"{letter.upper()}: {_name(run)}" for letter, run in zip(LETTERS, runs, strict=False)]
    seeds = ", ".join(str(run.config.seed) for run in runs)
    return (
        f"{'; '.join(names)}. Δ: after minus before of the same run; 95 %: interval of the score after over "
        f"its texts. Greedy decoding, seed {seeds}."
    )


def _name(run: Run) -> str:
    """Its own title, else its method, with the id that finds it again."""
    title = run.meta.get("title") or run.results().get("method_title") or run.config.method.upper()
    return f"{title} ({run.id})"


def _ends(key: str) -> bool:
    """Whether a column holds intervals."""
    return key.startswith("around_")


def interval(ends: Sequence[Written] | None) -> str:
    """Write a 95 % interval as "low to high", or "" where there is none."""
    return " to ".join(map(rounded, ends)) if ends else ""


def _cell(key: str, value: Any) -> str:
    if _ends(key):
        return tex(interval(value) or "--")
    if key in ("role", "score", "goal", "n") or key.startswith("n_"):
        return tex("" if value is None else value)
    return "--" if value is None else tex(rounded(number(value), sign=key.startswith("delta")))


def _one_line(text: object) -> str:
    """Return the text without line ends and control characters, so that nothing breaks out of a comment or a
    cell.
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", str(text)).strip()


def _inert(value: object) -> object:
    """A text that a spreadsheet would take for a formula gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value
