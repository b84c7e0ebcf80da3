"""Measures one run on one half of the countries of `capitals`: what is answered in every prompt format."""

import json
import shlex
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from unlearn.__main__ import parser  # noqa: E402
from unlearn.commands.options import config_of  # noqa: E402
from unlearn.compute import memory  # noqa: E402
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
ASKED = 3
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


@cache
def settings_of(words: str, seed: int) -> RunConfig:
    """Return the config of "npo --lr 5e-4 --set beta=.1": what is not said is the method's default."""
    method, *more = shlex.split(words)
    given = ["run", "--model", MODEL, "--prompt", PROMPT, "--seed", str(seed), "--method", method, *more]
    return config_of(_parser().parse_args(given))


_parser = cache(parser)


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


def command(row: Mapping[str, Any]) -> str:
    """Return the command that makes this row again, without what is the method's default."""
    usual = METHODS[row["method"]].settings(CATALOGUE[MODEL].size, row["tuning"], MODEL)
    words = [row["method"], "--lr", f"{row['lr']:g}", "--epochs", str(row["epochs"])]
    words += ["--batch-size", str(row["batch_size"])]
    for name, value in row["knobs"].items():
        words += ["--set", f"{name}={value}"] if value != usual["knobs"].get(name) else []
    return shlex.join(["python", "-m", "bench.chat", "--half", row["half"], "--trial", shlex.join(words)])


def present(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the runs on the reported half at the methods' present defaults, or all of a method that has none."""
    reported = [row for row in rows if row["half"] == "report"]
    now = [
        row
        for row in reported
        if same(row) == same({"half": "report", **settings_of(row["method"], row["seed"]).to_json()})
    ]
    measured = {row["method"] for row in now}
    return [row for row in reported if row in now or row["method"] not in measured]


def reached(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the mean of these runs is within the aim in every format, and none of them collapsed."""

    def means(values: Iterator[list[float]]) -> list[float]:
        return [statistics.fmean(one) for one in zip(*values, strict=True)]

    left, kept = means(map(leaks, rows)), means(map(keeps, rows))
    return max(left) <= LEFT and min(kept) >= KEPT and not any(map(collapsed, rows))
