"""Compares our unlearning step, the usual way, and the floor, interleaved in one process.

    python -m bench.step --worlds tofu smollm2      CPU, real shapes: about 8 minutes on two cores
    python -m bench.step --worlds head              CPU, a small trunk under heads of 1 k, 32 k, 128 k words: 4
    python -m bench.step --device cuda --size 1b --tuning lora --out gpu.json

The floor is a plain fine-tuning step on the same answer tokens (bench/ways.py), the usual way what public code does
(bench/beside/usual.py). All must give the same loss before anything is timed. What was asked for before measuring (CPU,
32 k words, lengths 40-96, batch 4 + 4): usual ÷ ours 2 for GA+GD, 3 for NPO, 4 for UnDIAL and GA+KL; ours ÷ floor at
most 1.15, for UnDIAL and GA+KL 1.3; on real shapes ours ÷ floor at most 1.05; at 8 × 128 tokens and 128 k words the
peak memory beside weights, gradients and moments at most 1/7.

CPU time is split into the program's and the kernel's own: a large tensor is new memory from the system each time, and
handing it out page by page can cost as much as computing in it. Memory is what the allocator hands out (on CPU as
torch's profiler sees each allocation), so nothing that is merely kept for later counts.
"""

import argparse
import contextlib
import gc
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

import torch  # noqa: E402

from bench import ways  # noqa: E402
from bench.beside.usual import LOSSES  # noqa: E402
from bench.record import RESULTS, header, origins, write_result  # noqa: E402
from unlearn.compute.memory import allocated_peak  # noqa: E402
from unlearn.compute.tokens import Batch, collate  # noqa: E402

WAYS = ("ours", "usual", "floor")
ROWS = ("rows", "memory")
# The peak of dense bfloat16 products, in FLOPs a second.
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}


@dataclass(frozen=True)
class World:
    """A model's shape and the texts of one step. lengths, answer: tokens of a text, and the share that is the answer.

    TOFU's rows have 35 to 82 tokens in SmolLM2's words, and .6 of them are the answer.
    """

    title: str
    size: str
    vocabularies: tuple[int, ...]
    batch: int
    lengths: tuple[int, int]
    answer: float
    rounds: int


WORLDS = {
    "tofu": World("hidden 512, 8 blocks, TOFU's lengths", "mid", (32_000,), 8, (35, 82), 0.6, 6),
    "smollm2": World("SmolLM2-135M's shape, TOFU's lengths", "smollm2", (49_152,), 8, (35, 82), 0.6, 4),
    "head": World("hidden 256, 4 blocks", "cpu", (1_000, 32_000, 128_000), 4, (40, 96), 1 / 3, 6),
}
TITLES = {"gd": "GA+GD", "npo": "NPO", "undial": "UnDIAL", "kl": "GA+KL"}


def batch_of(args: argparse.Namespace, vocabulary: int, lengths: tuple[int, int]) -> Batch:
    """Return the batch of random texts on which every way takes its step."""
    forget, retain = (ways.make_texts(args.batch, lengths, vocabulary, seed, args.answer) for seed in (1, 2))
    return Batch(forget=collate(forget, 0).to(args.device), retain=collate(retain, 0).to(args.device))


def make(
    way: str, name: str, args: argparse.Namespace, vocabulary: int, batch: Batch, folder: str
) -> ways.Way:
    """Return one way to take the step, with a model of its own."""
    model = ways.make_model(args.size, vocabulary, args.device, args.tuning)
    if way == "usual":
        return ways.usual(name, model, batch, folder)
    return (ways.ours if way == "ours" else ways.floor)(name, model, batch)


def timed(way: ways.Way, device: str) -> dict[str, float]:
    """Return the CPU seconds (of them the kernel's) and wall seconds of one step."""
    gc.collect()
    settle(device)
    before, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    way.step()
    settle(device)
    after = resource.getrusage(resource.RUSAGE_SELF)
    kernel = after.ru_stime - before.ru_stime
    cpu = after.ru_utime - before.ru_utime + kernel
    return {"cpu": cpu, "kernel": kernel, "wall": time.perf_counter() - wall}


def settle(device: str) -> None:
    """Wait until the device has finished its work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def extra_memory(way: ways.Way, device: str) -> int:
    """Return the bytes at the step's peak beside what any training needs: weights, their gradients, the
    optimiser's moments.
    """
    way.model.zero_grad(set_to_none=True)
    gc.collect()
    peak = allocated_peak(way.step, device)
    gradients = sum(p.grad.nbytes for p in way.model.parameters() if p.grad is not None)
    return way.beside() + peak - gradients


def check_losses(name: str, losses: Mapping[str, float], device: str) -> None:
    """Exit unless ours and the usual way compute the same loss."""
    tolerance = 1e-5 if device == "cpu" else 2e-2
    if abs(losses["ours"] - losses["usual"]) > tolerance * max(1.0, abs(losses["usual"])):
        raise SystemExit(f"{name}: losses differ, ours {losses['ours']}, usual {losses['usual']}")


@contextlib.contextmanager
def built(
    name: str, args: argparse.Namespace, vocabulary: int, batch: Batch, only: Sequence[str]
) -> Iterator[dict[str, ways.Way]]:
    """Yield the ways with their models, and free the memory at the end."""
    with tempfile.TemporaryDirectory() as folder:
        yield {way: make(way, name, args, vocabulary, batch, folder) for way in only}
    gc.collect()
    if args.device.startswith("cuda"):
        torch.cuda.empty_cache()


def compare(name: str, args: argparse.Namespace, vocabulary: int) -> dict[str, Any]:
    """Compare one method at one vocabulary: first that the losses agree, then the rounds.

    Models that fit together are interleaved.
    """
    batch = batch_of(args, vocabulary, (args.shortest, args.longest))
    losses: dict[str, float] = {}
    laps: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    turns = [(way,) for way in WAYS] if args.size == "8b" else [WAYS]
    for turn in turns:
        with built(name, args, vocabulary, batch, turn) as made:
            losses |= {way: made[way].step() for way in turn}
            if len(losses) == len(WAYS):
                check_losses(name, losses, args.device)
            for number in range(args.rounds):
                for way in in_turn(turn, number):
                    laps[way].append(timed(made[way], args.device))
            parameters = next(iter(made.values())).model.num_parameters()
    seconds = {
        way: {k: statistics.median(lap[k] for lap in laps[way]) for k in ("cpu", "kernel", "wall")}
        for way in WAYS
    }
    return {
        "method": name,
        "world": args.title,
        "vocabulary": vocabulary,
        "tokens": batch.tokens,
        "answer_tokens": batch.forget.total_tokens + batch.retain.total_tokens,
        "loss_ours": losses["ours"],
        "loss_usual": losses["usual"],
        "seconds": seconds,
        "usual_over_ours": ratios(laps["usual"], laps["ours"]),
        "ours_over_floor": ratios(laps["ours"], laps["floor"]),
        "tokens_per_second": {way: batch.tokens / s["wall"] for way, s in seconds.items()},
    } | utilisation(args, parameters, batch.tokens, seconds)


def in_turn(ways: Sequence[str], number: int) -> Sequence[str]:
    """Return the ways in the order of this round: every other one goes backwards.

    So none always finds the heap and the cache as the same other one leaves them.
    """
    return ways if number % 2 == 0 else ways[::-1]


def utilisation(
    args: argparse.Namespace, parameters: int, tokens: int, seconds: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Return the model FLOPs utilisation, where the device's peak is known.

    It counts 6·N FLOPs a token for N parameters, or 4·N with a frozen base (no gradients of its weights).
    This count is the same for every way, so work that a way does besides lowers it.
    """
    if not args.device.startswith("cuda"):
        return {}
    title = torch.cuda.get_device_name()
    peak = next((flops for word, flops in PEAK_FLOPS.items() if word in title), None)
    flops = (6.0 if args.tuning == "full" else 4.0) * parameters * tokens
    found = {"gpu": title, "model_flops": flops}
    return (
        found if peak is None else found | {"mfu": {w: flops / s["wall"] / peak for w, s in seconds.items()}}
    )


def compare_memory(name: str, args: argparse.Namespace, vocabulary: int) -> dict[str, Any]:
    """Return the peak memory of one step on texts of one length.

    The first step makes the moments, the second is measured.
    """
    batch = batch_of(args, vocabulary, (args.memory_length, args.memory_length))
    peaks = {}
    for way in WAYS:
        with built(name, args, vocabulary, batch, (way,)) as made:
            made[way].step()
            peaks[way] = extra_memory(made[way], args.device)
    return {
        "method": name,
        "world": args.title,
        "vocabulary": vocabulary,
        "tokens": batch.tokens,
        "bytes": peaks,
        "usual_over_ours": peaks["usual"] / peaks["ours"],
        "ours_over_floor": peaks["ours"] / peaks["floor"],
    }


def ratios(above: Sequence[dict[str, float]], below: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median over rounds of the ratio within the round, so that a slow moment hits both sides."""
    pairs = list(zip(above, below, strict=True))
    return {k: statistics.median(a[k] / b[k] for a, b in pairs) for k in ("cpu", "wall")}


def table(result: Mapping[str, Any]) -> str:
    """Return a table of time and memory: the usual way divided by ours, and ours divided by the floor."""
    memory = {(m.get("world"), m["method"], m["vocabulary"]): m for m in result["memory"]}
    lines = [
        "| Model | Words | Method | usual ÷ ours, CPU time | ours ÷ floor, CPU time | CPU seconds ours · usual · floor "
        "| usual ÷ ours, memory | MiB ours · usual · floor |",
        "|---|--:|---|--:|--:|--:|--:|--:|",
    ]
    for row in result["rows"]:
        peaks = memory[row.get("world"), row["method"], row["vocabulary"]]
        seconds = " · ".join(f"{row['seconds'][way]['cpu']:.2f}" for way in WAYS)
        sizes = " · ".join(f"{peaks['bytes'][way] / 2**20:.0f}" for way in WAYS)
        lines.append(
            f"| {row.get('world', WORLDS['head'].title)} | {row['vocabulary']:,} | {TITLES[row['method']]} "
            f"| {row['usual_over_ours']['cpu']:.1f} | {row['ours_over_floor']['cpu']:.2f} | {seconds} "
            f"| {peaks['usual_over_ours']:.1f} | {sizes} |"
        )
    made = origins(row.get("origin", result) for row in result["rows"])
    return "\n".join(lines) + "\n\n" + made


def settings(args: argparse.Namespace, world: World | None) -> argparse.Namespace:
    """Return what one world is measured with: its own shape and texts, or those of the flags."""
    own = vars(args) | {"title": f"{args.size}, lengths {args.shortest} to {args.longest}"}
    if world is not None:
        own |= {
            "title": world.title,
            "size": world.size,
            "vocabularies": world.vocabularies,
            "batch": world.batch,
            "shortest": world.lengths[0],
            "longest": world.lengths[1],
            "answer": world.answer,
            "rounds": args.rounds or world.rounds,
        }
    return argparse.Namespace(**own | {"rounds": own["rounds"] or 6})


def measured(args: argparse.Namespace, origin_of: Mapping[str, Any]) -> Iterator[tuple[dict, dict]]:
    """Yield the row of times and the row of memory of each method and vocabulary."""
    about = dict(zip(("hidden", "layers", "heads", "kv_heads", "feed"), ways.SHAPES[args.size], strict=True))
    about = {"shape": about, "tuning": args.tuning, "device": args.device, "rounds": args.rounds}
    for vocabulary in args.vocabularies:
        for name in args.methods:
            row, peaks = compare(name, args, vocabulary), compare_memory(name, args, vocabulary)
            print(
                f"{args.title}: {name:8} {vocabulary:7} words: usual/ours cpu {row['usual_over_ours']['cpu']:.2f} "
                f"memory {peaks['usual_over_ours']:.1f}; ours/floor cpu {row['ours_over_floor']['cpu']:.2f} "
                f"memory {peaks['ours_over_floor']:.2f}; "
                + ", ".join(
                    f"{way} {s['cpu']:.3f} s cpu ({s['kernel']:.3f} kernel) {peaks['bytes'][way] / 2**20:.0f} MiB"
                    for way, s in row["seconds"].items()
                ),
                flush=True,
            )
            yield row | about | {"origin": origin_of}, peaks


def kept(path: Path, titles: Sequence[str]) -> dict[str, list[Any]]:
    """Return the recorded rows of the other worlds, which this run leaves as they are."""
    if not path.is_file():
        return {"rows": [], "memory": []}
    old = json.loads(path.read_text(encoding="utf-8"))
    of_head = {"world": WORLDS["head"].title, "origin": {k: v for k, v in old.items() if k not in ROWS}}
    whole = {part: [of_head | row for row in old[part]] for part in ROWS}
    return {part: [row for row in rows if row["world"] not in titles] for part, rows in whole.items()}


def main(words: Sequence[str] | None = None) -> None:
    """Compare the ways and record the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", nargs="*", choices=WORLDS, help="shapes and texts known by name")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", choices=ways.SHAPES, default="cpu")
    parser.add_argument("--tuning", choices=("full", "lora"), default="full")
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[1_000, 32_000, 128_000])
    parser.add_argument("--methods", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--rounds", type=int, default=0, help="0: as many as the world has, or 6")
    parser.add_argument("--batch", type=int, default=4, help="texts to forget, and as many to keep")
    parser.add_argument("--shortest", type=int, default=40)
    parser.add_argument("--longest", type=int, default=96)
    parser.add_argument("--answer", type=float, default=1 / 3, help="share of a text that is its answer")
    parser.add_argument(
        "--memory-length", type=int, default=128, help="length of the texts that memory is taken at"
    )
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--allow-dirty", action="store_true")
    args = parser.parse_args(words)
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(
            "--device cuda: torch sees no CUDA device here; install its CUDA build, or use --device cpu."
        )
    out = args.out or (RESULTS / "step.json" if args.worlds else None)
    top = header(args.allow_dirty) | {"threads": torch.get_num_threads()} if out else {}
    worlds = [settings(args, WORLDS[name]) for name in args.worlds or ()] or [settings(args, None)]
    found = kept(out, [world.title for world in worlds]) if out else {"rows": [], "memory": []}
    for world in worlds:
        for row, peaks in measured(world, top):
            found["rows"].append(row)
            found["memory"].append(peaks)
            if out:
                write_result(out, found)


if __name__ == "__main__":
    main()
