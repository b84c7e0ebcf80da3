"""Hands records to SLURM as jobs, many as one array, on a disk that its nodes share with this machine.

submitit writes the batch file and, before the time limit, asks the job for a checkpoint and for its place in the queue
again (unlearn.engines.job). This side asks squeue now and then, and writes into the folder what a job that is gone
could not: that it was cancelled, or which way it ended, with the last lines of its log.
"""

import contextlib
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import unlearn
from unlearn.engines.carrier import name_of
from unlearn.engines.job import Job
from unlearn.engines.place import Place, environ_of
from unlearn.engines.remote import Remote
from unlearn.store.engine import Where
from unlearn.store.runs import ACTIVE, STOP, Record, RunStore

# The folder of a store that has the batch files and the jobs' logs.
FOLDER = ".slurm"
# Seconds between two questions to squeue, and for its answer.
LOOK, PATIENCE = 1.0, 30.0
# Minutes of a job where --slurm time= says nothing; the nodes' own limit may be lower.
MINUTES = 60
# A job may come back so often after its time limit.
MOST_LIMITS = 1000
# Seconds between the signal and the end of a job, enough to end a step and keep a checkpoint.
GRACE = 90
# Lines of a job's log that are kept in the record where it failed.
TAIL = 20
# The states of a job that is over.
OVER = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"),
    "PREEMPTED",
)
# Our own word where the controller does not answer.
UNREACHED = "UNREACHED"
# Options that are set by others of ours, or that the requeue depends on.
TAKEN = {
    **{"partition": "--on slurm:PARTITION", "p": "--on slurm:PARTITION", "cpus-per-task": "--cpus"},
    **{"c": "--cpus", "gpus-per-node": "--gpus-per-run", "gpus": "--gpus-per-run"},
    **dict.fromkeys(("array", "output", "error", "signal", "requeue", "no-requeue", "open-mode", "wrap"), ""),
}
TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?")

# The variable by which submitit names the signal before the time limit. It reads it when it is imported.
SIGNAL = "SUBMITIT_PREEMPT_SIGNAL"
os.environ.setdefault(SIGNAL, "USR1")


class Slurm(Remote):
    """The engine `slurm`. ValueError where submitit or SLURM's commands are missing, or an option is not for here."""

    name = "slurm"

    def __init__(self, place: Place, store: RunStore, roots: Sequence[Path] | None = None) -> None:
        super().__init__(place, store, roots)
        self.options = options_of(place.slurm)
        try:
            _called("sinfo", "--version")
        except (OSError, subprocess.SubprocessError) as error:
            raise ValueError(
                f"--on slurm: SLURM's commands cannot be called here ({error}); log in to a node of the cluster first."
            ) from error
        # The job of each record that squeue knows, and where it waits or runs.
        self._jobs: dict[Record, str] = {}
        self._asked = 0.0

    def _round(self) -> None:
        with self._wake:
            new = [record for record in self._waiting if record not in self._jobs]
        for record in list(new):
            if job := self._alive(record):
                self._jobs[record] = job
                new.remove(record)
                record.append("note", text=f"It is found again as job {job} of SLURM.", job=job)
                record.append("state", state="running")
        if new:
            self._hand_over(new)
        if (left := self._asked + LOOK - time.monotonic()) > 0:
            time.sleep(min(left, LOOK))
            return
        self._asked = time.monotonic()
        self._look()

    def _alive(self, record: Record) -> str:
        """The job of this record that an earlier process handed over and that is not over, or ""."""
        job = last_job(record)
        return job if job and states([job]).get(job, ("", ""))[0] not in ("", *OVER) else ""

    def _hand_over(self, records: Sequence[Record]) -> None:
        """Hand the records over, several as the tasks of one array."""
        import submitit

        folder = self.store.root.absolute() / FOLDER
        try:
            executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=MOST_LIMITS)
            executor.update_parameters(**self._parameters(submitit.SlurmExecutor._valid_parameters()))
            with executor.batch():
                jobs = [executor.submit(self._job(record)) for record in records]
        except Exception as error:
            for record in records:
                self._finish(record, state="failed", reason=f"sbatch refused it: {_last_line(error)}")
            return
        for record, job in zip(records, jobs, strict=True):
            self._jobs[record] = job.job_id
            log = job.paths.stderr.relative_to(self.store.root.absolute()).as_posix()
            record.append("note", text=f"It is job {job.job_id} of SLURM.", job=job.job_id, log=log)

    def _job(self, record: Record) -> Job:
        kind, perform = name_of(type(record)), name_of(self._performs[record])
        return Job(str(record.path.absolute()), kind, perform, self._options(record))

    def _parameters(self, known: Iterable[str]) -> dict[str, object]:
        """What submitit is told: its own parameters by their names, all else as lines of the batch file."""
        cpus = self.place.cpus or 1
        own = str(Path(unlearn.__file__).absolute().parent.parent)
        setup = [
            "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in environ_of(cpus).items()),
            f"export {SIGNAL}={_signal()}",
            # A checkout is no installed package, and a node starts in no folder of its own.
            f'export PYTHONPATH="{own}${{PYTHONPATH:+:$PYTHONPATH}}"',
        ]
        told: dict[str, object] = {
            "job_name": "unlearn",
            "time": MINUTES,
            "cpus_per_task": cpus,
            "signal_delay_s": GRACE,
            "setup": setup,
        }
        if self.place.address:
            told["partition"] = self.place.address
        if self.place.gpus_per_run:
            told["gpus_per_node"] = int(self.place.gpus_per_run)
        if self.place.at_once:
            told["array_parallelism"] = self.place.at_once
        more = {}
        for key, value in self.options.items():
            if key.replace("-", "_") in known:
                told[key.replace("-", "_")] = value
            else:
                more[key] = value
        return told | ({"additional_parameters": more} if more else {})

    def _look(self) -> None:
        """Ask squeue for all jobs at once, and take each record where its job is."""
        jobs = dict(self._jobs)
        found = states(jobs.values())
        for record, job in jobs.items():
            state, words = found.get(job, ("", ""))
            if state in ("", *OVER):
                self._over(record, job, state)
                continue
            with self._wake:
                waits = state in ("PENDING", UNREACHED)
                if waits and record in self._at_work and state != UNREACHED:
                    del self._at_work[record]
                    self._waiting.add(record)
                elif not waits:
                    self._waiting.take(record)
                    self._at_work[record] = Where(0, words, state.lower())

    def _over(self, record: Record, job: str, state: str) -> None:
        """End a record whose job is over, with what the folder says, or else with what SLURM does."""
        del self._jobs[record]
        last = record.events("state")[-1]["state"]
        if last in ACTIVE and state == "CANCELLED":
            self._finish(record, state="stopped", reason=f"job {job} was cancelled (scancel)")
            return
        tail = self._tail(record, job) if last in ACTIVE or last == "failed" else ""
        if tail:
            with contextlib.suppress(OSError):
                record.append("note", text=f"The end of the log of job {job}:\n{tail}")
        if last in ACTIVE:
            ended = f"SLURM ended job {job} ({state.lower() or 'it is no longer known'})"
            said = tail.splitlines()[-1] if tail else "it left no log"
            self._finish(record, state="failed", reason=f"{ended}: {said}")
        else:
            self._finish(record)

    def _tail(self, record: Record, job: str) -> str:
        """The last lines of the job's logs."""
        logs = [event["log"] for event in record.events("note") if event.get("log")]
        text = ""
        # What was said of the way is in one file, and what went wrong in the other.
        for path in (self.store.root / logs[-1]).parent.glob(f"{job}_*.[oe][ur][tr]") if logs else ():
            with contextlib.suppress(OSError):
                text += path.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-TAIL:])

    def stop(self, record: Record) -> None:
        """Ask for the end of a record, and return at once. A job that waits is cancelled."""
        with self._wake:
            if record in self._waiting and (job := self._jobs.pop(record, "")):
                with contextlib.suppress(OSError, subprocess.SubprocessError):
                    _called("scancel", job)
        super().stop(record)

    def _ask_to_stop(self, record: Record) -> None:
        # The job looks for this file, wherever it is carried out.
        with contextlib.suppress(OSError):
            (record.path / STOP).touch()

    def _waits_for(self) -> str:
        return "it waits in SLURM's queue"


def last_job(record: Record) -> str:
    """Return the id of the job that a record was last handed over as, or ""."""
    jobs = [str(event["job"]) for event in record.events("note") if event.get("job")]
    return jobs[-1] if jobs else ""


def states(jobs: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return {job: (its state, its node or what it waits for)} of the jobs that squeue still knows."""
    wanted = set(jobs)
    if not wanted:
        return {}
    mains = ",".join(sorted({job.partition("_")[0] for job in wanted}))
    words = ("--noheader", "--array", "--states=all", f"--jobs={mains}", "--format=%i|%K|%F|%T|%N|%r")
    try:
        told = _called("squeue", *words)
    except subprocess.CalledProcessError:
        # It knows none of them any more.
        return {}
    except (OSError, subprocess.SubprocessError):
        # A controller that is away for a moment has lost no job.
        return dict.fromkeys(wanted, ("UNREACHED", ""))
    found = {}
    for line in told.splitlines():
        job, task, main, state, node, reason = line.strip().split("|", 5)
        name = f"{main}_{task}" if task not in ("", "N/A") else job
        found[name] = (state, node or reason)
    return {job: found[job] for job in wanted if job in found}


def options_of(said: Mapping[str, str]) -> dict[str, object]:
    """Return the options of sbatch, with the time in minutes. ValueError for one that is ours to set."""
    options: dict[str, object] = {}
    for key, value in said.items():
        name = key.replace("_", "-")
        if name in TAKEN:
            other = f"give {TAKEN[name]} instead" if TAKEN[name] else "the engine sets it itself"
            raise ValueError(f"--slurm: {name} cannot be given here; {other}.")
        options[name] = minutes(value) if name in ("time", "t") else value
    if "t" in options:
        options["time"] = options.pop("t")
    return options


def minutes(text: str) -> int:
    """Return the minutes of a time as sbatch reads it: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S. ValueError for another."""
    found = TIME.fullmatch(text.strip())
    if not found:
        raise ValueError(f"--slurm: time must be such as 30, 2:00:00 or 1-12, got {text[:40]!r}.")
    parts = [int(found[name] or 0) for name in ("first", "second", "third")]
    if found["days"] is not None:
        whole = 24 * 60 * int(found["days"]) + 60 * parts[0] + parts[1]
    elif found["third"] is not None:
        whole = 60 * parts[0] + parts[1]
    else:
        whole = parts[0]
    return max(1, whole)


def _called(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _signal() -> str:
    """The signal that submitit asks for in the batch file. The job must listen to the same one."""
    from submitit.slurm.slurm import SlurmJobEnvironment

    return SlurmJobEnvironment.USR_SIG
