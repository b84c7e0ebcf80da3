"""Run folders written by the schema, without a model: what the page tests look at.

Numbers and texts are made up but shaped like the real ones: forgetting falls, retain holds.
"""

import math
from typing import Any

from unlearn.store.disk import append_line, write_json
from unlearn.store.runs import Run, RunConfig, RunStore

FACTS = (
    ("Where was Alma Reyes born?", " Lisbon", " Porto"),
    ("What does Jon Hale write?", " short stories", " travel guides"),
    ("Which prize did Mira Stone win?", " the Heron Prize", " the Silver Oak Award"),
)
WHEN = ("before", "after", "retrained")
EXACT = {"forget": (0.95, 0.05, 0.0), "retain": (0.97, 0.94, 0.98), "general": (0.9, 0.88, 0.9)}


def config(**changes: Any) -> RunConfig:
    """A small valid config; changes replace fields."""
    values = {
        "model": "tiny-authors",
        "data": {"name": "authors"},
        "method": "gd",
        "lr": 1e-3,
        "epochs": 4,
    }
    return RunConfig(**(values | changes))


def seed_run(store: RunStore, state: str = "done", steps: int = 20, owner: str = "", **changes: Any) -> Run:
    """A run in this state. "running" and "queued" hold only while the caller holds run.lock()."""
    run = store.create(config(**changes), owner=owner)
    if state == "queued":
        return run
    run.append("state", state="running")
    run.append("note", phase="loading model", seconds=0.4)
    run.append("eval", when="before", scores=scores(0))
    add_samples(run, 0)
    for step in range(steps + 1):
        add_step(run, step, steps)
    if state == "running":
        return run
    if state == "failed":
        run.append("state", state="failed", reason="loss became nan at step 12; lower lr (now 1e-3).")
    if state == "stopped":
        run.append("state", state="stopped", reason="You stopped it; the weights of this step are kept.")
    if state == "done":
        finish(run, steps)
    return run


def add_step(run: Run, step: int, of: int) -> None:
    """One optimiser step, and a probe every fifth."""
    done = step / of
    if step:
        terms = {"forget": -2.5 * done, "retain": 0.2 + 0.1 * math.sin(step)}
        extra = {"loss": sum(terms.values()), "grad_norm": 1.0, "lr": 1e-3, "tokens": 800 * step}
        run.append("step", step=step, of=of, terms=terms, seconds=round(0.3 * step, 2), **extra)
    if step % 5 == 0:
        items = [
            item(role, i, done if role == "forget" else 0.0) for role in ("forget", "retain") for i in (0, 1)
        ]
        append_line(run.path / "probes.jsonl", {"step": step, "items": items})
        run.append("probe", step=step)


def finish(run: Run, steps: int) -> None:
    """Scores, samples and results of a run that ended well."""
    for column in (1, 2):
        run.append("eval", when=WHEN[column], scores=scores(column))
        add_samples(run, column)
    write_json(
        run.path / "results.json",
        {
            "scores": run.scores(),
            "seconds": 7.4,
            "phases": {"training": 6.0, "scoring after": 1.1},
            "versions": {"torch": "2.13.0"},
            "model_hash": "0" * 12,
            "data_hash": "1" * 12,
            "data_title": "Fictional authors",
            "model_title": "Tiny authors",
            "method_title": "GA + GD",
            "device": "cpu",
            "dtype": "float32",
            "threads": 2,
            "parameters": 1_900_000,
            "trainable": 1_900_000,
            "tokens": 800 * steps,
            "flops": 1.8e11,
            "peak_memory": 4.1e8,
            "command": run.config.command(),
        },
    )
    run.append("state", state="done")


def scores(column: int) -> dict[str, dict[str, float]]:
    """Scores before (0), after (1), of the retrained model (2)."""
    made = {}
    for role, exact in EXACT.items():
        nll = 0.1 + 4 * (1 - exact[column])
        made[role] = {"n": 40, "nll": nll, "ppl": math.exp(nll), "accuracy": exact[column]}
        if role != "general":
            made[role] |= {"exact": exact[column], "rougeL": min(1.0, exact[column] + 0.05)}
    return made


def token(text: str, lp: float, rank: int, other: str) -> dict[str, Any]:
    """One scored answer token with its ten alternatives."""
    top = [[text, lp], [other, lp - 0.7 if rank == 0 else lp + 1.5]] + [
        [f" w{i}", -5.0 - i] for i in range(8)
    ]
    top.sort(key=lambda pair: -pair[1])
    return {"token": text, "id": 100 + len(text), "logit": 12 + lp, "lp": lp, "rank": rank, "top": top}


def item(role: str, index: int, done: float) -> dict[str, Any]:
    """A probe: done 0 knows the answer, done 1 has forgotten it."""
    question, answer, other = FACTS[index]
    lp = -0.05 - 5 * done
    tokens = [token(answer, lp, round(20 * done), other), token("<|eos|>", -0.01, 0, " and")]
    text = answer if done < 0.5 else other
    prompt = f"Question: {question}\nAnswer:"
    return {
        "role": role,
        "index": index,
        "prompt": prompt,
        "answer": answer,
        "text": text,
        "nll": -lp,
        "tokens": tokens,
    }


def add_samples(run: Run, column: int) -> None:
    """Generations and tokens of both roles for one model."""
    for role in ("forget", "retain"):
        for index, (question, answer, _) in enumerate(FACTS):
            probe = item(role, index, float(role == "forget" and column > 0))
            right = probe["text"] == answer
            row = {"when": WHEN[column], "question": question, "exact": right, "rougeL": float(right)}
            append_line(run.path / "samples.jsonl", probe | row)
