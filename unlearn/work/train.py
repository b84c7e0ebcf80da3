"""Trains a run: one session, with checkpoints, probes and events around its steps.

The session (unlearn.work.session) puts the training together; here is what makes it a run that can be watched,
stopped, killed and gone on from.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from unlearn.data.base import Dataset, Row
from unlearn.measure.probes import Probes
from unlearn.methods.base import Method
from unlearn.metrics import Observation
from unlearn.models import tuning
from unlearn.models.load import Loaded
from unlearn.store.studies import Stopped
from unlearn.training import processes
from unlearn.training.budget import CHECKPOINTS, Clock
from unlearn.training.loop import Diverged, Step
from unlearn.work.checks import check_stop_rule
from unlearn.work.phases import Work
from unlearn.work.session import Session, session_of
from unlearn.work.stopping import Stopper

# The least seconds between two checkpoints, however little they cost.
CHECKPOINT_SECONDS = 20.0
# The assumed speed of writing a checkpoint, until one has been measured.
BYTES_A_SECOND = 2.5e8


def train(
    work: Work,
    loaded: Loaded,
    data: Dataset,
    chosen: dict[str, list[Row]],
    told: Sequence[Observation] = (),
) -> tuple[int, Sequence[Observation]]:
    """Carry out the run's session and return the number of tokens read, and what the trained model said of the rows
    that it was asked at the end.

    told: what the model said before the run. Stopped and Diverged leave what was trained.
    """
    run, config = work.run, work.config
    session = session_of(loaded, config, data, folder=run.path, note=work.note)
    check_stop_rule(config, session.method, data)
    # Those that follow begin to load the model now.
    processes.meet()
    with work.phase("reference"):
        session.prepare()
        if labels := session.labels():
            run.append("note", labels=labels)
        if session.ref and (table := session.ref.run.get("table")):
            run.append("note", alternates=table)
        stopper = Stopper(work, session, chosen)
    folder = run.path / "checkpoint"
    work.step = session.resume(folder) if run.has_checkpoint() else 0
    if work.step:
        stopper.resume(folder)
    last = run.events("step")[-1:] if work.step else []
    before, spent = (sum(e[name] for e in last) for name in ("tokens", "seconds"))
    tokens = before

    def note(done: Step) -> None:
        work.step = done.step
        counted = replace(done, tokens=before + done.tokens, seconds=spent + done.seconds)
        run.append("step", **asdict(counted))

    with work.phase("training"):
        clock = Clock()
        # A method that builds a model of its own need not begin with what was asked before.
        as_before = told if type(session.method).build is Method.build else ()
        probes = Probes(run, loaded, chosen, session.steps, work.length, clock, as_before)
        keeper = Keeper(session, folder, clock)
        probes.begin(work.step)
        try:
            for done in session:
                note(done)
                tokens = before + done.tokens
                work.on_progress("training", done.step / done.of)
                probes.follow(done.step, done.of)
                if stopper.follow(done, clock):
                    session.close()
                    break
                keeper.follow(done.step, done.of)
                work.check()
        except Stopped:
            keep_stopped(work, session, stopper)
            raise
        except Diverged as error:
            note(error.step)
            raise
        keeper.count()
        work.counts = dict(session.counts)
        probes.record(work.step)
        stopper.finish(work.step, clock)
        restored = stopper.restore()
        at, said = probes.said
        work.beside = {kind: round(seconds, 3) for kind, seconds in clock.spent.items()}
    return tokens, said if at == work.step and not restored else ()


class Keeper:
    """A keeper of checkpoints that spends no more than their share of the training time, whatever one costs."""

    def __init__(self, session: Session, folder: Path, clock: Clock) -> None:
        self.session, self.folder, self.clock = session, folder, clock
        self.saved = clock.now()

    def follow(self, step: int, of: int) -> None:
        """Begin a checkpoint after a step where one is due and affordable.

        What the first will cost is judged by its size.
        """
        self.count()
        due = step < of and self.clock.now() - self.saved > CHECKPOINT_SECONDS
        if not due or self.session.writer.busy:
            return
        cost = self.clock.last.get("checkpoints", self.session.checkpoint_bytes() / BYTES_A_SECOND)
        if self.session.resumable and self.clock.affords("checkpoints", CHECKPOINTS, cost):
            with self.clock.beside("checkpoints"):
                self.session.begin_checkpoint(self.folder, step)
            self.saved = self.clock.now()

    def count(self) -> None:
        """Count what the last checkpoint took from the steps, once it is on the disk."""
        if (seconds := self.session.writer.took()) is not None:
            self.clock.spend("checkpoints", seconds)


def keep_stopped(work: Work, session: Session, stopper: Stopper) -> None:
    """Save what a stopped run has trained and, where possible, a checkpoint to continue from. Where the best step is
    to be kept, its weights are saved, and the checkpoint goes on from the last one's.
    """
    if session.resumable:
        session.save_checkpoint(work.run.path / "checkpoint", work.step)
    session.close()
    if told := stopper.restore():
        work.note(told)
    tuning.save(session.loaded, work.config, work.run.path)
