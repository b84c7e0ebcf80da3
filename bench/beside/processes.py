"""Compares the peak memory of each of N processes that hold one model in parts with that of one process alone.

    python -m bench.beside.processes                    a model of 1 GiB, 1 and 2 processes: about 5 minutes
    python -m bench.beside.processes --tunings full     every weight alone

Each process loads the model, trains two steps of GA+GD and brings the model together again. What counts is the most
resident memory (VmHWM) above that before the model, of the process that has most. The model has random weights in
float32 (hidden 1024, 16 blocks, the bundled model's tokenizer). Expected before measuring: every weight at most .6 of
one process's peak with two; LoRA about 1, since each process reads the whole model once. Writes
assets/results/processes.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from bench.record import RESULTS, header, origin, write_result  # noqa: E402
from unlearn.compute import libraries, memory  # noqa: E402
from unlearn.data.catalogue import load as load_data  # noqa: E402
from unlearn.engines.processes import launched  # noqa: E402
from unlearn.models.catalogue import CATALOGUE  # noqa: E402
from unlearn.models.load import load  # noqa: E402
from unlearn.store.config import RunConfig  # noqa: E402
from unlearn.training import processes  # noqa: E402
from unlearn.work.session import session_of  # noqa: E402

COUNTS = (1, 2)
TUNINGS = ("full", "lora")
STEPS = 2


def make_model(folder: Path, blocks: int) -> None:
    """Save a model of random weights with the bundled model's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(CATALOGUE["tiny-authors"].path())
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=1024,
        num_hidden_layers=blocks,
        num_attention_heads=16,
        num_key_value_heads=16,
        intermediate_size=4096,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure(model: Path, tuning: str) -> dict[str, Any]:
    """Train as one of the processes of this launch, and return what this one needed, in bytes."""
    libraries.ready()
    data = load_data("authors")
    config = RunConfig(
        model=str(model),
        data={"name": "authors"},
        method="gd",
        tuning=tuning,
        precision="float32",
        batch_size=2,
        epochs=1,
        lr=1e-5,
        prompt="plain",
        knobs={"retain_per_forget": 1.0},
    )
    with processes.joined() if launched() > 1 else nullcontext() as group:
        before = resident()
        memory.reset_peak()
        loaded = load(str(model), tuning=tuning, precision="float32")
        size = sum(p.nbytes for p in loaded.model.parameters())
        session = session_of(loaded, config, data)
        del loaded
        peaks = {"loading": memory.peak("cpu") - before}
        session.prepare()
        peaks["dividing"] = memory.peak("cpu") - before
        memory.trim()
        memory.reset_peak()
        if group is not None and group.rank > 0:
            session.follow(Path("nowhere"))
        else:
            for done in session:
                if done.step == STEPS:
                    break
            peaks["training"] = memory.peak("cpu") - before
            session.close()
        peaks["all"] = max(*peaks.values(), memory.peak("cpu") - before)
        return {"rank": 0 if group is None else group.rank, "peaks": peaks, "model": size}


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def carry_out(model: Path, tuning: str, count: int) -> list[dict[str, Any]]:
    """Return what each of so many processes needed."""
    launch = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    )
    with tempfile.TemporaryDirectory() as out:
        command = [
            sys.executable,
            *launch,
            "-m",
            "bench.beside.processes",
            "--child",
            str(model),
            tuning,
            out,
        ]
        done = subprocess.run(
            command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        return [json.loads(path.read_text()) for path in sorted(Path(out).glob("*.json"))]


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown with one line a tuning: the peaks of the process that has most, and their ratio."""
    lines = ["| Trained | Model, GiB | 1 process, GiB | each of 2, GiB | Ratio |", "|---|--:|--:|--:|--:|"]
    for row in result["rows"]:
        one, two = (max(p["peaks"]["all"] for p in row["processes"][str(n)]) for n in COUNTS)
        size = row["processes"]["1"][0]["model"]
        lines.append(
            f"| {row['tuning']} | {size / 2**30:.2f} | {one / 2**30:.2f} | {two / 2**30:.2f} | {two / one:.2f} |"
        )
    return "\n".join(lines) + "\n\n" + origin(result)


def main() -> None:
    """Measure each tuning with one and with two processes. With --child, be one of them."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--tunings", nargs="+", default=list(TUNINGS), choices=TUNINGS)
    options.add_argument("--blocks", type=int, default=16, help="Blocks of the model: 16 are 1 GiB.")
    options.add_argument("--out", type=Path, default=RESULTS / "processes.json")
    options.add_argument("--allow-dirty", action="store_true")
    options.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.child:
        model, tuning, out = args.child
        told = measure(Path(model), tuning)
        (Path(out) / f"{told['rank']}.json").write_text(json.dumps(told))
        return
    top, rows = header(args.allow_dirty), []
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder), args.blocks)
        for tuning in args.tunings:
            found = {str(count): carry_out(Path(folder), tuning, count) for count in COUNTS}
            rows.append({"tuning": tuning, "processes": found})
    result = top | {"rows": rows}
    write_result(args.out, result)
    print(table(result))


if __name__ == "__main__":
    main()
