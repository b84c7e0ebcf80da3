"""Compares the memory that is forecast for a run with the peak of its process, usual and lean, LoRA and every weight.

    python -m bench.beside.peak                              all, on one thread: about 6 minutes
    python -m bench.beside.peak --runs tiny:full 42m:lean    some of them

Each run is a process of its own that carries out one NPO run over 40 + 40 rows of the bundled authors, scores and
probes included. Its peak is the most resident memory since it began (VmHWM), phase by phase. The model of 42 M
parameters (hidden 512, 8 blocks, 32,000 words, the bundled model's tokenizer) is made here and knows nothing. Expected
before measuring: the forecast within 15 % of the peak. Writes assets/results/peak.json.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from bench.record import RESULTS, header, origin, write_result  # noqa: E402
from bench.run import own_rows  # noqa: E402
from unlearn.__main__ import parser  # noqa: E402
from unlearn.commands.options import config_of  # noqa: E402
from unlearn.compute import memory  # noqa: E402
from unlearn.models.catalogue import CATALOGUE  # noqa: E402
from unlearn.store.runs import RunStore  # noqa: E402
from unlearn.work.execute import execute  # noqa: E402
from unlearn.work.phases import Work  # noqa: E402
from unlearn.work.preflight import preflight  # noqa: E402

WAYS = {
    "full": ("--tuning", "full"),
    "lean": ("--tuning", "full", "--memory", "lean", "--max-grad-norm", "0"),
    "checkpointing": ("--tuning", "full", "--checkpointing"),
    "lora": ("--tuning", "lora"),
}
MODELS = {"tiny": "tiny-authors", "42m": "made", "smollm2": "smollm2"}
USUAL = [f"{model}:{way}" for model in MODELS for way in ("full", "lean", "lora")] + ["smollm2:checkpointing"]
COMMON = ("--method", "npo", "--epochs", "1", "--batch-size", "8", "--probes", "2", "--force")


def carry_out(words: Sequence[str]) -> dict[str, Any]:
    """Carry out one run in this process and return its forecast and its peaks by phase, in bytes."""
    config = config_of(parser().parse_args(["run", *words]))
    forecast = preflight(config).memory_bytes
    with tempfile.TemporaryDirectory() as folder, peaks_of_phases() as peaks:
        run = RunStore(Path(folder)).create(config)
        lock = run.hold()
        execute(run)
        lock.release()
        if run.state != "done":
            raise SystemExit(f"{run.state}: {run.reason}")
        return {"forecast": forecast, "peaks": peaks, "parameters": run.results()["parameters"]}


@contextlib.contextmanager
def peaks_of_phases() -> Iterator[dict[str, int]]:
    """Fill a dictionary with the peak of each phase that runs within the `with` block."""
    peaks, own = {}, Work.phase

    @contextlib.contextmanager
    def phase(work: Work, name: str) -> Iterator[None]:
        memory.reset_peak()
        with own(work, name):
            yield
        peaks[name] = memory.peak("cpu")

    Work.phase = phase  # type: ignore[method-assign]  # for this process alone
    try:
        yield peaks
    finally:
        Work.phase = own  # type: ignore[method-assign]


def make_model(folder: Path) -> Path:
    """Save a model of 42 M random weights with the bundled model's tokenizer, and return its folder."""
    from transformers import AutoTokenizer

    from bench import ways

    ways.make_model("mid", 32_000, "cpu").save_pretrained(folder)
    AutoTokenizer.from_pretrained(CATALOGUE["tiny-authors"].path()).save_pretrained(folder)
    return folder


def peak(row: Mapping[str, Any]) -> int:
    """Return the peak of a whole run."""
    return max(row["peaks"].values())


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown with one line a run: its peak, the forecast and their ratio."""
    lines = [
        "| Model | Trained | Peak, MiB | of which scoring | Forecast, MiB | Forecast ÷ peak |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for row in result["rows"]:
        scoring = max(value for name, value in row["peaks"].items() if "scoring" in name)
        lines.append(
            f"| {row['parameters'] / 1e6:.0f} M | {row['way']} | {peak(row) / 2**20:,.0f} | {scoring / 2**20:,.0f} "
            f"| {row['forecast'] / 2**20:,.0f} | {row['forecast'] / peak(row):.2f} |"
        )
    return "\n".join(lines) + f"\n\n{lean_beside_usual(result['rows'])}{origin(result)}"


def lean_beside_usual(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence on the peak of a lean run beside the usual one's, where both were measured."""
    peaks = {(row["model"], row["way"]): row for row in rows}
    pairs = [(row, peaks.get((row["model"], "lean"))) for row in rows if row["way"] == "full"]
    said = [
        f"{1 - peak(lean) / peak(usual):.0%} at {usual['parameters'] / 1e6:.0f} M"
        for usual, lean in pairs
        if lean
    ]
    if not said:
        return ""
    return f"With `--memory lean` a whole run's peak is lower by {', '.join(said)} parameters. "


def main() -> None:
    """Measure each run in a process of its own, on one thread. With --child, carry out one in this process."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--runs", nargs="+", default=USUAL, metavar="MODEL:WAY")
    options.add_argument("--out", type=Path, default=RESULTS / "peak.json")
    options.add_argument("--allow-dirty", action="store_true")
    options.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.child:
        print(json.dumps(carry_out(args.child)))
        return
    top, rows = header(args.allow_dirty), []
    with tempfile.TemporaryDirectory() as folder:
        words = own_rows(Path(folder))
        models = dict(MODELS)
        if any(name.startswith("42m:") for name in args.runs):
            models["42m"] = str(make_model(Path(folder) / "42m"))
        environment = os.environ | {"OMP_NUM_THREADS": "1", "UNLEARN_ROOTS": folder}
        for model, way in (name.split(":", 1) for name in args.runs):
            command = [sys.executable, "-m", "bench.beside.peak", "--child", "--model", models[model]]
            command += [*COMMON, *WAYS[way], *words]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
            rows.append({"model": model, "way": way} | json.loads(done.stdout.splitlines()[-1]))
            print(
                f"{model}:{way} peak {peak(rows[-1]) / 2**20:,.0f} MiB, forecast {rows[-1]['forecast'] / 2**20:,.0f}",
                flush=True,
            )
            write_result(args.out, top | {"rows": rows})
    print(table(top | {"rows": rows}))


if __name__ == "__main__":
    main()
