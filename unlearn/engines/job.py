"""One record as a job of SLURM: what is called on the node, and what happens shortly before the time limit.

The folder of the record lies on a disk that the nodes share, so the job works in it. Whether it is alive is told by
its heartbeat, since the lock belongs to the process that submitted it, and a lock of one node may say nothing on
another.
"""

import contextlib
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.engines.carrier import EVERYWHERE, named
from unlearn.store.locks import beating
from unlearn.store.runs import Record

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

# Seconds between two looks of the main thread, which alone is interrupted by signals.
LOOK = 0.2
LIMIT = "the time limit of its job came near; SLURM goes on with it from its last step"


class Job:
    """A record and the function that carries it out, by their names, so that both survive a requeue.

    options: more that the function takes.
    """

    def __init__(self, path: str, kind: str, perform: str, options: dict[str, object]) -> None:
        self.path, self.kind, self.perform, self.options = path, kind, perform, options
        self._stop: threading.Event | None = None
        self._work: threading.Thread | None = None

    def __call__(self) -> str:
        """Carry out the record, and return its state."""
        record: Record = named(self.kind)(Path(self.path))
        if record.events("state")[-1]["state"] == "done":
            return record.state
        stop = self._stop = threading.Event()
        perform = named(self.perform)
        if record.events("state")[-1]["state"] != "queued":
            record.append("state", state="queued")
        record.append("note", text=f"It is carried out on {node()} by SLURM.", node=node(), job=job_id())

        def work() -> None:
            try:
                perform(record, should_stop=stop.is_set, roots=EVERYWHERE, **self.options)
            except BaseException as error:
                with contextlib.suppress(Exception):
                    record.append("state", state="failed", reason=f"{type(error).__name__}: {error}")

        with beating(record.path):
            self._work = threading.Thread(target=work, name="unlearn-job", daemon=True)
            self._work.start()
            while self._work.is_alive():
                self._work.join(LOOK)
        return record.state

    def checkpoint(self) -> "DelayedSubmission | None":
        """End the step in hand, keep a checkpoint, and return how SLURM goes on, or None where nothing is left to do.

        submitit calls it for the signal that comes before the limit.
        """
        from submitit.helpers import DelayedSubmission

        record: Record = named(self.kind)(Path(self.path))
        if self._stop is not None and self._work is not None:
            self._stop.set()
            self._work.join()
        if record.events("state")[-1]["state"] in ("done", "failed"):
            return None
        record.append("state", state="queued", reason=LIMIT)
        return DelayedSubmission(Job(self.path, self.kind, self.perform, self.options))


def node() -> str:
    """Return the name of the node that this process is on."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def job_id() -> str:
    """Return the id of this process's job, as squeue writes it, or "" outside of SLURM."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")
