"""Runs OpenUnlearning's own trainers and evaluation from a checkout beside ours, on the same token ids.

    git clone https://github.com/locuslab/open-unlearning
    python -m bench.peer --peer open-unlearning                       GradDiff, NPO and UNDIAL, then the evaluation

Every lap is a process of its own on one thread, ours and theirs in turn, and the clock is the process's own CPU time.
Both read the same rows from the same file of token ids, load the same folder in float32 and train every weight for the
same number of steps with 8 + 8 rows a step. "begin" is what comes before the first step: the imports, the model, and
their copy of it or our reading of it. Before anything is timed, both say the loss of one batch of the same rows;
GradDiff and NPO must agree. (UNDIAL averages over prompts and padding there, and over answer tokens here.)

What is taken of them (bench/beside/there.py): the trainers (src/trainer), the collator and the pair of data sets
(src/data), and of the evaluation probability and ROUGE (src/evals/metrics/utils.py) with their settings, but for the
length of an answer, which is ours. What is not: their command line (Hydra) and their loading. Their optimiser is for
GPUs; here it is torch's AdamW on both sides. Without a checkout this says so and measures nothing.
Writes assets/results/peer.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

from bench.beside import there  # noqa: E402
from bench.record import RESULTS, ROOT, header, origin, write_result  # noqa: E402
from unlearn.compute.tokens import Batch, Example, collate  # noqa: E402
from unlearn.data.base import Row  # noqa: E402
from unlearn.data.catalogue import load as rows_of  # noqa: E402
from unlearn.measure.evaluate import evaluate, observe  # noqa: E402
from unlearn.methods import METHODS  # noqa: E402
from unlearn.models.load import load, source_of  # noqa: E402
from unlearn.training.encoding import encode_rows  # noqa: E402

# Our name of a method: theirs, and the settings that make both the same loss.
METHODS_THERE = {
    "gd": ("GradDiff", {"gamma": 1.0, "alpha": 1.0}, {}),
    "npo": ("NPO", {"beta": 0.1, "alpha": 1.0, "gamma": 1.0}, {"beta": 0.1}),
    "undial": (
        "UNDIAL",
        {"beta": 10.0, "alpha": 1.0, "gamma": 1.0},
        {"gamma": 10.0, "retain_weight": 1.0},
    ),
}
SAME = ("gd", "npo")
BATCH, LR = 8, 1e-5
SIDES = ("ours", "theirs")
NO_PEER = (
    "bench.peer: no checkout of OpenUnlearning was given, so nothing was measured; clone it "
    "(https://github.com/locuslab/open-unlearning) and name its folder with --peer."
)


def train_ours(given: Mapping[str, Any], name: str) -> dict[str, float]:
    """Train with ours and return the CPU seconds until the first step and of the steps, and the loss of the first
    rows as a batch before any step.
    """
    import torch

    from unlearn.work.session import forget

    rows = {role: [Row(**row) for row in given["rows"][role]] for role in ("forget", "retain")}
    method = METHODS[name](**METHODS_THERE[name][2])
    epochs = -(-given["steps"] * BATCH // len(rows["forget"]))
    options = {"tuning": "full", "lr": LR, "batch_size": BATCH, "epochs": epochs}
    session = forget(load(given["name"], precision="float32"), **rows, method=method, **options)
    ref = session.prepare()
    begun = time.process_time()
    texts = [list(getattr(session.batches, role)[:BATCH]) for role in ("forget", "retain")]
    batch = Batch(*(collate(side, session.loaded.pad_id) for side in texts))
    with torch.no_grad():
        loss = float(torch.stack(list(method.loss(session.model, ref, batch).values())).sum())
    start = time.process_time()
    for done in session:
        if done.step == given["steps"]:
            break
    return {"begin": begun, "steps": time.process_time() - start, "loss": loss}


def evaluate_ours(given: Mapping[str, Any]) -> dict[str, float]:
    """Score and continue the same rows as a run does, with all of its cheap metrics."""
    rows = {role: [Row(**row) for row in given["rows"][role]] for role in ("forget", "retain")}
    loaded = load(given["name"], precision="float32")
    start = time.process_time()
    scores = evaluate(observe(loaded.model, loaded.tokenizer, rows))
    mean = statistics.fmean(scores[role]["probability"] for role in rows)
    return {"evaluation": time.process_time() - start, "probability": mean}


def inputs(model: str, count: int, steps: int) -> dict[str, Any]:
    """Return what both sides read: rows, their token ids and labels, the model's folder, and the number of steps."""
    from transformers import AutoTokenizer

    source = source_of(model)
    tokenizer = AutoTokenizer.from_pretrained(source)
    about = {"model": str(source), "name": model, "steps": steps, "batch": BATCH, "lr": LR}
    found: dict[str, Any] = about | {"rows": {}, "room": 1}
    for role in ("forget", "retain"):
        rows = rows_of("authors").fit_rows(role)[:count]
        examples: list[Example] = encode_rows(tokenizer, rows, max_length=512)
        found["rows"][role] = [{"question": row.question, "answer": row.answer} for row in rows]
        found[role] = [
            {"input_ids": e.input_ids, "labels": e.labels, "prompt": e.input_ids[: e.answer_at[0]]}
            for e in examples
        ]
        found["room"] = max(found["room"], *(min(len(e.answer_ids) + 6, 64) for e in examples))
    return found


def commit_of(folder: Path) -> str:
    """Return the commit of a checkout. SystemExit where it is none: ratios without it could not be made again."""
    words = ["git", "-C", str(folder), "rev-parse", "--show-toplevel", "HEAD"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    top, _, commit = done.stdout.strip().partition("\n")
    if done.returncode or Path(top) != folder:
        raise SystemExit(
            f"bench.peer: {folder} is no git checkout, so its commit is not known; clone it with git."
        )
    return commit[:12]


def lap(side: str, what: str, file: Path, folder: Path) -> dict[str, float]:
    """Carry out one side of one comparison in a process of its own, on one thread."""
    command = [sys.executable, "-m", "bench.peer", "--child", side, what, str(file), "--peer", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side}, {what}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(what: str, laps: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Return the row of one comparison. SystemExit where the two sides do not compute the same."""
    first = {side: laps[side][0] for side in SIDES}
    check = "probability" if what == "evaluation" else "loss"
    ours, theirs = (first[side][check] for side in SIDES)
    if what not in METHODS_THERE or what in SAME:
        margin = 1e-3 * max(1.0, abs(theirs))
        if abs(ours - theirs) > margin:
            raise SystemExit(f"{what}: the {check} differs, ours {ours}, theirs {theirs}")
    seconds = {
        part: {side: statistics.median(one[part] for one in laps[side]) for side in SIDES}
        for part in first["ours"]
        if part != check
    }
    whole = {side: sum(seconds[part][side] for part in seconds) for side in SIDES}
    ratio = whole["theirs"] / whole["ours"]
    return {
        "what": what,
        check: {"ours": ours, "theirs": theirs},
        "seconds": seconds,
        "theirs_over_ours": ratio,
    }


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown with the CPU seconds of both sides and how many times ours theirs take."""
    lines = ["| | part | ours, CPU s | theirs, CPU s | theirs ÷ ours |", "|---|---|--:|--:|--:|"]
    for row in result["rows"]:
        title = METHODS_THERE[row["what"]][0] if row["what"] in METHODS_THERE else row["what"]
        for part, seconds in row["seconds"].items():
            ours, theirs = (seconds[side] for side in SIDES)
            lines.append(f"| {title} | {part} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.2f} |")
        if len(row["seconds"]) > 1:
            lines.append(f"| **{title}** | **together** | | | **{row['theirs_over_ours']:.2f}** |")
    told = f"{result['model']}, {result['steps']} steps of {BATCH} + {BATCH} rows; OpenUnlearning at {result['peer']}."
    return "\n".join([*lines, "", f"{told} {origin(result)}"])


def child(side: str, what: str, file: Path, folder: Path) -> dict[str, float]:
    """Carry out one side here."""
    given = json.loads(file.read_text(encoding="utf-8"))
    if what == "evaluation":
        return evaluate_ours(given) if side == "ours" else there.evaluate_theirs(given, folder)
    title, options, _ = METHODS_THERE[what]
    return train_ours(given, what) if side == "ours" else there.train_theirs(given, title, options, folder)


def main() -> None:
    """Compare and record, or say that there is nothing to compare with."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--peer", type=Path, help="a checkout of OpenUnlearning")
    options.add_argument("--what", nargs="+", default=[*METHODS_THERE, "evaluation"])
    options.add_argument("--model", default="smollm2")
    options.add_argument("--rows", type=int, default=40, help="rows to forget, and as many to keep")
    options.add_argument("--steps", type=int, default=5)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--out", type=Path, default=RESULTS / "peer.json")
    options.add_argument("--allow-dirty", action="store_true")
    options.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.peer is None or not (args.peer / "src" / "trainer").is_dir():
        print(NO_PEER)
        return
    if args.child:
        side, what, file = args.child
        print(json.dumps(child(side, what, Path(file), args.peer)))
        return
    peer = args.peer.resolve()
    top = header(args.allow_dirty, peer=commit_of(peer), model=args.model, steps=args.steps)
    # The record names the checkout by its commit, and not by where it lay.
    top["command"] = top["command"].replace(str(args.peer), "open-unlearning")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "given.json"
        file.write_text(json.dumps(inputs(args.model, args.rows, args.steps)), encoding="utf-8")
        for what in args.what:
            laps: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
            for _ in range(args.rounds):
                for side in SIDES:
                    laps[side].append(lap(side, what, file, peer))
            rows.append(compare(what, laps))
            print(json.dumps(rows[-1]), flush=True)
            write_result(args.out, top | {"rows": rows})
    print(table(top | {"rows": rows}))


if __name__ == "__main__":
    main()
