"""Carries out tasks of lm-evaluation-harness on a finished run, and keeps their results in its metrics.json.

The harness (package lm-eval, an extra) runs in a process of its own, so that what it imports, downloads or breaks is
not ours. The model is the one that the run made, and the one before it for the difference; what was measured for the
same weights, tasks and limit is not measured again.
"""

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import unlearn
from unlearn.compute.intervals import Z, wilson
from unlearn.measure import judge, score_cache
from unlearn.store import records
from unlearn.store.disk import write_json
from unlearn.store.runs import ACTIVE, Run
from unlearn.store.scratch import folder_beside
from unlearn.store.shapes import JsonObject, JsonView

Progress = Callable[[str, float], None]
# The lists of tasks that papers use, by a name of our own. Their data come from the hub; none was tried here.
GROUPS = {
    "general": ("mmlu", "arc_challenge", "hellaswag", "winogrande", "piqa", "gsm8k"),
    "wmdp-paper": ("wmdp_bio", "wmdp_cyber", "mmlu"),
    "rwku-paper": ("mmlu", "bbh", "truthfulqa_mc1", "triviaqa"),
    # Yao et al. 2024 say ARC, of which the harness has two parts.
    "yao": ("mmlu", "arc_easy", "arc_challenge", "humaneval", "gsm8k"),
    "undial": ("piqa", "arc_challenge", "copa", "winogrande", "pubmedqa", "hellaswag"),
}
# Tasks of these lists that execute what the model writes; of any other the harness knows it once it has read its file.
EXECUTING = ("humaneval",)
NAMES = re.compile(r"[\w.,-]{1,100}")
# How the harness tells on stderr how far it is.
BAR = re.compile(r"([A-Z][\w ]+):\s+(\d+)%\|")
INSTALL = "pip install lm-eval==0.4.13"
WHEN = ("before", "after")


def chosen_tasks(names: Sequence[str]) -> list[str]:
    """Return the tasks of these names: the harness' own, our groups, and YAML files of tasks.

    ValueError for what cannot be a task, a file that is not there, and without the package.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise ValueError(f"harness: needs the package lm-eval; {INSTALL} brings it.")
    tasks: list[str] = []
    for name in names:
        if Path(name).suffix in (".yaml", ".yml"):
            if not Path(name).is_file():
                raise ValueError(f"harness: {name} is not a file. Check the path.")
            tasks.append(str(Path(name).resolve()))
        elif NAMES.fullmatch(name):
            tasks += GROUPS.get(name, (name,))
        else:
            raise ValueError(
                f"harness: {name!r} is no name of a task; give names of lm-evaluation-harness, a YAML file of a task, "
                f"or one of {', '.join(GROUPS)}."
            )
    if not tasks:
        raise ValueError(f"harness: name a task, a YAML file of one, or one of {', '.join(GROUPS)}.")
    return list(dict.fromkeys(tasks))


def check_code(tasks: Sequence[str], allowed: bool) -> None:
    """Raise ValueError where a task is known to execute what the model writes, and nobody allowed it."""
    running = [task for task in tasks if task in EXECUTING]
    if running and not allowed:
        others = ",".join(task for task in tasks if task not in running)
        rest = f", or take the others alone: --harness {others}" if others else ""
        raise ValueError(
            f"harness: {', '.join(running)} executes what the model writes on this machine. Allow that with "
            f"--allow-code{rest}."
        )


def evaluate(
    run: Run,
    names: Sequence[str],
    *,
    limit: int | None = None,
    allow_code: bool = False,
    roots: Sequence[Path] | None = None,
    progress: Progress = lambda phrase, fraction: None,
) -> JsonObject:
    """Carry out the tasks on the run's model and on the one before it, and return metrics.json with their results.

    limit: so many items of each task. allow_code: tasks that execute what the model writes are refused without it.
    ValueError for a run that is not over or keeps no weights, and where the harness refuses a task or fails.
    """
    tasks = chosen_tasks(names)
    check_code(tasks, allow_code)
    if limit is not None and limit < 1:
        raise ValueError(f"harness: --limit must be at least 1, got {limit}.")
    if run.state in ACTIVE:
        raise ValueError(f"run: {run.title} is {run.state}; evaluate it when it has ended.")
    evidence, identity = judge.evidence_of(run, roots)
    record = judge.read_metrics(run)
    if record.get("identity") != identity:
        record = {"identity": identity, "metrics": {}, "cost": []}
    results = {}
    for place, when in enumerate(WHEN):

        def told(phrase: str, part: float, at: int = place, name: str = when) -> None:
            progress(f"{name}: {phrase}", (at + part) / len(WHEN))

        what = {"harness": _stamped(tasks), "limit": limit, "lm_eval": version("lm-eval")}
        key = {"model": evidence.hashes[when], "max_length": "", **what}
        spec: JsonObject = {"run": str(run.path), "when": when, "tasks": tasks, "limit": limit}
        spec |= {"allow_code": allow_code, "roots": None if roots is None else [str(root) for root in roots]}
        results[when] = score_cache.remember(run.path.parent, key, partial(_in_a_process, spec, told))
    record["metrics"] |= entries(results, limit)
    write_json(run.path / judge.FILE, record)
    progress("done", 1.0)
    return records.read_metrics(run.path / judge.FILE)


def entries(results: Mapping[str, JsonView], limit: int | None) -> JsonObject:
    """Return the entries of metrics.json that the harness' results by model make, one for each task and metric."""
    made: JsonObject = {}
    for when, found in results.items():
        for task, values in found["tasks"].items():
            for metric, value in values.items():
                title = f"{task}, {metric.partition(',')[0]}"
                entry = made.setdefault(
                    f"harness_{task}_{metric.partition(',')[0]}",
                    {
                        "title": title,
                        "help": _help(task, found, limit),
                        "ideal": "higher"
                        if found["higher_is_better"].get(task, {}).get(metric, True)
                        else "lower",
                        "paper": f"lm-evaluation-harness {found['version']}",
                        "reason": "",
                        "scores": [],
                        "limit": limit,
                    },
                )
                n = int(found["n"].get(task, 0))
                score = {
                    "when": when,
                    "role": "benchmark",
                    "value": value["value"],
                    "n": n,
                    "per_example": [],
                }
                entry["scores"].append(score | {"details": _spread(value, n)})
    return made


def _spread(value: JsonView, n: int) -> JsonObject:
    """The harness' standard error, and the 95 % interval that it makes of n items where there is one."""
    error = value["stderr"]
    if not isinstance(error, int | float) or not math.isfinite(error):
        return {"stderr": error}
    if error == 0:
        # All items alike: of a share Wilson's interval tells how little few of them say; of another number none does.
        share = value["value"] in (0, 1) and n > 0
        return {"stderr": error} | ({"interval": list(wilson(value["value"] * n, n))} if share else {})
    return {"stderr": error, "interval": [value["value"] - Z * error, value["value"] + Z * error]}


def _help(task: str, found: JsonView, limit: int | None) -> str:
    shots = found["shots"].get(task)
    first = f", the first {limit} items" if limit else ""
    return f"lm-evaluation-harness, task {task}{f', {shots} examples above each' if shots else ''}{first}."


def _stamped(tasks: Sequence[str]) -> list[object]:
    """The tasks, each file with its content, so that a changed file is measured anew."""
    return [[t, Path(t).read_text(encoding="utf-8")] if Path(t).is_file() else t for t in tasks]


def _in_a_process(spec: JsonView, progress: Progress) -> JsonObject:
    """What the process says; ValueError with its reason where it fails."""
    with folder_beside(Path(spec["run"]).parent, "harness") as folder:
        asked, out = folder / "asked.json", folder / "found.json"
        asked.write_text(json.dumps(spec), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "unlearn.work.harness_process", str(asked), str(out)],
            # Its end tells the process that this one was killed.
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_environment(bool(spec["allow_code"])),
        )
        try:
            last = _followed(process, progress)
        finally:
            # A person who stops this stops the harness too.
            if process.poll() is None:
                process.kill()
                process.wait()
        found = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {"error": last}
    if "error" in found:
        raise ValueError(f"harness: {found['error']}")
    return dict(found)


def _environment(allow_code: bool) -> dict[str, str]:
    """The process' environment: it finds this package, and metrics that execute code ask for the same word as tasks."""
    own = str(Path(unlearn.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": paths, "HF_ALLOW_CODE_EVAL": str(int(allow_code))}


def _followed(process: "subprocess.Popen[bytes]", progress: Progress) -> str:
    """Read the process' bars until it ends, and return the last line that it wrote."""
    assert process.stderr is not None
    progress("starting lm-evaluation-harness", 0.0)
    last, line = "it ended without a word", b""
    while chunk := os.read(process.stderr.fileno(), 4096):
        *whole, line = re.split(rb"[\r\n]+", line + chunk)
        for one in [*whole, line]:
            text = one.decode("utf-8", "replace").strip()
            if bar := BAR.search(text):
                progress(bar[1].strip().lower(), int(bar[2]) / 100)
            elif text:
                last = text[:300]
    process.wait()
    return last
