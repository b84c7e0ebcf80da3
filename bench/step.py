"""bench/step: our unlearning step, the usual way, and the floor, interleaved in one process.

    python -m bench.step                       CPU, vocabularies 1 k, 32 k, 128 k
    python -m bench.step --device cuda --size 1b --tuning lora

The floor is a plain fine-tuning step on the same answer tokens: one forward pass over the same texts, one
cross-entropy, one update. Both ways must give the same loss before anything is timed. What was expected before
measuring (CPU, 32 k words, lengths 40-96, batch 4 + 4): usual ÷ ours 2 for GA+GD (logits only where an answer is),
3 for NPO (no second model), 4 for UnDIAL and GA+KL (no second distribution over prompts and padding); ours ÷ floor
1.0 to 1.15, for UnDIAL and GA+KL up to 1.3 (a second head product over cached states).
"""

import argparse
import gc
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unlearn.memory import prefer_passive_threads

prefer_passive_threads()

import torch  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from bench.record import header, write_result  # noqa: E402
from bench.usual import IGNORE, LOSSES, UsualTrainer  # noqa: E402
from unlearn import memory  # noqa: E402
from unlearn.lm import Batch, Example, collate, forward  # noqa: E402
from unlearn.methods import METHODS  # noqa: E402
from unlearn.reference import Reference  # noqa: E402
from unlearn.train import make_optimizer  # noqa: E402

SHAPES = {  # hidden, layers, heads, key-value heads, feed-forward
    "toy": (64, 2, 4, 2, 128),
    "cpu": (256, 4, 4, 4, 688),
    "1b": (2048, 16, 32, 8, 8192),
    "8b": (4096, 32, 32, 8, 14336),
}
KNOBS = {
    "gd": {},
    "kl": {},
    "npo": {"beta": 0.1},
    "undial": {"gamma": 10.0, "retain_weight": 1.0},
}
LR = 1e-5


def make_model(size: str, vocabulary: int, device: str) -> Any:
    """A randomly initialised Llama of this size, float32 on CPU and bfloat16 on cuda."""
    hidden, layers, heads, kv, feed = SHAPES[size]
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        intermediate_size=feed,
        max_position_embeddings=2048,
        tie_word_embeddings=size != "8b",
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = LlamaForCausalLM(config)
    return model.to(torch.bfloat16 if device == "cuda" else torch.float32).eval()


def make_texts(count: int, lengths: tuple[int, int], vocabulary: int, seed: int) -> list[Example]:
    """Random texts whose last third is the answer."""
    rng = random.Random(seed)
    texts = []
    for key in range(count):
        length = rng.randint(*lengths)
        ids = [rng.randrange(3, vocabulary) for _ in range(length)]
        prompt = length - length // 3
        texts.append(Example(tuple(ids), tuple([IGNORE] * prompt + ids[prompt:]), seed * 1000 + key))
    return texts


def our_step(name: str, model: Any, batch: Batch) -> Callable[[], float]:
    """One step of ours, with the reference cached before."""
    method = METHODS[name](**KNOBS[name])
    ref = Reference(model, head_moves=True)
    for side, kind in method.needs_ref.items():
        ref.prepare(model, kind, [getattr(batch, side)])
    return stepper(model, lambda: torch.stack(list(method.loss(model, ref, batch).values())).sum())


def floor_step(model: Any, batch: Batch) -> Callable[[], float]:
    """Plain fine-tuning on the same texts and the same answer tokens."""

    def loss() -> Any:
        forget, retain = forward(model, batch.forget, batch.retain)
        return forget.mean_nll() + retain.mean_nll()

    return stepper(model, loss)


def stepper(model: Any, loss: Callable[[], Any]) -> Callable[[], float]:
    """Forward, backward, clip, update: what train.fit does at each step."""
    optimizer = make_optimizer(model, LR)
    moving = [p for p in model.parameters() if p.requires_grad]

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(moving, 1.0)
        optimizer.step()
        return float(value.detach())

    return step


def usual_step(name: str, model: Any, batch: Batch, folder: str) -> Callable[[], float]:
    trainer = UsualTrainer(name, model, folder, LR)

    def inputs(tokens: Any) -> dict[str, Any]:
        return {
            "input_ids": tokens.input_ids,
            "attention_mask": tokens.attention_mask,
            "labels": tokens.labels,
        }

    sides = {"forget": inputs(batch.forget), "retain": inputs(batch.retain)}
    return lambda: trainer.take_step(sides)


def timed(step: Callable[[], float], device: str) -> dict[str, float]:
    """CPU and wall seconds of one step."""
    if device == "cuda":
        torch.cuda.synchronize()
    cpu, wall = time.process_time(), time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def extra_memory(step: Callable[[], float], device: str) -> int:
    """Bytes above the resting level at the step's peak, optimiser state and gradients already there."""
    gc.collect()
    memory.reset_peak()
    resting = torch.cuda.memory_allocated() if device == "cuda" else memory.peak(device)
    step()
    return max(0, memory.peak(device) - resting)


def compare(name: str, args: argparse.Namespace, vocabulary: int, rounds: int) -> dict[str, Any]:
    """One method at one vocabulary: same loss first, then interleaved rounds."""
    lengths = (args.shortest, args.longest)
    forget, retain = (make_texts(args.batch, lengths, vocabulary, seed) for seed in (1, 2))
    batch = Batch(forget=collate(forget, 0).to(args.device), retain=collate(retain, 0).to(args.device))
    with tempfile.TemporaryDirectory() as folder:
        steps = {
            "ours": our_step(name, make_model(args.size, vocabulary, args.device), batch),
            "usual": usual_step(name, make_model(args.size, vocabulary, args.device), batch, folder),
            "floor": floor_step(make_model(args.size, vocabulary, args.device), batch),
        }
        losses = {way: step() for way, step in steps.items()}
        tolerance = 1e-5 if args.device == "cpu" else 2e-2
        if abs(losses["ours"] - losses["usual"]) > tolerance * max(1.0, abs(losses["usual"])):
            raise SystemExit(f"{name}: losses differ, ours {losses['ours']}, usual {losses['usual']}")
        laps: dict[str, list[dict[str, float]]] = {way: [] for way in steps}
        for _ in range(rounds):
            for way, step in steps.items():
                laps[way].append(timed(step, args.device))
        peaks = {
            way: statistics.median(extra_memory(step, args.device) for _ in range(3))
            for way, step in steps.items()
        }
    median = {
        way: {k: statistics.median(lap[k] for lap in laps[way]) for k in ("cpu", "wall")} for way in steps
    }
    return {
        "method": name,
        "vocabulary": vocabulary,
        "tokens": batch.tokens,
        "loss_ours": losses["ours"],
        "loss_usual": losses["usual"],
        "seconds": median,
        "extra_memory": peaks,
        "usual_over_ours": ratios(laps["usual"], laps["ours"])
        | {"memory": peaks["usual"] / max(1, peaks["ours"])},
        "ours_over_floor": ratios(laps["ours"], laps["floor"])
        | {"memory": peaks["ours"] / max(1, peaks["floor"])},
    }


def ratios(above: Sequence[dict[str, float]], below: Sequence[dict[str, float]]) -> dict[str, float]:
    """Median over rounds of the ratio within the round, so that a slow moment hits both sides."""
    pairs = list(zip(above, below, strict=True))
    return {k: statistics.median(a[k] / b[k] for a, b in pairs) for k in ("cpu", "wall")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", choices=SHAPES, default="cpu")
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[1_000, 32_000, 128_000])
    parser.add_argument("--methods", nargs="+", default=[m for m in LOSSES if m in METHODS])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--shortest", type=int, default=40)
    parser.add_argument("--longest", type=int, default=96)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--allow-dirty", action="store_true")
    args = parser.parse_args()
    rows = []
    for vocabulary in args.vocabularies:
        for name in args.methods:
            rows.append(compare(name, args, vocabulary, args.rounds))
            r = rows[-1]
            print(
                f"{name:8} {vocabulary:7} words: usual/ours cpu {r['usual_over_ours']['cpu']:.2f} "
                f"wall {r['usual_over_ours']['wall']:.2f} memory {r['usual_over_ours']['memory']:.1f}; "
                f"ours/floor cpu {r['ours_over_floor']['cpu']:.2f} wall {r['ours_over_floor']['wall']:.2f}; "
                f"{json.dumps({w: round(s['wall'], 3) for w, s in r['seconds'].items()})}",
                flush=True,
            )
    if args.out:
        write_result(args.out, header(args.allow_dirty) | {"shape": SHAPES[args.size], "rows": rows})


if __name__ == "__main__":
    main()
