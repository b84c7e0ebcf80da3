"""The training of a run: one session, with checkpoints, probes and events around its steps.

The session (unlearn.work.session) puts the training together; here is what makes it a run that can be watched,
stopped, killed and gone on from.
"""

import time
from dataclasses import asdict, replace

from unlearn.data.base import Dataset, Row
from unlearn.measure.probes import Probes
from unlearn.models import tuning
from unlearn.models.load import Loaded
from unlearn.store.studies import Stopped
from unlearn.training.loop import Diverged, Step
from unlearn.work.phases import Work
from unlearn.work.session import Session, session_of

CHECKPOINT_SECONDS = 20.0  # a checkpoint costs disk and time; at most this much work is lost to a kill


def train(work: Work, loaded: Loaded, data: Dataset, chosen: dict[str, list[Row]]) -> int:
    """Carry out the run's session; returns the tokens read. Stopped and Diverged leave what was trained."""
    run, config = work.run, work.config
    session = session_of(loaded, config, data, folder=run.path, note=work.note)
    with work.phase("reference"):
        session.prepare()
        if labels := session.labels():
            run.append("note", labels=labels)
    folder = run.path / "checkpoint"
    work.step = session.resume(folder) if run.has_checkpoint() else 0
    last = run.events("step")[-1:] if work.step else []
    before, spent = (sum(e[name] for e in last) for name in ("tokens", "seconds"))
    probes = Probes(run, loaded, chosen, session.steps, work.length)
    tokens, saved = before, time.perf_counter()

    def note(done: Step) -> None:
        work.step = done.step
        counted = replace(done, tokens=before + done.tokens, seconds=spent + done.seconds)
        run.append("step", **asdict(counted))

    with work.phase("training"):
        if work.step == 0:
            probes.record(0)
        try:
            for done in session:
                note(done)
                tokens = before + done.tokens
                work.on_progress("training", done.step / done.of)
                if probes.due(done.step, done.of):
                    probes.record(done.step)
                due = time.perf_counter() - saved > CHECKPOINT_SECONDS and done.step < done.of
                if due and session.resumable:
                    session.save_checkpoint(folder, done.step)
                    saved = time.perf_counter()
                work.check()
        except Stopped:
            keep_stopped(work, session)
            raise
        except Diverged as error:
            note(error.step)
            raise
        work.told = dict(session.told)
        probes.record(work.step)
    return tokens


def keep_stopped(work: Work, session: Session) -> None:
    """Keep what a stopped run has trained, and where it can a checkpoint to go on from."""
    if session.resumable:
        session.save_checkpoint(work.run.path / "checkpoint", work.step)
    session.close()
    tuning.save(session.loaded, work.config, work.run.path)
