"""Trains by two processes and by one, and writes what each did; tests/training/test_sharded.py starts and reads it.

torchrun --nproc-per-node 2 tests/two_processes.py MODEL OUT
"""

import copy
import json
import os
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from unlearn.compute import lm, together
from unlearn.compute.tokens import collate
from unlearn.data.base import Row
from unlearn.engines.processes import follow
from unlearn.measure.generating import by_library
from unlearn.methods import OFFERED, method_named
from unlearn.models.load import Loaded, add_lora, load
from unlearn.store.config import RunConfig
from unlearn.store.runs import Run, RunStore
from unlearn.training import processes
from unlearn.work.execute import execute
from unlearn.work.session import Session

# Five texts in steps of two: the last step of an epoch has one, so that a process has none of its own.
FORGET = [
    Row(question=f"What is {word}?", answer=f"{word} " * (2 + at), wrong=("red", "a novel of one"))
    for at, word in enumerate(("red", "green", "blue", "one", "two"))
]
KEEP = [
    Row(question=f"Where was {word} born?", answer="in the capital " * (1 + at % 3))
    for at, word in enumerate(("one", "two", "three", "red", "green"))
]
KNOBS = {
    "altpo": {"alternates": 1},
    "undo": {"noise": 0.1},
    "repselect": {"rank": 4, "kl_budget": 1e-4},
    "mend": {"hidden": 4},
    "sisa": {"slices": 2},
}
# RepSelect's rate is the length of its steps: some pass its budget and are taken back.
CHANGES = {"repselect": {"lr": 0.05}, "sisa": {"epochs": 2}}
CASES = [(name, tuning) for name, method in OFFERED.items() for tuning in method.tunings]
# Trainings that go on from another one's weights, with the model to begin with as their reference.
AFTER = [("npo", "full"), ("npo", "lora"), ("undo", "full")]


# The forget term's gradient is taken beside the weights here, at a place found from all parts of the gradient.
SAM = {("npo", "full"): 0.01}


@cache
def loaded(model: Path, tuning: str) -> Loaded:
    """The model from the disk, which is read once for all cases."""
    return load(str(model), tuning=tuning)


def session_of(model: Path, name: str, tuning: str, **changes: object) -> Session:
    config = RunConfig(
        model=str(model),
        data={"name": "given"},
        method=name,
        tuning=tuning,
        prompt="plain",
        sam=SAM.get((name, tuning), 0.0),
        **(
            {"epochs": 1, "batch_size": 1, "accumulation": 2, "lr": 1e-3, "lora_rank": 2, "seed": 3}
            | CHANGES.get(name, {})
            | changes
        ),
    )
    cls = method_named(name)
    keeps = {"retain_weight": 0.7} if any(k.name == "retain_weight" for k in cls.knobs()) else {}
    method = cls(**keeps, **KNOBS.get(name, {}))
    fresh = loaded(model, tuning)
    fresh = replace(fresh, model=copy.deepcopy(fresh.model))
    keep = KEEP if method.retain_ratio else []
    if not config.start:
        return Session(fresh, config, method, FORGET, keep)
    return Session(moved(fresh, config), config, method, FORGET, keep, original=copy.deepcopy(fresh.model))


def moved(begun: Loaded, config: RunConfig) -> Loaded:
    """The model as another training has left it: on another place, with its adapter where it has one."""
    model = copy.deepcopy(begun.model)
    if config.tuning == "lora":
        model = add_lora(model, rank=2, alpha=4, seed=1)
    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(torch.randn(parameter.shape, generator=drawn), alpha=0.02)
    return replace(begun, model=model)


@torch.no_grad()
def scores(session: Session) -> list[float]:
    """What the model makes of the texts to forget, in a pass of the first process's own."""
    texts = session.batches.forget or session.batches.retain
    (answers,) = lm.forward(session.model, collate(texts, session.loaded.pad_id))
    return answers.row_sum(answers.nll).tolist()


def said(session: Session) -> list[list[int]]:
    """What the library's generate() says, again for the first process alone. Under an adapter it is never asked."""
    if session.config.tuning == "lora":
        return []
    model, tokenizer = session.model, session.loaded.tokenizer
    together.continues(model, 8)
    return by_library(model, tokenizer, [[5, 6, 7], [8]], [(), ()], 3, (), "cpu")


def watched(session: Session, folder: Path) -> dict:
    """Train, and look at the model between two steps and behind the last one. folder: of what a method keeps."""
    os.environ["UNLEARN_CACHE"] = str(folder)
    session.prepare()
    # A pass before the first step leaves weights together, which a method must not take for its own part.
    told: dict = {"steps": [], "scores": [scores(session)], "said": []}
    for done in session:
        told["steps"].append([done.terms, done.grad_norm, done.tokens])
        if done.step == 2:
            told["scores"].append(scores(session))
            told["said"] += said(session)
    told["scores"].append(scores(session))
    weights = session.model.state_dict()
    told["weights"] = {name: weights[name].double().norm().item() for name in sorted(weights)}
    told["kept"] = weights
    return told


def both(session: Session, group: processes.Group, folder: Path) -> dict:
    """The same by two processes; what the second did is not told."""
    session.prepare()
    if group.rank == 0:
        return watched(session, folder / "two")
    # Each process has a folder of its own, as on several machines.
    os.environ["UNLEARN_CACHE"] = str(folder / "other")
    session.follow(folder)
    return {}


def gap(one: dict, other: dict) -> float:
    """The largest difference of a weight."""
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


def compare(model: Path, out: Path, group: processes.Group) -> dict[str, dict]:
    found = {}
    starts = [*((*case, "") for case in CASES), *((*case, "20260131-120000-gd-1a2b") for case in AFTER)]
    for name, tuning, start in starts:
        two = both(session_of(model, name, tuning, start=start), group, out)
        if group.rank > 0:
            continue
        with processes.alone():
            one = watched(session_of(model, name, tuning, start=start), out / "one")
        weights = gap(one.pop("kept"), two.pop("kept"))
        found[f"{name} {tuning}{' after' if start else ''}"] = {"one": one, "two": two, "gap": weights}
    return found


def again(model: Path, out: Path, group: processes.Group) -> dict:
    """SISA once more, when its slices are trained: the first process has them, the others need none."""
    first = both(session_of(model, "sisa", "full"), group, out / "again")
    second = both(session_of(model, "sisa", "full"), group, out / "again")
    if group.rank > 0:
        return {}
    return {
        "steps": [len(first["steps"]), len(second["steps"])],
        "gap": gap(first["kept"], second["kept"]),
        "folders": sorted(path.name for path in (out / "again").iterdir()),
    }


def go_on(model: Path, out: Path, group: processes.Group) -> dict[str, float]:
    """Stop after step 3 of 6 and go on with another number of processes: the distance to a run that did not stop."""
    found = {}
    for tuning in ("full", "lora"):
        kept = {}
        for before in (1, 2):
            folder = out / f"{tuning}-{before}"
            stop(session_of(model, "gd", tuning, epochs=2), before, folder, group)
            for after in (1, 2):
                processes.meet()
                if weights := resumed(session_of(model, "gd", tuning, epochs=2), after, folder, group):
                    kept[before, after] = weights
        if group.rank == 0:
            with processes.alone():
                whole = watched(session_of(model, "gd", tuning, epochs=2), out)["kept"]
            found |= {f"{tuning} {b} {a}": gap(whole, weights) for (b, a), weights in kept.items()}
    return found


def stop(session: Session, count: int, folder: Path, group: processes.Group) -> None:
    if count == 1:
        if group.rank == 0:
            with processes.alone():
                to_step_3(session, folder)
    elif group.rank == 0:
        to_step_3(session, folder)
    else:
        session.prepare()
        session.follow(folder)


def to_step_3(session: Session, folder: Path) -> None:
    for done in session:
        if done.step == 3:
            break
    session.save_checkpoint(folder, 3)
    session.close()


def resumed(session: Session, count: int, folder: Path, group: processes.Group) -> dict:
    if count == 1:
        if group.rank > 0:
            return {}
        with processes.alone():
            session.resume(folder)
            return watched(session, folder)["kept"]
    session.resume(folder)
    return both(session, group, folder).get("kept", {})


# Whole runs: of each way to train one whose first process does most by itself, between steps and before them.
RUNS = [("altpo", "lora"), ("whp", "lora"), ("eul", "layers"), ("repselect", "full"), ("mend", "full")]


def whole_runs(model: Path, out: Path, group: processes.Group) -> dict[str, dict]:
    """What the first process does alone in a run, such as its probes, must leave nobody waiting."""
    found, data = {}, {}
    for role, words in (
        ("forget", "red green blue two"),
        ("retain", "one two three red"),
        ("general", "in the of"),
    ):
        data[role] = str(out / f"{role}.csv")
        if group.rank == 0:
            lines = "".join(f"What is {word}?,{word} {word}\n" for word in words.split())
            Path(data[role]).write_text("question,answer\n" + lines)
    for name, tuning in RUNS:
        settings = {"epochs": 2, "batch_size": 2, "lr": 1e-3, "lora_rank": 2, "probes": 3, "prompt": "plain"}
        settings |= {"knobs": KNOBS.get(name, {})} | CHANGES.get(name, {})
        if group.rank > 0:
            follow(Run(Path(processes.told(""))), [out, model])
            continue
        config = RunConfig(model=str(model), data=data, method=name, tuning=tuning, **settings)
        run = RunStore(out / "runs").create(config)
        processes.told(str(run.path))
        with run.held():
            execute(run, roots=[out, model])
        # The other process would wait for this one for ever.
        assert run.state == "done", run.reason
        found[f"{name} {tuning}"] = {kind: len(run.events(kind)) for kind in ("step", "probe")}
    return found


def main(model: Path, out: Path) -> None:
    torch.set_num_threads(1)
    with processes.joined() as group:
        found = {
            "cases": compare(model, out, group),
            "again": again(model, out, group),
            "gone on": go_on(model, out, group),
            "runs": whole_runs(model, out, group),
        }
        if group.rank == 0:
            (out / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
