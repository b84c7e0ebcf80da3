"""Measures the seconds from Launch to the first comparison, at the default settings.

    python -m bench.launch                     all methods on the bundled model, and UnDIAL on SmolLM2
    python -m bench.launch --runs tiny-authors:npo smollm2:npo

Measured as the server does it: torch and transformers are imported, a Runner takes the configuration, and the clock
stops when the scores after training, and those of the exact retrain, are in the run's folder: Compare shows them all.
"first" is a store without cached scores, "again" the same store a second time. Expected before measuring: 15 s for the
first run of a store, 3 to 5 s less for the second, since the model before and its retrain need not be read again;
training is over half. On SmolLM2 at most 40 s were asked for; it took 120 before attention and LoRA were made cheap for
short texts.
Writes assets/results/launch.json; rows that were not asked for stay as they are, each with its origin.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from bench.defaults import default_config, merged  # noqa: E402
from bench.record import RESULTS, header, origin, write_result  # noqa: E402
from unlearn.engines.thread import Runner  # noqa: E402
from unlearn.methods import METHODS  # noqa: E402
from unlearn.models.catalogue import exact_retrain  # noqa: E402
from unlearn.store.runs import RunStore  # noqa: E402

BUNDLED = "tiny-authors"
POLL = 0.02


def comparison(runner: Any, model: str, method: str, seed: int) -> dict[str, Any]:
    """Submit one run and return the seconds until all its scores stand in its folder, by phase."""
    config = default_config(model, method, seed)
    wanted = {"before", "after"} | ({"retrained"} if exact_retrain(config) else set())
    start = time.perf_counter()
    run = runner.launch(config)
    while wanted - run.scores().keys():
        if run.state in ("failed", "stopped", "interrupted"):
            raise SystemExit(f"{model}, {method}: {run.state}: {run.reason}")
        time.sleep(POLL)
    seconds = time.perf_counter() - start
    while run.state != "done":
        time.sleep(POLL)
    return {"seconds": seconds, "phases": run.results()["phases"]}


def measure(model: str, method: str, rounds: int) -> dict[str, Any]:
    """Return the median over rounds, each with a store and a runner of its own."""
    laps: dict[str, list[dict[str, Any]]] = {"first": [], "again": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            runner = Runner(RunStore(Path(folder)))
            # Each lap has another seed, so that only the scores of the model before are known.
            for seed, when in enumerate(laps):
                laps[when].append(comparison(runner, model, method, seed=seed))
            runner.close()
    return {"model": model, "method": method} | {when: summary(found) for when, found in laps.items()}


def summary(laps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return median and range of the seconds, and the median of each phase."""
    seconds = [lap["seconds"] for lap in laps]
    phases = {p: statistics.median(lap["phases"][p] for lap in laps) for p in laps[0]["phases"]}
    return {
        "median": statistics.median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "phases": phases,
    }


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown with the seconds to the first comparison, one line for each model and method."""
    lines = [
        "| model | method | first run, s | with kept scores, s | of which training, s |",
        "|---|---|--:|--:|--:|",
    ]
    for row in result["rows"]:
        name = METHODS[row["method"]].title if row["method"] in METHODS else row["method"]
        first, again = (
            f"{row[w]['median']:.1f} ({row[w]['least']:.1f}–{row[w]['most']:.1f})" for w in ("first", "again")
        )
        training = row["again"]["phases"]["training"]
        lines.append(f"| {row['model']} | {name} | {first} | {again} | {training:.1f} |")
    made = dict.fromkeys(
        f"Median of {r['origin']['rounds']} (range). {origin(r['origin'])}" for r in result["rows"]
    )
    return "\n".join([*lines, "", "<br>".join(made)])


def main() -> None:
    """Import torch and transformers first, as a running server has, then measure."""
    import torch  # noqa: F401
    import transformers  # noqa: F401

    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = [f"{BUNDLED}:{name}" for name in METHODS] + ["smollm2:undial"]
    options.add_argument("--runs", nargs="+", default=usual, metavar="MODEL:METHOD")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--out", type=Path, default=RESULTS / "launch.json")
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    kept = json.loads(args.out.read_text(encoding="utf-8"))["rows"] if args.out.is_file() else []
    top, rows = header(args.allow_dirty, rounds=args.rounds), []
    for model, method in (pair.split(":", 1) for pair in args.runs):
        rows.append(measure(model, method, args.rounds) | {"origin": top})
        first, again = (rows[-1][when]["median"] for when in ("first", "again"))
        print(f"{model:14} {method:12} first {first:.1f} s, again {again:.1f} s", flush=True)
        write_result(args.out, {"rows": merged(kept, rows)})


if __name__ == "__main__":
    main()
