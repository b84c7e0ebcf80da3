"""Prints what commands show: a progress bar on stderr, the outcome of a run, plain tables."""

import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from unlearn.results import conclusion, formats
from unlearn.store.runs import Run

# Control characters, and those that turn the direction of a text.
STEERS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# A log file gets at most one line of progress in so many seconds.
LOG_SECONDS = 10.0


def on_terminal() -> bool:
    """Return whether stderr is a terminal, where a bar can be drawn."""
    return sys.stderr.isatty()


@contextlib.contextmanager
def progress_bar(width: int = 28) -> Iterator[Callable[[str, float], None]]:
    """Show a bar on stderr for the time of the block, or a line for each phase where stderr is no terminal.

    It gives the (phase, fraction) callback that moves the bar.
    """
    if not on_terminal():
        yield log_of_phases()
        return
    from tqdm import tqdm

    form = f"{{desc:{width}}} {{bar}} {{n:3.0f}} %  {{elapsed}}<{{remaining}}"
    with tqdm(total=100, unit="%", bar_format=form) as bar:

        def progress(phase: str, fraction: float) -> None:
            # The time left is reckoned from a phase's own time, not from that of the phases before it.
            reached = round(100 * min(1.0, fraction))
            if reached < bar.n or (reached == 0 and bar.desc != phase):
                bar.reset()
            bar.set_description_str(phase, refresh=False)
            bar.n = reached
            bar.refresh()

        yield progress


@contextlib.contextmanager
def counter(name: str) -> Iterator[Callable[[str], None]]:
    """Show on stderr how many things were computed, and the last one's line, for the time of the block.

    It gives the callback that takes the line of each. A log file gets lines now and then.
    """
    if not on_terminal():
        log = log_of_phases()
        yield lambda line: log(f"{name}: {line}", 0.0)
        return
    from tqdm import tqdm

    with tqdm(bar_format="{desc:72} {n} computed  {elapsed}") as bar:

        def say(line: str) -> None:
            bar.set_description_str(f"{name}: {line}"[:72], refresh=False)
            bar.update()

        yield say


def log_of_phases() -> Callable[[str, float], None]:
    """Return a (phase, fraction) callback that writes lines on stderr, for a log file.

    A bar would be drawn into the file again and again. A new phase is a line, unless the last line is only seconds old.
    """
    last, wrote = "", float("-inf")

    def progress(phase: str, fraction: float) -> None:
        nonlocal last, wrote
        if phase != last and time.monotonic() - wrote >= LOG_SECONDS:
            print(f"{time.strftime('%H:%M:%S')} {phase}", file=sys.stderr, flush=True)
            last, wrote = phase, time.monotonic()

    return progress


def print_run(found: Run, as_json: bool) -> None:
    """Print the outcome of a run as JSON or as a table."""
    results = found.results()
    outcome = {
        "run": str(found.path),
        "state": found.state,
        "reason": found.reason,
        "seconds": results.get("seconds"),
        "scores": found.scores_by_format(),
        "verdict": conclusion.of_run(found) or None,
    }
    if as_json:
        print(json.dumps(outcome | {k: v for k, v in results.items() if k != "scores"}))
        return
    print(f"{found.path}: {found.state}" + (f" ({found.reason})" if found.reason else ""))
    print(score_lines(found))
    if found.state in ("stopped", "interrupted") and "after" not in found.scores():
        print(f"  It is scored when it is done; `unlearn resume {found.id}` goes on with it.")
    if told := formats.headline(found):
        print(f"  {told}")
    if verdict := conclusion.of_run(found):
        print(f"  Verdict: {verdict['word']}.")
        print("\n".join(f"  {verdict[part]['sentence']}" for part in conclusion.PARTS))


def score_lines(run: Run) -> str:
    """Return a plain table with one line for each role: before → after (retrained) of the main metrics."""
    lines, scores = [], run.scores()
    for role, before in scores.get("before", {}).items():
        cells = []
        for metric in ("exact", "ppl"):
            if metric in before:
                after = scores.get("after", {}).get(role, {}).get(metric)
                truth = scores.get("retrained", {}).get(role, {}).get(metric)
                cell = f"{metric} {number(before[metric])} → {number(after)}"
                beside = [f"retrained {number(truth)}"] if truth is not None else []
                if (n := run.counted(role, metric)) < before["n"]:
                    beside.append(f"n {n}")
                cells.append(cell + (f" ({', '.join(beside)})" if beside else ""))
        lines.append(f"  {role:12} n {before['n']:3}  " + "   ".join(cells))
    return "\n".join(lines)


def number(value: object) -> str:
    """Write a value for a table, with three digits where it is a float. It is a dash where there is no value."""
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def shown(value: object) -> str:
    """Return the text of a value without characters that a terminal would obey instead of showing them."""
    return "".join("\N{REPLACEMENT CHARACTER}" if STEERS.match(c) else c for c in str(value))


def listing(
    rows: Sequence[Mapping[str, object]], as_json: bool, columns: tuple[str, ...], name: str = "rows"
) -> int:
    """Print rows as a table, or as a JSON object that holds them under this name."""
    if as_json:
        print(json.dumps({name: rows}, ensure_ascii=False))
        return 0
    # Titles come from people and from archives: no character of theirs may steer the terminal.
    rows = [{c: shown(row[c]) for c in columns} for row in rows]
    widths = {c: max(14, min(32, max((len(str(row[c])) for row in rows), default=0))) for c in columns}
    for row in rows:
        print("  ".join(f"{row[c]!s:{widths[c]}}" for c in columns).rstrip())
    return 0
