"""Measures five deletion requests one after the other, in each mode, with EUL's layers or another method.

    python -m bench.sequence                                   EUL: chain, fuse, average, joint; three seeds
    python -m bench.sequence --method npo                      NPO: chain, ties, joint
    python -m bench.sequence --modes joint --seeds 2           these again, the others as they are recorded

Writes assets/results/sequence.json after every sequence, so that a cut leaves what was measured, and keeps the rows
that were not asked for. What was hoped for (C2, arXiv 2310.20150): fuse forgets at least as much as chain over all
requests, at better utility. Expected of TIES with NPO before measuring: it leaves 20 to 40 % of the answers, more than
a chain, since a fifth of each change is a weaker push, and keeps as much utility as a chain or more.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from bench.defaults import default_config, spread  # noqa: E402
from bench.record import RESULTS, header, origins, write_result  # noqa: E402
from unlearn.methods import METHODS  # noqa: E402
from unlearn.store.disk import read_json  # noqa: E402
from unlearn.store.runs import RunStore  # noqa: E402
from unlearn.work.sequence import SequenceConfig, create, perform, summary  # noqa: E402

MODEL, METHOD = "tiny-authors", "eul"
ORDER = (1, 2, 3, 4, 5)
ORDERED = ("chain", "fuse", "average", "ties", "joint")
# What a method's changes can be: layers of their own, or changes of the model's weights.
LAYERS, WEIGHTS = ("chain", "fuse", "average", "joint"), ("chain", "ties", "joint")


def measure(store: RunStore, mode: str, seed: int, method: str = METHOD) -> dict[str, Any]:
    """Carry out one sequence to its end and return exact answers and more, after each number of requests."""
    run = replace(default_config(MODEL, method, seed), probes=0)
    record = create(SequenceConfig(run=run, mode=mode, order=ORDER), store)
    lock, began = record.hold(), time.process_time()
    perform(record)
    spent = time.process_time() - began
    lock.release()
    if record.state != "done":
        raise SystemExit(f"{mode}, seed {seed}: {record.state}: {record.reason}")
    asked = record.scores()[0]["requests"].values()
    return {
        "method": method,
        "mode": mode,
        "seed": seed,
        "n": sum(one["n"] for one in asked),
        "after": summary(record),
        "cpu_seconds": spent,
        "settings": {"lr": run.lr, "epochs": run.epochs, "batch_size": run.batch_size} | dict(run.knobs),
    }


def means(rows: Sequence[Mapping[str, Any]], mode: str, name: str, after: int) -> dict[str, Any]:
    """Return {"mean", "sd", "values"} over the seeds of one mode: one column after so many requests."""
    return spread([row["after"][after][name] for row in rows if row["mode"] == mode])


def method_of(row: Mapping[str, Any]) -> str:
    """Return the method of a row, which rows of before there were several do not say."""
    return str(row.get("method", METHOD))


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown: for each method what is left after one and after all requests, and what the rest kept."""
    methods = sorted({method_of(row) for row in result["rows"]}, key=list(METHODS).index)
    parts = []
    for method in sorted(methods, key=lambda name: name != METHOD):
        rows = [row for row in result["rows"] if method_of(row) == method]
        parts += [f"**{METHODS[method].title}**", "", _table(rows), ""]
    return "\n".join(parts)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    last = len(ORDER)
    columns = [("done", 1), ("done", last), ("utility", 1), ("utility", last), ("paraphrase", last)]
    heads = ["forgotten so far, % right after 1", f"after {last}", "utility, % right after 1"]
    heads += [f"after {last}", f"in other words, after {last}", "CPU seconds, with scoring"]
    lines = ["| way | " + " | ".join(heads) + " |", "|---|" + "--:|" * len(heads)]
    before = rows[0]["after"][0]
    asked = [before["to come"], before["to come"], before["utility"], before["utility"], before["paraphrase"]]
    lines.append("| before | " + " | ".join(f"{100 * value:.0f}" for value in asked) + " | |")
    for mode in dict.fromkeys(row["mode"] for row in rows):
        cells = [_percent(means(rows, mode, name, after)) for name, after in columns]
        spent = spread([row["cpu_seconds"] for row in rows if row["mode"] == mode])
        lines.append(f"| {mode} | " + " | ".join(cells) + f" | {spent['mean']:.0f} |")
    made = origins(row["origin"] for row in rows)
    return "\n".join([*lines, "", verdict(rows), "", made])


def merged(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows with the new ones in place of the old ones of the same way and seed, each with its own
    origin.
    """
    rows = {(method_of(row), row["mode"], row["seed"]): row for row in [*old, *new]}
    methods = [METHOD, *METHODS]

    def order(at: tuple[str, str, int]) -> tuple[int, int, int]:
        return methods.index(at[0]), ORDERED.index(at[1]), at[2]

    return [rows[key] for key in sorted(rows, key=order)]


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence, computed from the numbers, on how fuse, or TIES, does beside a chain.

    It is empty without both.
    """
    last = len(ORDER)
    own = next((mode for mode in ("fuse", "ties") if mode in {row["mode"] for row in rows}), "")
    if not own or "chain" not in {row["mode"] for row in rows}:
        return ""
    fuse, chain = (
        {name: means(rows, mode, name, last) for name in ("done", "utility")} for mode in (own, "chain")
    )
    seeds = [{row["seed"] for row in rows if row["mode"] == mode} for mode in (own, "chain")]
    both = sorted(set.intersection(*seeds))
    better = {
        name: sum(sign * (_at(rows, own, seed, name) - _at(rows, "chain", seed, name)) >= 0 for seed in both)
        for name, sign in (("done", -1), ("utility", 1))
    }
    named = ", ".join(map(str, both))
    left, kept = (f"{_percent(fuse[n])} against {_percent(chain[n])} %" for n in ("done", "utility"))
    return (
        f"Of {len(both)} seeds ({named}), {own} forgets at least as much as chain in {better['done']} ({left} of the "
        f"answers left after {last} requests) and keeps at least as much utility in {better['utility']} ({kept}); "
        f"n = {rows[0]['n']} questions to forget."
    )


def _at(rows: Sequence[Mapping[str, Any]], mode: str, seed: int, name: str) -> float:
    return next(r["after"][len(ORDER)][name] for r in rows if (r["mode"], r["seed"]) == (mode, seed))


def _percent(value: Mapping[str, Any]) -> str:
    spread_ = f" ± {100 * value['sd']:.0f}" if len(value["values"]) > 1 else ""
    return f"{100 * value['mean']:.0f}{spread_}"


def main() -> None:
    """Measure the sequences and record them."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--method", choices=tuple(METHODS), default=METHOD)
    options.add_argument("--modes", nargs="+", default=(), choices=ORDERED)
    options.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
    options.add_argument("--out", type=Path, default=RESULTS / "sequence.json")
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    modes = args.modes or (LAYERS if METHODS[args.method].tunings == ("layers",) else WEIGHTS)
    top, rows = header(args.allow_dirty), read_json(args.out).get("rows", [])
    for seed in range(args.seeds):
        # Layers of one seed are not needed for the next.
        with tempfile.TemporaryDirectory() as folder:
            for mode in modes:
                row = measure(RunStore(Path(folder)), mode, seed, args.method) | {"origin": top}
                rows = merged(rows, [row])
                write_result(args.out, {"rows": rows})
                print(args.method, mode, seed, _percent(means([row], mode, "done", len(ORDER))), flush=True)


if __name__ == "__main__":
    main()
