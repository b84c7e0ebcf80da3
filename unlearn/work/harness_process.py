"""The process that lm-evaluation-harness runs in loads a run's model and writes what the tasks gave.

    python -m unlearn.work.harness_process ASKED.json FOUND.json

unlearn.work.harness starts it, says what is asked, and holds its stdin open for as long as it waits. Results are plain
values: {"tasks": {task: {metric: {"value", "stderr"}}}, "n", "shots", "higher_is_better", "version"}, or {"error": one
sentence}.
"""

import json
import math
import os
import signal
import sys
import threading
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unlearn.store.disk import write_json
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

BATCH = 8


def end_with_starter() -> None:
    """End this process as soon as the one that started it is gone, which may be killed at any moment."""

    def wait() -> None:
        # This comes back when nobody holds the other side any more.
        os.read(sys.stdin.fileno(), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="starter", daemon=True).start()


def main(asked: Path, out: Path) -> int:
    """Carry out what the file asks for and write the outcome, an error included."""
    try:
        write_json(out, carried_out(json.loads(asked.read_text(encoding="utf-8"))))
    # Tasks are code of others and raise anything; all of it is one sentence to whoever started this.
    except Exception as error:
        write_json(out, {"error": _sentence(error)})
        return 1
    return 0


def carried_out(spec: JsonView) -> JsonObject:
    """Load the model, hand it to the harness, and return its results as plain values."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from unlearn.measure import judge

    files = [Path(task) for task in spec["tasks"] if Path(task).is_file()]
    folders = list(dict.fromkeys(str(file.parent) for file in files))
    manager = TaskManager(include_path=folders or None)
    names = [_named(Path(task)) if Path(task) in files else task for task in spec["tasks"]]
    if unknown := [name for name in names if name not in manager.all_tasks]:
        raise ValueError(
            f"lm-evaluation-harness has no task {', '.join(unknown)}. `lm-eval ls tasks` lists them."
        )
    roots = None if spec["roots"] is None else [Path(root) for root in spec["roots"]]
    evidence, _ = judge.evidence_of(Run(Path(spec["run"])), roots)
    loaded = evidence.reader.model(spec["when"])
    model = HFLM(
        pretrained=loaded.model,
        tokenizer=loaded.tokenizer,
        batch_size=BATCH,
        max_length=loaded.fit_length(2048),
    )
    found = simple_evaluate(
        model,
        tasks=names,
        task_manager=manager,
        limit=spec["limit"],
        confirm_run_unsafe_code=spec["allow_code"],
        log_samples=False,
    )
    return plain(found)


def plain(found: Any) -> JsonObject:
    """Return the harness' results as plain values: a number and its standard error for each task and metric."""
    tasks: JsonObject = {}
    better: JsonObject = {}
    for task, values in found["results"].items():
        numbers = {
            name: {"value": float(value), "stderr": _error_of(values, name)}
            for name, value in values.items()
            if isinstance(value, (int, float))
            and "," in name
            and "_stderr," not in name
            and math.isfinite(value)
        }
        if numbers:
            tasks[task] = numbers
            known = found["higher_is_better"].get(task) or {}
            better[task] = {name: known.get(name.partition(",")[0]) is not False for name in numbers}
    return {
        "tasks": tasks,
        "n": {task: one["effective"] for task, one in found["n-samples"].items()},
        "shots": dict(found["n-shot"]),
        "higher_is_better": better,
        "version": version("lm-eval"),
    }


def _error_of(values: Mapping[str, Any], name: str) -> float | None:
    metric, _, kind = name.partition(",")
    error = values.get(f"{metric}_stderr,{kind}")
    return float(error) if isinstance(error, (int, float)) and math.isfinite(error) else None


def _named(file: Path) -> str:
    """The name that a task's YAML file gives it."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("task:"):
            return line.partition(":")[2].strip().strip("\"'")
    raise ValueError(f"{file.name} has no line `task: NAME`; give a task of lm-evaluation-harness.")


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())[:400] or type(error).__name__
    if "unsafe" in text.lower():
        return f"a task executes what the model writes ({text}). Allow that with --allow-code."
    if "connect" in text.lower() or "offline" in text.lower() or "resolve" in text.lower():
        return f"the data of a task need the hub, which does not answer ({text})."
    return text


if __name__ == "__main__":
    end_with_starter()
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
