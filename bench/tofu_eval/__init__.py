"""Measures TOFU's evaluation of one model: ours beside the usual way, on the same items, in one process.

    python -m bench.tofu_eval                     32 items of each set, both ways by turns
    python -m bench.tofu_eval --whole             all 817 items our way alone: what `evaluate RUN --metrics tofu` takes

The usual way is what the benchmark's code does: a pass for each column of answers (the right one, its paraphrase, each
wrong one), 32 texts at a time padded to the longest, logits of every position, then generate() with prompts padded on
the left, 200 tokens with the prompt. Better here than there: texts are padded to the longest of the batch and not to
200 tokens. Both must give the same losses and the same words. Seconds of the CPU are counted, since others share it.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from unlearn.compute.memory import prefer_passive_threads

prefer_passive_threads()

import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from bench.record import RESULTS, header, origins, write_result  # noqa: E402
from unlearn.compute.tokens import IGNORE, Example, collate  # noqa: E402
from unlearn.data.base import Row  # noqa: E402
from unlearn.data.items.base import Part  # noqa: E402
from unlearn.data.items.find import items_of  # noqa: E402
from unlearn.data.prompts import in_format  # noqa: E402
from unlearn.measure import items  # noqa: E402
from unlearn.models.catalogue import default_prompt  # noqa: E402
from unlearn.models.load import Loaded, load  # noqa: E402
from unlearn.store.disk import read_json  # noqa: E402
from unlearn.training.encoding import encode_rows, ends_of  # noqa: E402

BATCH, ITEMS, ROUNDS = 32, 32, 2
# Two ways round differently: a loss a token may differ by this much.
CLOSE = 1e-3


@torch.no_grad()
def column(loaded: Loaded, examples: Sequence[Example]) -> list[float]:
    """Return the mean loss of each text's answer, from passes over padded batches with all logits."""
    found: list[float] = []
    for at in range(0, len(examples), BATCH):
        batch = collate(examples[at : at + BATCH], loaded.tokenizer.pad_token_id).to(loaded.device)
        logits = loaded.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        shifted, labels = logits[:, :-1].contiguous().float(), batch.labels[:, 1:].contiguous()
        losses = F.cross_entropy(
            shifted.transpose(-1, -2), labels, ignore_index=IGNORE, reduction="none"
        ).sum(-1)
        found += (losses / (labels != IGNORE).sum(-1)).tolist()
    return found


@torch.no_grad()
def generated(loaded: Loaded, prompts: Sequence[Sequence[int]], room: int) -> list[str]:
    """Return the greedy continuations, from generate() on prompts padded on the left."""
    said: list[str] = []
    for at in range(0, len(prompts), BATCH):
        some = prompts[at : at + BATCH]
        width = max(map(len, some))
        pad = loaded.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in some], device=loaded.device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in some], device=loaded.device)
        out = loaded.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_length=room,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            repetition_penalty=1.0,
            pad_token_id=pad,
            eos_token_id=ends_of(loaded.tokenizer),
        )
        said += loaded.tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
    return said


def usual(loaded: Loaded, part: Part) -> tuple[list[list[float]], list[str]]:
    """Return (the losses of each item: right, paraphrased, wrong; what is said in its place)."""
    rows = part.rows

    def coded(answers: Sequence[str]) -> list[Example]:
        asked = [replace(row, answer=text, entities=()) for row, text in zip(rows, answers, strict=True)]
        return encode_rows(loaded.tokenizer, asked, max_length=512)

    right = coded([row.answer for row in rows])
    prompts = [e.input_ids[: e.answer_at[0]] for e in right]
    said = generated(loaded, prompts, part.room)
    columns = [column(loaded, right)]
    if all(row.paraphrase for row in rows):
        columns.append(column(loaded, coded([row.paraphrase for row in rows])))
    columns += [column(loaded, coded([row.wrong[k] for row in rows])) for k in range(len(rows[0].wrong))]
    return [list(values) for values in zip(*columns, strict=True)], said


def ours(loaded: Loaded, part: Part) -> tuple[list[list[float]], list[str]]:
    """Return the same from the product's own way."""
    found = items.ask(loaded, part)
    losses = [
        [loss.mean for loss in (item.right, item.paraphrased, *item.wrong) if loss is not None]
        for item in found
    ]
    return losses, [item.said for item in found]


def parts_of(model: str, data: str, count: int) -> dict[str, Part]:
    """Return TOFU's four sets, or so many items of each, in the model's own prompt format."""
    form = default_prompt(model)

    def some(rows: Sequence[Row]) -> tuple[Row, ...]:
        return in_format(rows[:count] if count else rows, form)

    return {name: replace(part, rows=some(part.rows)) for name, part in items_of(data).parts.items()}


def timed(way: Callable[..., Any], loaded: Loaded, parts: Mapping[str, Part]) -> tuple[float, float, Any]:
    """Return (CPU seconds, seconds of the clock, what the way found in each set)."""
    cpu, clock = time.process_time(), time.perf_counter()
    found = {name: way(loaded, part) for name, part in parts.items()}
    return time.process_time() - cpu, time.perf_counter() - clock, found


def agreement(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float]:
    """Return the largest difference of two ways' losses, and the share of items of which both say the same."""
    losses = [
        abs(a - b)
        for name in one
        for mine, theirs in zip(one[name][0], other[name][0], strict=True)
        for a, b in zip(mine, theirs, strict=True)
    ]
    said = [a == b for name in one for a, b in zip(one[name][1], other[name][1], strict=True)]
    return {"loss": max(losses), "same": sum(said) / len(said), "n": len(said)}


def measure(model: str, data: str, count: int, rounds: int) -> dict[str, Any]:
    """Return the seconds of both ways by turns, the ratio, and how far they agree."""
    loaded, parts = load(model), parts_of(model, data, count)
    # The first pass of a model pays for what later ones find ready.
    for way in (usual, ours):
        way(loaded, replace(parts["tofu world_facts"], rows=parts["tofu world_facts"].rows[:4]))
    seconds: dict[str, list[float]] = {"usual": [], "ours": []}
    told: dict[str, Any] = {}
    for _ in range(rounds):
        for name, way in (("usual", usual), ("ours", ours)):
            cpu, _, told[name] = timed(way, loaded, parts)
            seconds[name].append(cpu)
    found = agreement(told["usual"], told["ours"])
    if found["loss"] > CLOSE:
        raise SystemExit(f"the two ways differ by {found['loss']:.2e} in a loss: one of them is wrong.")
    best = {name: min(values) for name, values in seconds.items()}
    return {"cpu_seconds": seconds, "ratio": best["usual"] / best["ours"], "agreement": found, "items": count}


def whole(model: str, data: str) -> dict[str, Any]:
    """Return what all items take our way."""
    loaded, parts = load(model), parts_of(model, data, 0)
    cpu, clock, _ = timed(ours, loaded, parts)
    return {"cpu_seconds": cpu, "seconds": clock, "items": sum(len(part.rows) for part in parts.values())}


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown: both ways on some items, and ours on all."""
    lines = ["| TOFU's evaluation of one model | items | CPU seconds | by the clock |", "|---|--:|--:|--:|"]
    some, every = result["some"], result["whole"]
    if some:
        n, best = some["agreement"]["n"], {name: min(v) for name, v in some["cpu_seconds"].items()}
        lines += [
            f"| the usual way | {n} | {best['usual']:.0f} | |",
            f"| ours | {n} | {best['ours']:.0f} | |",
        ]
    if every:
        cpu, clock = every["cpu_seconds"], every["seconds"]
        lines.append(f"| ours, all items | {every['items']} | {cpu:.0f} | {clock:.0f} |")
    if some:
        agreed = some["agreement"]
        lines += [
            "",
            f"{some['ratio']:.1f} × faster; losses differ by at most {agreed['loss']:.1e} nats a token, and "
            f"{agreed['same']:.0%} of the {agreed['n']} answers are the same to the letter.",
        ]
    made = [one["origin"] for one in (some, every) if one]
    return "\n".join([*lines, "", origins(made)])


def main() -> None:
    """Measure one of the two and write it beside the other."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default="smollm2")
    p.add_argument("--data", default="tofu-forget10")
    p.add_argument("--items", type=int, default=ITEMS, help="of each set (default: 32)")
    p.add_argument("--rounds", type=int, default=ROUNDS)
    p.add_argument("--whole", action="store_true", help="all items, our way alone")
    p.add_argument("--allow-dirty", action="store_true")
    args = p.parse_args()
    out = RESULTS / "tofu_eval.json"
    result = {"some": {}, "whole": {}} | read_json(out)
    top = {"origin": header(args.allow_dirty, model=args.model, data=args.data)}
    if args.whole:
        result["whole"] = whole(args.model, args.data) | top
    else:
        result["some"] = measure(args.model, args.data, args.items, args.rounds) | top
    write_result(out, result)
    print(table(result))
