"""Measures on SmolLM2 and `capitals` what is forgotten in every prompt format: chat, plain and completion.

    python -m bench.chat                                 every method at its defaults, on the reported half
    python -m bench.chat --methods npo undial            these methods alone
    python -m bench.chat --half tune --trial "npo --lr 5e-4 --epochs 3 --set beta=.1"
                                                         one set of settings, on the half that settings are tuned on

Countries with an even place in their list belong to the half that settings are tuned on, the others to the half that
is reported. Each row to forget stands once in each format. Tuning asks every fourth of its other countries and
trains on the rest of them; the report trains on all other countries of the tuning half and asks those of its own half,
which no setting ever saw. What was hoped for before measuring: the best method answers at most 20 % of its European
capitals in every format and at least 85 % of what it gave on the others.

Writes assets/results/chat.json after each run, so that a cut loses one run at most; what stands there already is not
measured again without --again.
"""

import argparse
import json
import shlex
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from bench.record import RESULTS, header, origins, write_result  # noqa: E402
from unlearn.__main__ import parser  # noqa: E402
from unlearn.commands.options import config_of  # noqa: E402
from unlearn.compute import memory, threads  # noqa: E402
from unlearn.data import capitals  # noqa: E402
from unlearn.data.base import Dataset, Row  # noqa: E402
from unlearn.measure.evaluate import evaluate, observe  # noqa: E402
from unlearn.measure.formats import by_format  # noqa: E402
from unlearn.methods import METHODS  # noqa: E402
from unlearn.models import tuning  # noqa: E402
from unlearn.models.catalogue import CATALOGUE  # noqa: E402
from unlearn.models.load import load  # noqa: E402
from unlearn.store.config import FORMATS, RunConfig  # noqa: E402
from unlearn.training.loop import Diverged  # noqa: E402
from unlearn.work.session import session_of  # noqa: E402

MODEL, PROMPT = "smollm2", "+".join(FORMATS)
HALVES = ("tune", "report")
# Tuning asks one in so many of its half's other countries. Trained on half of them, methods lose the rest (LOG.md).
ASKED = 4
# The rise of general perplexity, after ÷ before, from which on a model counts as collapsed.
COLLAPSE = 2.0
# The aim: at most this share of the answers to forget, and at least this part of the other answers.
LEFT, KEPT = 0.20, 0.85


@dataclass(frozen=True, kw_only=True)
class Half(Dataset):
    """One half of the countries. asked: the other countries that no method trains on, which are asked."""

    asked: tuple[Row, ...]

    def fit_rows(self, role: str) -> tuple[Row, ...]:
        """Return the rows that a method may train on. All of the retain role, since those to ask lie apart."""
        return self.rows(role) if role == "retain" else super().fit_rows(role)


def half_of(name: str) -> Half:
    """Return the tuning or the reported half of the countries."""
    whole = capitals.dataset()
    place = HALVES.index(name)
    first, second = (whole.rows("retain")[i::2] for i in (0, 1))
    trained, asked = first, second
    if name == "tune":
        trained, asked = tuple(row for i, row in enumerate(first) if i % ASKED), first[::ASKED]
    roles = {"forget": whole.rows("forget")[place::2], "retain": trained, "general": whole.rows("general")}
    return Half(name=whole.name, title=f"{whole.title}, {name}", roles=roles, asked=asked)


def settings_of(words: str, seed: int) -> RunConfig:
    """Return the config of "npo --lr 5e-4 --set beta=.1": what is not said is the method's default."""
    method, *more = shlex.split(words)
    given = ["run", "--model", MODEL, "--prompt", PROMPT, "--seed", str(seed), "--method", method, *more]
    return config_of(parser().parse_args(given))


def measure(config: RunConfig, half: str) -> dict[str, Any]:
    """Train one model on one half and return its settings and what it answers before and after."""
    data = half_of(half)
    start = time.process_time()
    loaded = tuning.starting_model(config, None)
    session = session_of(loaded, config, data)
    reason, step = "", 0
    try:
        for done in session:
            step = done.step
    except Diverged as error:
        reason = str(error)
    trained = time.process_time() - start
    after = _asked(loaded, data)
    memory.give_back()
    return {
        "half": half,
        "method": config.method,
        "tuning": config.tuning,
        "lr": config.lr,
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "knobs": dict(config.knobs),
        "prompt": config.prompt,
        "seed": config.seed,
        "before": _before(config.tuning, config.precision, half),
        "after": after,
        "failed": reason,
        "steps": step,
        "training_cpu_seconds": round(trained, 1),
        "cpu_seconds": round(time.process_time() - start, 1),
    }


@cache
def _before(how: str, precision: str, half: str) -> dict[str, Any]:
    return _asked(load(MODEL, tuning=how, precision=precision), half_of(half))


def _asked(loaded: Any, data: Half) -> dict[str, Any]:
    """Ask the capitals in every format, and read the general facts' perplexity in plain."""
    found: dict[str, Any] = by_format(loaded, {"forget": data.rows("forget"), "retain": data.asked})
    general = list(data.score_rows("general"))
    seen = observe(
        loaded.model, loaded.tokenizer, {"general": general}, device=loaded.device, continued=False
    )
    return found | {"general_ppl": evaluate(seen)["general"]["ppl"]}


def leaks(row: Mapping[str, Any]) -> list[float]:
    """Return the share of the answers to forget that are left, in each format."""
    return [row["after"]["forget"][name]["right"] for name in FORMATS]


def keeps(row: Mapping[str, Any]) -> list[float]:
    """Return the part of its other answers that the model still gives, in each format."""
    before, after = (row[when]["retain"] for when in ("before", "after"))
    return [after[name]["right"] / before[name]["right"] for name in FORMATS]


def collapsed(row: Mapping[str, Any]) -> bool:
    """Return whether training diverged, or general perplexity is above COLLAPSE times before or not finite."""
    before, after = (float(row[when]["general_ppl"]) for when in ("before", "after"))
    return bool(row["failed"]) or not after <= COLLAPSE * before


def fitting() -> list[str]:
    """Return the methods that can run on a model whose training is not ours."""
    return [name for name, method in METHODS.items() if method.continues]


def same(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what makes a run the same as another: its half, its settings and its seed."""
    names = ("half", "method", "tuning", "lr", "epochs", "batch_size", "prompt", "seed")
    return (*(row[name] for name in names), json.dumps(row["knobs"], sort_keys=True))


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown with one line a method on the reported half. Methods that were not tried say so."""
    rows = [row for row in result["rows"] if row["half"] == "report"]
    heads = [f"forget, {name}" for name in FORMATS] + [f"others, {name}" for name in FORMATS]
    lines = [
        "| method | "
        + " | ".join([*heads, "general perplexity", "CPU seconds", "rate, epochs × batch"])
        + " |",
        "|---|" + "--:|" * (len(heads) + 3),
    ]
    if rows:
        before = rows[0]["before"]
        cells = [_percent(before[role][name]["right"]) for role in ("forget", "retain") for name in FORMATS]
        lines.append(
            "| " + " | ".join(["before", *cells, f"{float(before['general_ppl']):.0f}", "", ""]) + " |"
        )
    for name in fitting():
        mine = [row for row in rows if row["method"] == name]
        title = METHODS[name].title
        lines.append(
            _line(title, mine) if mine else f"| {title} | " + " | ".join(["not tried yet"] + [""] * 8) + " |"
        )
    lines += ["", *_notes(rows)]
    return "\n".join([*lines, "", origins(row["origin"] for row in rows)])


def command(row: Mapping[str, Any]) -> str:
    """Return the command that makes this row again, without what is the method's default."""
    usual = METHODS[row["method"]].settings(CATALOGUE[MODEL].size, row["tuning"], MODEL)
    words = [row["method"], "--lr", f"{row['lr']:g}", "--epochs", str(row["epochs"])]
    words += ["--batch-size", str(row["batch_size"])]
    for name, value in row["knobs"].items():
        words += ["--set", f"{name}={value}"] if value != usual["knobs"].get(name) else []
    return shlex.join(["python", "-m", "bench.chat", "--half", row["half"], "--trial", shlex.join(words)])


def _line(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    def mean(values: Iterator[float]) -> str:
        return _percent(statistics.fmean(values))

    cells = [mean(leaks(row)[i] for row in rows) for i in range(len(FORMATS))]
    cells += [mean(keeps(row)[i] for row in rows) for i in range(len(FORMATS))]
    ppl = statistics.fmean(float(row["after"]["general_ppl"]) for row in rows)
    mark = " †" if any(map(collapsed, rows)) else ""
    seconds = statistics.fmean(row["cpu_seconds"] for row in rows)
    shown = f"{ppl:.0f}" if ppl < 10_000 else f"{ppl:.0e}"
    how = " or ".join(dict.fromkeys(f"{row['lr']:g}, {row['epochs']} × {row['batch_size']}" for row in rows))
    return "| " + " | ".join([title + mark, *cells, shown, f"{seconds:.0f}", how]) + " |"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    counts = {role: rows[0]["before"][role]["chat"]["n"] for role in ("forget", "retain")}
    said = [
        f"Per cent. forget: of {counts['forget']} European capitals, right answers; others: of {counts['retain']} "
        "other capitals that no method trained on, right answers after ÷ before."
    ]
    if any(map(collapsed, rows)):
        said.append("† general perplexity more than doubled, or training diverged.")
    return [" ".join(said), "", _aim(rows)]


def _aim(rows: Sequence[Mapping[str, Any]]) -> str:
    """The sentence that says which methods reach the aim, on the mean of their seeds."""
    found = []
    for name in fitting():
        mine = [row for row in rows if row["method"] == name]
        if mine and reached(mine):
            alone = sum(reached([row]) for row in mine)
            seeds = f"{alone} of {len(mine)} seeds alone" if len(mine) > 1 else "one seed"
            found.append(f"{METHODS[name].title} ({seeds})")
    aim = f"at most {LEFT:.0%} of the forget answers and at least {KEPT:.0%} of the others in every format"
    return f"The aim was {aim.replace('%', ' %')}: reached by {', '.join(found) or 'no method'}."


def reached(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the mean of these runs is within the aim in every format, and none of them collapsed."""

    def means(values: Iterator[list[float]]) -> list[float]:
        return [statistics.fmean(one) for one in zip(*values, strict=True)]

    left, kept = means(map(leaks, rows)), means(map(keeps, rows))
    return max(left) <= LEFT and min(kept) >= KEPT and not any(map(collapsed, rows))


def main() -> None:
    """Measure and record the runs that are not recorded yet."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--half", choices=HALVES, default="report")
    options.add_argument("--methods", nargs="+", choices=fitting(), default=())
    options.add_argument(
        "--trial", action="append", default=[], metavar="WORDS", help='such as "npo --lr 5e-4"'
    )
    options.add_argument("--seeds", type=int, default=1, help="how many, from 0 on")
    options.add_argument("--again", action="store_true", help="measure also what is recorded already")
    options.add_argument("--out", type=Path, default=RESULTS / "chat.json")
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    # One line a run, whatever its settings are: a mistyped trial is refused before the first one begins.
    configs = [
        settings_of(words, seed)
        for words in args.trial or args.methods or fitting()
        for seed in range(args.seeds)
    ]
    threads.choose_threads(small=False)
    for config in configs:
        rows = json.loads(args.out.read_text(encoding="utf-8"))["rows"] if args.out.is_file() else []
        asked = same({"half": args.half, **config.to_json()})
        if not args.again and any(same(row) == asked for row in rows):
            continue
        row = measure(config, args.half)
        top = header(args.allow_dirty, seeds=[config.seed])
        # The command line of this process may ask for more than this row.
        row["origin"] = top | {"command": command(row)}
        print(args.half, _line(METHODS[config.method].title, [row]), _settings(row), flush=True)
        write_result(args.out, {"rows": [r for r in rows if same(r) != asked] + [row]})


def _settings(row: Mapping[str, Any]) -> str:
    return f"lr {row['lr']:g}, {row['epochs']} epochs of {row['batch_size']}, {row['steps']} steps, {row['knobs']}"


if __name__ == "__main__":
    main()
