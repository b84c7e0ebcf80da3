"""Compares what is made by hand here with what the pinned libraries have for it.

    python -m bench.upstream

    head       F.linear_cross_entropy, whole and in chunks, against unlearn/compute/head.py
    chunks     the head's own chunks: how many answer tokens together, and p - q kept or made again, against what
               unlearn/compute/chunks.py chooses
    adapter    PEFT's layer as it comes, and under autocast with disable_input_dtype_casting, against compute/lora.py
    packing    transformers' mask made from restarting positions, and a padded batch, against compute/packing.py
    places     accelerate.infer_auto_device_map against models/placement.py
    header     safetensors.safe_open against reading a file's header by hand
    hub        huggingface_hub.get_hf_file_metadata against asking by hand, on a server of this machine

Two shapes with random weights: hidden 512 and 8 blocks with 32 k words, and SmolLM2's (hidden 576, 49 k words) with 6
of its 30 blocks; for the chunks also hidden 512 with 128 k words. Expected before measuring, in CPU time: torch's
head 1.2 to 1.5 times ours where the matrix moves, because it makes the logits twice, and as fast where nobody asks
for its gradient; PEFT's layers 1.3 times ours in bfloat16, and under autocast about 1.1; transformers' packed mask
1.1 times ours at 8 texts of 40 to 96 tokens, because attention works on all pairs of the row; accelerate's map slower
by some milliseconds that nobody notices, but with the output head elsewhere; safe_open and the hub's own question as
fast as ours; chunks of 32 tokens 1.3 times those that are chosen, larger ones 0.95 to 1.05 times, and p - q made
again 1.3 times.

Linear layers multiply by the same library everywhere, but for the head, where torch's own function chooses. All ways
of a part must give the same result before anything is timed. A ratio is the median over rounds of the ratio
within a round. Memory is what tensors take at the peak of a step (places, header, hub: what Python allocates).
"""

import argparse
import gc
import json
import statistics
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

import torch  # noqa: E402
from accelerate import infer_auto_device_map, init_empty_weights  # noqa: E402
from huggingface_hub import get_hf_file_metadata  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from peft.helpers import disable_input_dtype_casting  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM  # noqa: E402

from bench import ways  # noqa: E402
from bench.record import RESULTS, header, origin, write_result  # noqa: E402
from unlearn.compute import chunks, lora, packing  # noqa: E402
from unlearn.compute import head as heads  # noqa: E402
from unlearn.compute.head import Head, cross_entropy  # noqa: E402
from unlearn.compute.layout import layout_of  # noqa: E402
from unlearn.compute.memory import allocated_peak  # noqa: E402
from unlearn.compute.products import adopt  # noqa: E402
from unlearn.compute.states import last_states  # noqa: E402
from unlearn.compute.tokens import collate  # noqa: E402
from unlearn.models import placement  # noqa: E402
from unlearn.models.machine import choose_once  # noqa: E402

# Each shape: hidden size, blocks, heads, key-value heads, feed-forward size, words.
SHAPES = {
    "512 × 8 blocks, 32 k words": (512, 8, 8, 8, 1376, 32_000),
    "SmolLM2's, 6 blocks": (576, 6, 9, 3, 1536, 49_152),
}
TOY = {"toy": (64, 2, 4, 2, 128, 300)}
# More shapes for the chunks of the head: hidden size and words are read alone.
WIDE = {"hidden 512, 128 k words": (512, 0, 0, 0, 0, 128_256)}
# The number of answer tokens in a batch that is long enough to be cut into chunks.
MANY_ANSWERS = 512
# The number of answer tokens in a step of 4 + 4 texts of TOFU's length.
ANSWERS = 128
Ways = dict[str, Callable[[], Any]]


def config_of(shape: Sequence[int]) -> LlamaConfig:
    """Return the configuration of a Llama of this shape."""
    hidden, blocks, heads, groups, feed, words = shape
    return LlamaConfig(
        vocab_size=words,
        hidden_size=hidden,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        intermediate_size=feed,
        tie_word_embeddings=True,
    )


def model_of(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Any:
    """Return a Llama of this shape with random weights."""
    torch.manual_seed(0)
    return adopt(LlamaForCausalLM(config_of(shape)).eval().to(dtype))


def weighted(states: Any) -> Any:
    """Return a loss of states that is not their size.

    A model's last norm fixes the size, so its gradient would be noise.
    """
    return (states.float() * torch.linspace(-1, 1, states.shape[-1])).mean()


def head_ways(shape: Sequence[int], moves: bool) -> Ways:
    """Return the ways to compute two losses, one of them ascended, and their gradients, as a step of GA+GD
    has them.
    """
    torch.manual_seed(0)
    linear = torch.nn.Linear(shape[0], shape[-1], bias=False).requires_grad_(moves)
    torch.nn.init.normal_(linear.weight, std=0.02)
    states, labels = torch.randn(ANSWERS, shape[0]), torch.randint(0, shape[-1], (ANSWERS,))
    half = ANSWERS // 2

    def by(losses: Callable[..., Any], make: Callable[[], Any] = lambda: linear.weight) -> Any:
        hidden = states.clone().requires_grad_(True)
        about = make()
        parts = [
            losses(about, hidden[part], labels[part]).mean() for part in (slice(half), slice(half, None))
        ]
        wanted = [hidden, linear.weight] if moves else [hidden]
        return [parts[1].detach(), *torch.autograd.grad(parts[1] - parts[0], wanted)]

    def torchs(options: Any) -> Callable[..., Any]:
        return lambda w, h, y: F.linear_cross_entropy(h, w, y, reduction="none", options=options)

    return {
        "ours": lambda: by(cross_entropy, lambda: Head(linear)),
        "F.linear_cross_entropy": lambda: by(torchs(None)),
        "the same, in chunks": lambda: by(torchs(torch.nn.LinearCrossEntropyOptions())),
    }


def chunk_ways(shape: Sequence[int]) -> tuple[Ways, dict[str, str]]:
    """Return the ways to cut the head's work into chunks, and a word on what is chosen here.

    The work is that of a step of GA+GD with a head that moves.
    """
    torch.manual_seed(0)
    linear = torch.nn.Linear(shape[0], shape[-1], bias=False)
    torch.nn.init.normal_(linear.weight, std=0.02)
    states, labels = torch.randn(MANY_ANSWERS, shape[0]), torch.randint(0, shape[-1], (MANY_ANSWERS,))
    half = MANY_ANSWERS // 2
    size, kept = chunks.chunk(shape[-1]), chunks.keeps(half, shape[-1])

    def step(count: int, keeping: bool) -> Any:
        # The head asks for both each time; here they are said.
        before = heads.chunk, heads.keeps
        heads.chunk, heads.keeps = (lambda *_: count), (lambda *_: keeping)
        try:
            hidden, head = states.clone().requires_grad_(True), Head(linear)
            parts = [
                cross_entropy(head, hidden[part], labels[part]).mean()
                for part in (slice(half), slice(half, None))
            ]
            return [parts[1].detach(), *torch.autograd.grad(parts[1] - parts[0], [hidden, linear.weight])]
        finally:
            heads.chunk, heads.keeps = before

    ways_of: Ways = {"ours": lambda: step(size, kept)}
    for count in chunks.ROWS:
        for keeping in (True, False):
            name = f"{count} tokens, p - q {'kept' if keeping else 'made again'}"
            ways_of[name] = lambda count=count, keeping=keeping: step(count, keeping)
    return ways_of, {"ours": f"{size} tokens, {'kept' if kept else 'made again'}"}


def adapter_ways(shape: Sequence[int], dtype: torch.dtype) -> Ways:
    """Return the ways to pass forward and backward under LoRA of rank 8 on every linear layer."""
    batch = collate(ways.make_texts(4, (40, 96), shape[-1], 1), 0)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")

    def made() -> Any:
        torch.manual_seed(1)
        model = get_peft_model(model_of(shape, dtype), config).eval()
        for name, p in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(p, std=0.02)
        return model

    def step(model: Any) -> Any:
        model.zero_grad(set_to_none=True)
        states = last_states(model, {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask})
        weighted(states).backward()
        return [states.detach(), *(p.grad for n, p in model.named_parameters() if "lora_A" in n)]

    def amp(model: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16), disable_input_dtype_casting(model):
            return step(model)

    mine, theirs = lora.lean(made()), made()
    found: Ways = {"ours": lambda: step(mine), "PEFT's layer": lambda: step(theirs)}
    return found | ({"the same under autocast": lambda: amp(theirs)} if dtype == torch.bfloat16 else {})


def packing_ways(shape: Sequence[int]) -> Ways:
    """Return the ways to pass forward and backward over 8 texts of 40 to 96 tokens.

    Each gives the states of real tokens, in their order.
    """
    model = model_of(shape)
    batch = collate(ways.make_texts(8, (40, 96), shape[-1], 1), 0)
    real = batch.attention_mask.bool()
    place = real.cumsum(1)[real] - 1

    def finish(states: Any) -> Any:
        model.zero_grad(set_to_none=True)
        weighted(states).backward()
        return [states.detach(), model.model.layers[0].mlp.up_proj.weight.grad]

    def ours() -> Any:
        layout = layout_of(batch.attention_mask, model.lm_head.weight)
        with packing.attending(model.config, layout):
            states = last_states(model, packing.packed_inputs(batch.input_ids, layout))
            return finish(states[0][: len(place)])

    def theirs() -> Any:
        told = {"input_ids": batch.input_ids[real][None], "position_ids": place[None], "attention_mask": None}
        return finish(last_states(model, told)[0])

    def padded() -> Any:
        told = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        return finish(last_states(model, told)[real])

    return {"ours": ours, "positions that restart": theirs, "a padded batch": padded}


def places_ways(shape: Sequence[int]) -> tuple[Ways, dict[str, str]]:
    """Return the ways to place a model of 32 such blocks of which half fits, and a sentence on each one's
    map.
    """
    config = config_of([shape[0], 32, *shape[2:]])
    parts = placement.anatomy(config, AutoModelForCausalLM)
    rest, each = parts.sizes("float32", "float32")
    limit = rest + sum(each) // 2

    def ours() -> Any:
        found = placement.anatomy(config, AutoModelForCausalLM)
        return placement.plan(found, dtype="float32", precision="float32", device="cpu", limit=limit).map

    def theirs() -> Any:
        with init_empty_weights():
            model = LlamaForCausalLM(config)
        model.tie_weights()
        rooms = {"cpu": limit, "disk": 10 * limit}
        return infer_auto_device_map(model, rooms, no_split_module_classes=["LlamaDecoderLayer"])

    def told(found: Mapping[str, Any]) -> str:
        blocks = sum(".layers." in name and place == "cpu" for name, place in found.items())
        away = sorted({name for name, place in found.items() if place == "disk" and ".layers." not in name})
        return f"{blocks} of 32 blocks stay" + (f", {', '.join(away)} goes" if away else ", all else stays")

    found = {"ours": ours, "infer_auto_device_map": theirs}
    return found, {name: told(way()) for name, way in found.items()}


def header_ways(shape: Sequence[int], folder: Path) -> Ways:
    """Return the ways to read names and shapes of the tensors in a file."""
    file = folder / "model.safetensors"
    save_file({k: v.clone() for k, v in model_of(shape).state_dict().items() if k != "lm_head.weight"}, file)

    def by_hand() -> Any:
        with open(file, "rb") as handle:
            top = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
        return {name: tuple(t["shape"]) for name, t in top.items() if name != "__metadata__"}

    def theirs() -> Any:
        with safe_open(file, framework="numpy") as handle:
            return {name: tuple(handle.get_slice(name).get_shape()) for name in handle.keys()}  # noqa: SIM118

    return {"ours": by_hand, "safe_open": theirs}


class _Hub(BaseHTTPRequestHandler):
    """Answers every question for a file's head."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        for name, value in (("ETag", '"1"'), ("X-Repo-Commit", "1" * 40), ("Content-Length", "2")):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing on the screen."""


def hub_ways(address: str) -> Ways:
    """Return the ways to ask whether the hub answers for a model."""
    import urllib.request

    url = f"{address}/owner/name/resolve/main/config.json"

    def by_hand() -> Any:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5) as answer:
            return answer.status == 200

    return {
        "ours": by_hand,
        "get_hf_file_metadata": lambda: get_hf_file_metadata(url, timeout=5).etag == "1",
    }


def parts(
    shapes: Mapping[str, Sequence[int]], folder: Path
) -> Iterator[tuple[str, str, Ways, dict[str, str]]]:
    """Yield (part, what, ways, a word on each way) in the order of the table."""
    for title, shape in shapes.items():
        for moves in (True, False):
            yield (
                "head",
                f"{title}; the matrix {'moves' if moves else 'is frozen'}",
                head_ways(shape, moves),
                {},
            )
        for dtype in (torch.bfloat16, torch.float32):
            yield "adapter", f"{title}; {str(dtype)[6:]}", adapter_ways(shape, dtype), {}
        yield "packing", title, packing_ways(shape), {}
    for title, shape in (shapes if shapes is TOY else shapes | WIDE).items():
        yield "chunks", title, *chunk_ways(shape)
    shape = next(iter(shapes.values()))
    yield "places", "32 blocks of which half fit", *places_ways(shape)
    yield "header", "a file of one model", header_ways(shape, folder), {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield "hub", "a server of this machine", hub_ways(f"http://127.0.0.1:{server.server_port}"), {}
    server.shutdown()


def check_same(part: str, found: Mapping[str, Any]) -> None:
    """Exit unless every way gives what ours gives. Where parts lie may differ, and the table says how."""
    want = found["ours"]
    for name, value in found.items():
        if part == "places" or not isinstance(want, list):
            same = part == "places" or value == want
        else:
            # The adapter has a wider limit, because bfloat16 rounds.
            near = 0.1 if part == "adapter" else 1e-3
            same = all(
                float((a.float() - b.float()).norm()) <= near * float(b.float().norm())
                for a, b in zip(value, want, strict=True)
            )
        if not same:
            raise SystemExit(f"{part}: {name} gives something else than ours")


def peak_of(work: Callable[[], Any], part: str) -> int:
    """Return the bytes at the peak of the work, as its part counts them."""
    if part in ("head", "chunks", "adapter", "packing"):
        return allocated_peak(work, "cpu")
    tracemalloc.start()
    work()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def measured(part: str, what: str, of: Ways, words: Mapping[str, str], rounds: int) -> list[dict[str, Any]]:
    """Return one row for each way: CPU seconds, bytes at the peak, and both over ours."""
    # Two results at a time: a gradient of the head's matrix has hundreds of megabytes.
    want = of["ours"]()
    for name, work in of.items():
        check_same(part, {"ours": want, name: work()})
    del want
    laps: dict[str, list[float]] = {name: [] for name in of}
    for _ in range(rounds):
        for name, work in of.items():
            gc.collect()
            start = time.process_time()
            work()
            laps[name].append(time.process_time() - start)
    peaks = {name: peak_of(work, part) for name, work in of.items()}
    return [
        {
            "part": part,
            "what": what,
            "way": name,
            "cpu": statistics.median(laps[name]),
            "over_ours": statistics.median(a / b for a, b in zip(laps[name], laps["ours"], strict=True)),
            "bytes": peaks[name],
            "bytes_over_ours": peaks[name] / max(1, peaks["ours"]),
            "word": words.get(name, ""),
        }
        for name in of
    ]


def table(result: Mapping[str, Any]) -> str:
    """Return a table of CPU time and memory of each way, and how many times ours."""
    lines = [
        "| Part | What | Way | CPU ms | ÷ ours | Peak, MiB | ÷ ours |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    for row in result["rows"]:
        way = row["way"] + (f" ({row['word']})" if row["word"] else "")
        lines.append(
            f"| {row['part']} | {row['what']} | {way} | {1e3 * row['cpu']:.4g} | {row['over_ours']:.2f} "
            f"| {row['bytes'] / 2**20:.3g} | {row['bytes_over_ours']:.2f} |"
        )
    return "\n".join(lines) + "\n\n" + origin(result)


def main(words: Sequence[str] | None = None) -> None:
    """Measure the ways of each part and record them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="parts by name")
    parser.add_argument("--toy", action="store_true", help="a small shape, to see whether it runs")
    parser.add_argument("--out", type=Path, default=RESULTS / "upstream.json")
    parser.add_argument("--allow-dirty", action="store_true")
    args = parser.parse_args(words)
    top = header(args.allow_dirty)
    torch.set_num_threads(1)
    # The libraries and chunks that this machine was found to do best with, as a run has them.
    choose_once()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for part, what, of, told in parts(TOY if args.toy else SHAPES, Path(folder)):
            if not args.only or part in args.only:
                print(f"{part}: {what}", flush=True)
                rows += measured(part, what, of, told, args.rounds)
    found = top | {"rounds": args.rounds, "rows": rows}
    print(table(found))
    write_result(args.out, found)


if __name__ == "__main__":
    main()
