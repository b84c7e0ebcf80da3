"""Measures on SmolLM2 and `capitals` what is forgotten in every prompt format: chat, plain and completion.

    python -m bench.chat                                 every method at its defaults, on the reported half
    python -m bench.chat --methods npo undial            these methods alone
    python -m bench.chat --tune                          find settings of the methods of search.ORDER
    python -m bench.chat --half tune --trial "npo --lr 5e-4 --epochs 3 --set beta=.1"
                                                         one set of settings, on the half that settings are tuned on

Countries with an even place in their list belong to the half that settings are tuned on, the others to the half that
is reported. Each row to forget stands once in each format. Tuning asks every third of its other countries and
trains on the rest of them; the report trains on all other countries of the tuning half and asks those of its own half,
which no setting ever saw. What was hoped for before measuring: the best method answers at most 20 % of its European
capitals in every format and at least 85 % of what it gave on the others.

Writes assets/results/chat.json after each run, so that a cut loses one run at most; what stands there already is not
measured again without --again.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.chat import search
from bench.chat.lines import line
from bench.chat.rows import HALVES, command, fitting, measure, same, settings_of
from bench.record import RESULTS, header, write_result
from unlearn.compute import threads
from unlearn.methods import METHODS
from unlearn.store.config import RunConfig


def main() -> None:
    """Measure and record the runs that are not recorded yet."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--half", choices=HALVES, default="report")
    options.add_argument(
        "--tune", action="store_true", help="find settings on the half that they are tuned on"
    )
    options.add_argument("--methods", nargs="+", choices=fitting(), default=())
    options.add_argument(
        "--trial", action="append", default=[], metavar="WORDS", help='such as "npo --lr 5e-4"'
    )
    options.add_argument("--seeds", type=int, default=1, help="how many, from 0 on")
    options.add_argument("--again", action="store_true", help="measure also what is recorded already")
    options.add_argument("--out", type=Path, default=RESULTS / "chat.json")
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    threads.choose_threads(small=False)
    if args.tune:
        for method in args.methods or search.ORDER:
            while config := search.following(method, recorded(args.out)):
                _record(config, "tune", args)
            print(method, "best:", _settings(search.best(method, recorded(args.out)) or {}), flush=True)
        return
    # One line a run, whatever its settings are: a mistyped trial is refused before the first one begins.
    configs = [
        settings_of(words, seed)
        for words in args.trial or args.methods or fitting()
        for seed in range(args.seeds)
    ]
    for config in configs:
        asked = same({"half": args.half, **config.to_json()})
        if args.again or all(same(row) != asked for row in recorded(args.out)):
            _record(config, args.half, args)


def recorded(path: Path) -> list[dict[str, Any]]:
    """Return the rows that are written there."""
    rows: list[dict[str, Any]] = (
        json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    )
    return rows


def _record(config: RunConfig, half: str, args: argparse.Namespace) -> None:
    """Measure one run and write it in the place of the same one."""
    row = measure(config, half)
    # The command line of this process may ask for more than this row.
    row["origin"] = header(args.allow_dirty, seeds=[config.seed]) | {"command": command(row)}
    print(half, line(METHODS[config.method].title, [row]), _settings(row), flush=True)
    write_result(args.out, {"rows": [r for r in recorded(args.out) if same(r) != same(row)] + [row]})


def _settings(row: Mapping[str, Any]) -> str:
    return f"lr {row['lr']:g}, {row['epochs']} epochs of {row['batch_size']}, {row['steps']} steps, {row['knobs']}"


if __name__ == "__main__":
    main()
