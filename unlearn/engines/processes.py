"""One run by several processes, which hold its model in parts: --processes N.

They are started by torch's own launcher (torchrun), which notices when one of them dies and ends the others. The first
carries out the run as one process does (unlearn.work.execute); the others only train (unlearn.training.processes).
Started by torchrun or `accelerate launch`, also on several nodes with one file system, `unlearn run` finds its place by
the environment.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from unlearn.compute import libraries, threads
from unlearn.data.prompts import asked_in
from unlearn.models.catalogue import allow_model
from unlearn.models.reading import reader_of
from unlearn.store.config import ROUNDED
from unlearn.store.runs import Run, RunConfig
from unlearn.training import processes
from unlearn.training.loop import Diverged
from unlearn.work import identity
from unlearn.work.execute import execute

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

# Seconds between two looks of a process whether the one that started it still lives.
WATCH_SECONDS = 1.0
# Seconds for the others to end when one process has died.
CLOSE_SECONDS = 10


@dataclass(frozen=True)
class NotShared:
    """A setting that several processes cannot share. values: those that are refused."""

    values: tuple[str, ...]
    needed: str
    why: str


NOT_SHARED = {
    "memory": NotShared(
        ("lean",), "usual", "a lean step lets each gradient go before the processes have added it up"
    ),
    "precision": NotShared(ROUNDED, "float32 or bfloat16", "rounded weights are not cut into parts here"),
    "keep": NotShared(("best",), "last", "the best weights so far would lie in parts"),
}


def check(config: RunConfig, count: int) -> None:
    """Raise ValueError for a run that so many processes cannot share, before anything is loaded."""
    if count < 1:
        raise ValueError(f"--processes: must be 1 or more, got {count}.")
    if count == 1:
        return
    reader = reader_of(config.model, config.max_length)
    if reader is not None and reader.apart:
        raise ValueError(
            f"--processes: {config.model} has an encoder, which is read apart from its decoder, so its passes are not "
            "shared here; leave --processes out."
        )
    for field, bad in NOT_SHARED.items():
        value = getattr(config, field)
        if value in bad.values:
            raise ValueError(
                f"--processes: {field} must be {bad.needed} with {count} processes, since {bad.why}; got {value}."
            )
    if "kl" in config.stop_rule().limits:
        raise ValueError(
            f"--processes: budget kl cannot be kept with {count} processes, since it reads the output head apart from "
            "the model, which lies in parts; give general-ppl or retain instead."
        )


def check_room(count: int) -> None:
    """Raise ValueError where this machine has too few cores for so many processes, each with a part of the model."""
    most = max(2, os.cpu_count() or 1)
    if count > most:
        raise ValueError(
            f"--processes: must be at most {most} on this machine with {os.cpu_count()} cores, got {count}; torchrun "
            "or accelerate starts them on several machines."
        )


def launched() -> int:
    """Return how many processes torchrun or accelerate has started together with this one, or 0 for neither."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 0


def carry_out(run: Run, count: int) -> None:
    """Carry out the run by so many new processes on this machine, and wait for them.

    What they met is the run's outcome. The caller holds the run's lock.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # What the launcher says of a failure is written into the run, in a sentence.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads.available() // count)))
    how = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=run.id,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        shutdown_timeout=CLOSE_SECONDS,
    )
    command = ("-m", "unlearn.engines.processes", str(run.path), str(os.getpid()))
    try:
        elastic_launch(how, sys.executable)(*command)
    except SignalException:
        raise KeyboardInterrupt from None
    except ChildFailedError as error:
        if told := _why(error, count, run.state == "failed"):
            run.append("state", state="failed", reason=told, error="ChildFailedError")


def _why(error: ChildFailedError, count: int, known: bool) -> str:
    """Return why the processes ended, or "" where the run says it already.

    What dies from outside takes the others along, so it comes first; the launcher's own signal to them is none.
    """
    ended = {
        rank: one
        for rank, one in error.failures.items()
        if one.exitcode < 0 and -one.exitcode != signal.SIGTERM
    }
    if not ended and known:
        return ""
    rank, found = next(iter(ended.items())) if ended else error.get_first_failure()
    if found.exitcode < 0:
        name = signal.Signals(-found.exitcode).name
        return (
            f"process {rank + 1} of {count} was ended from outside ({name}), and the others with it; where it was not "
            "you, the memory may have been too little. `resume` goes on from the last checkpoint."
        )
    return f"process {rank + 1} of {count} failed: {found.message}"


def take_part(
    find: Callable[[], Run], roots: Sequence[Path], on_progress: Callable[[str, float], None]
) -> Run | None:
    """Carry out a run as one of the processes that torchrun or accelerate has started.

    find: makes or finds the run; the first process calls it, and it alone gets the run back.
    """
    with processes.joined() as group:
        if group.rank == 0:
            run = find()
            processes.told(str(run.path))
            with run.held():
                execute(run, on_progress=on_progress, roots=roots)
            return run
        follow(Run(Path(processes.told(""))), roots)
        return None


def follow(run: Run, roots: Sequence[Path]) -> None:
    """Train as one of the processes that follow the first. What it says of the run, the first says."""
    from unlearn.models import tuning
    from unlearn.work.session import session_of

    libraries.ready()
    # The first process has put down by now what the run begins with.
    processes.meet()
    config = run.config
    allow_model(config.model, roots)
    threads.choose_threads(True, identity.began_with(run).get("threads", 0))
    data = asked_in(identity.rows_of(run, roots), config.prompt, config.system)
    start = run.start()
    session = session_of(tuning.starting_model(config, start), config, data)
    session.prepare()
    folder = run.path / "checkpoint"
    if run.has_checkpoint():
        session.resume(folder)
    try:
        session.follow(folder)
    except Diverged:
        # All processes see the same sums, and the first one tells.
        return


def _end_with(parent: int) -> None:
    """End this process when the one that started it has died, since nobody would end it otherwise."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="watch", daemon=True).start()


def main(words: Sequence[str]) -> int:
    """Carry out the run in this folder as one of its processes. words: the folder, and who started it."""
    from torch.distributed.elastic.multiprocessing.errors import record

    run, roots = Run(Path(words[0])), [Path("/")]
    _end_with(int(words[1]))

    @record
    def work() -> int:
        with processes.joined() as group:
            if group.rank > 0:
                follow(run, roots)
                return 0
            execute(run, roots=roots, on_progress=_told())
            return 1 if run.state == "failed" else 0

    return work() or 0


def leave(code: int) -> NoReturn:
    """End this process with this status, once all that Python itself does at an end is done.

    What torch's threads for the processes do while the interpreter is taken down has ended a process with SIGABRT after
    all its work, once in hundreds of runs; and the launcher takes that for a failed run. Nothing is left for it to do.
    """
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _told() -> Callable[[str, float], None]:
    """A callback that names each phase on stderr once."""
    last = ""

    def progress(phase: str, fraction: float) -> None:
        nonlocal last
        if phase != last:
            print(f"{time.strftime('%H:%M:%S')} {phase}", file=sys.stderr, flush=True)
            last = phase

    return progress


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
