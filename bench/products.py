"""Compares float32 matrix products by torch's BLAS (MKL here) and by the library that may replace it.

    python -m bench.products

Products as they occur here (a linear layer on a batch's tokens, forward and for both gradients, of the bundled model,
of SmolLM2 and of the output head), and whole steps of bench/step at 32 k words, each by both libraries in turn, on
one thread. Expected before measuring: no difference on Intel's processors, up to twice as fast with oneDNN on others
that have AVX-512.
Writes assets/results/products.json.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

import torch  # noqa: E402

from bench import ways  # noqa: E402
from bench.record import RESULTS, header, origin, write_result  # noqa: E402
from unlearn.compute import products  # noqa: E402
from unlearn.compute.tokens import Batch, collate  # noqa: E402

# Each shape: tokens, inputs, outputs.
SHAPES = {
    "bundled model, feed-forward": (256, 192, 512),
    "SmolLM2, feed-forward": (512, 576, 1536),
    "output head of 32 k words": (96, 256, 32_000),
}
TITLES = {"gd": "GA+GD", "npo": "NPO", "undial": "UnDIAL", "kl": "GA+KL"}


@contextmanager
def by(library: str) -> Iterator[None]:
    """Let this library multiply within the block."""
    before = os.environ.get("UNLEARN_PRODUCTS")
    os.environ["UNLEARN_PRODUCTS"] = library
    products.library.cache_clear()
    try:
        yield
    finally:
        os.environ.pop("UNLEARN_PRODUCTS")
        if before is not None:
            os.environ["UNLEARN_PRODUCTS"] = before
        products.library.cache_clear()


def layer_work(shape: tuple[int, int, int]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the three products of a linear layer."""
    tokens, inner, outer = shape
    torch.manual_seed(0)
    x, w, g = torch.randn(tokens, inner), torch.randn(outer, inner), torch.randn(tokens, outer)
    yield "forward", lambda: products.linear(x, w)
    yield "gradient of inputs", lambda: products.matmul(g, w)
    yield "gradient of weights", lambda: products.matmul(g.T, x)


def step_work(methods: Sequence[str], size: str, vocabulary: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield one training step of each method."""
    sides = (collate(ways.make_texts(4, (40, 96), vocabulary, seed), 0) for seed in (1, 2))
    batch = Batch(*sides)
    for name in methods:
        yield TITLES[name], ways.ours(name, ways.make_model(size, vocabulary, "cpu"), batch).step


def compare(work: Callable[[], Any], rounds: int) -> dict[str, Any]:
    """Return {library: median CPU seconds, "ratio": median of the rounds' ratios}. The libraries take turns."""
    laps: dict[str, list[float]] = {library: [] for library in products.LIBRARIES}
    # The first round only warms up.
    for _ in range(rounds + 1):
        for library in products.LIBRARIES:
            with by(library):
                start = time.process_time()
                work()
                laps[library].append(time.process_time() - start)
    own, other = (laps[library][1:] for library in products.LIBRARIES)
    ratio = statistics.median(a / b for a, b in zip(own, other, strict=True))
    return {"blas": statistics.median(own), "onednn": statistics.median(other), "ratio": ratio}


def measure(shapes: Mapping[str, tuple[int, int, int]], steps: Any, rounds: int) -> list[dict[str, Any]]:
    """Return one row for each product and each step."""
    rows = []
    for title, shape in shapes.items():
        told = f"{title}, {shape[0]} × {shape[1]} × {shape[2]}"
        rows += [{"what": told, "part": part} | compare(work, rounds) for part, work in layer_work(shape)]
    return rows + [{"what": "a whole step", "part": part} | compare(work, rounds) for part, work in steps]


def table(result: Mapping[str, Any]) -> str:
    """Return a table of CPU milliseconds by both libraries, and how many times as fast oneDNN is."""
    lines = ["| What | | BLAS, CPU ms | oneDNN, CPU ms | BLAS ÷ oneDNN |", "|---|---|--:|--:|--:|"]
    for row in result["rows"]:
        own, other = 1e3 * row["blas"], 1e3 * row["onednn"]
        lines.append(f"| {row['what']} | {row['part']} | {own:.2f} | {other:.2f} | {row['ratio']:.1f} |")
    return "\n".join(lines) + f"\n\nChosen on this machine: {result['chosen']}.\n\n" + origin(result)


def main(words: Sequence[str] | None = None) -> None:
    """Measure the products and record them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--methods", nargs="*", choices=list(TITLES), default=list(TITLES))
    parser.add_argument("--size", choices=list(ways.SHAPES), default="cpu")
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--out", type=Path, default=RESULTS / "products.json")
    parser.add_argument("--allow-dirty", action="store_true")
    args = parser.parse_args(words)
    top = header(args.allow_dirty)
    torch.set_num_threads(1)
    chosen = products.library()
    rows = measure(SHAPES, step_work(args.methods, args.size, args.vocabulary), args.rounds)
    found = top | {"chosen": chosen, "rows": rows}
    print(table(found))
    write_result(args.out, found)


if __name__ == "__main__":
    main()
