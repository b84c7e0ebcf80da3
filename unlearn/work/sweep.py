"""Carries out a sweep: every cell that no earlier run answers, then the tuning guide.

A finished cell is never computed again: not after a stop, not in another sweep, not when somebody ran it by hand.
Divergence is a result and counts as finished; any other failure is tried again by resume. Cells are cheap: no
probes, and their weights go once they are scored, unless they are to be kept.
"""

import contextlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Unpack

from unlearn.data import inputs
from unlearn.data.prompts import asked_in
from unlearn.models.catalogue import allow_model
from unlearn.models.load import named_hash
from unlearn.models.reading import fit_of
from unlearn.results.grid import Cell
from unlearn.results.guide import batch_of, guide, guide_lrs
from unlearn.results.sweep_record import SweepRecord, cell_of, identity
from unlearn.store.away import keeps_weights
from unlearn.store.engine import Engine
from unlearn.store.runs import ACTIVE, Run, RunConfig, RunStore
from unlearn.store.studies import How, Stopped, StudyWork, checking
from unlearn.work.execute import execute

WEIGHTS = ("adapter", "model")
# Seconds between two looks at cells that an engine carries out.
LOOK = 0.1
CUT_SHORT = ("stopped", "interrupted", "failed")
# The error that a run's last state names.
DIVERGED = "Diverged"
# The fraction of a cell at which each phase begins, and the fraction that it takes.
SHARES = {"training": (0.2, 0.5), "saving": (0.7, 0.0), "scoring after": (0.7, 0.3)}


def perform(record: SweepRecord, *, engine: Engine | None = None, **how: Unpack[How]) -> None:
    """Carry out the sweep as execute() does a run.

    It never raises, and leaves state done, stopped or failed with a reason. engine: who carries the cells out, as many
    at once as it has room for; without one they are carried out here, one after the other.
    """
    _Work(record, engine=engine, **how).conduct()


class _Broken(Exception):
    """A cell failed in a way that says nothing about its settings."""


def _diverged(run: Run) -> bool:
    return run.events("state")[-1].get("error") == DIVERGED


@dataclass
class _Work(StudyWork[SweepRecord]):
    engine: Engine | None = None

    def carry_out(self) -> None:
        self.config = self.record.config
        self.store = RunStore(self.record.path.parent.parent)
        self.broken: list[str] = []
        first = self.config.runs[0]
        rows = inputs.begin(self.record, first.data, self.roots, fit_of(first))
        data = asked_in(rows, first.prompt, first.system)
        if self.config.guide and not data.rows("approximate"):
            raise ValueError(
                "guide: the dataset has no rows never seen (role approximate), so there is no target."
            )
        self.forget = len(data.fit_rows("forget"))
        self.hashes = {"data_hash": data.hash(), "model_hash": self.model_hash()}
        self.find_runs()
        self.recorded = {event["key"]: event for event in self.record.events("cell")}
        grid = self.config.cells()
        self.total, self.at = len(grid), 0
        if self.engine is not None:
            self.together(grid, self.engine)
        else:
            for config in grid:
                with contextlib.suppress(_Broken):
                    self.cell(config)
                self.at += 1
        if self.config.guide:
            self.follow_guide()
        if self.broken:
            raise RuntimeError(
                f"{len(self.broken)} cells failed, the last because: {self.broken[-1]} Resume tries them again."
            )

    def model_hash(self) -> str:
        """What the results of a run of this model say; empty where that is not known without loading it."""
        run = self.config.runs[0]
        allow_model(run.model, self.roots)
        return "" if run.start else named_hash(run.model, run.adapter)

    def find_runs(self) -> None:
        """Runs of the store by identity: those that answer for a cell, and this sweep's own that were cut short."""
        self.finished: dict[str, Run] = {}
        self.begun: dict[str, Run] = {}
        for run in self.store.list():
            key, state = identity(run.config), run.state
            if self.answers(run, state):
                self.finished[key] = run
                if self.owns(run):
                    # A kill may have come between its end and this.
                    self.drop_weights(run)
            elif self.owns(run) and (state in CUT_SHORT or (self.engine is not None and state in ACTIVE)):
                # It may go on elsewhere although the process that began it is gone: then the engine finds it again.
                self.begun[key] = run

    def owns(self, run: Run) -> bool:
        return run.meta.get("sweep") == self.record.id

    def answers(self, run: Run, state: str) -> bool:
        """Whether the run tells what its settings lead to: it ended, on the very data and weights of this sweep."""
        if state == "failed":
            return _diverged(run) and self.owns(run)
        results = run.results()
        same = all(not known or results.get(name) == known for name, known in self.hashes.items())
        return state == "done" and same and (keeps_weights(run) or not self.config.keep_weights)

    def cell(self, config: RunConfig) -> Cell:
        """This cell's outcome, computed only where no run has it yet."""
        key = identity(config)
        if key not in self.recorded:
            checking(self.should_stop)()
            run = self.finished.get(key)
            self.tell(key, run or self.compute(config, key), reused=run is not None)
        return cell_of(config, self.recorded[key])

    def tell(self, key: str, run: Run, *, reused: bool) -> None:
        """One event with all that the grid needs, so that the run itself may be deleted later."""
        results, states, steps = run.results(), run.events("state"), run.events("step")
        spent = results.get("seconds") or states[-1]["time"] - states[0]["time"]
        event = {
            "key": key,
            "run": run.id,
            "state": run.state,
            "reason": run.reason,
            "reused": reused,
            "seconds": round(spent, 3),
            "tokens": results.get("tokens") or (steps[-1]["tokens"] if steps else 0),
            "scores": run.scores(),
        }
        self.record.append("cell", **event)
        self.recorded[key] = event

    def begin(self, config: RunConfig, key: str) -> Run:
        """Return the cell's run: the one that was cut short, or a new one with the sweep's rows."""
        run = self.begun.get(key)
        if run is None:
            owner, scores_only = self.record.meta.get("owner", ""), not self.config.keep_weights
            run = self.store.create(config, owner=owner, sweep=self.record.id, scores_only=scores_only)
            inputs.share(self.record, run)
        return run

    def together(self, configs: Sequence[RunConfig], engine: Engine) -> None:
        """Have the engine carry out every cell that no run answers, several at once.

        Each is told as soon as it ends. Stopped when the sweep should stop, or somebody stopped a cell.
        """
        runs: dict[str, Run] = {}
        for config in configs:
            key = identity(config)
            if key not in self.recorded and key not in runs:
                checking(self.should_stop)()
                if found := self.finished.get(key):
                    self.tell(key, found, reused=True)
                else:
                    runs[key] = self.begin(config, key)
        engine.submit(*runs.values())
        stopped = False
        while runs:
            if self.should_stop() and not stopped:
                stopped = True
                for run in runs.values():
                    engine.stop(run)
            for key, run in list(runs.items()):
                if engine.where(run) is None:
                    del runs[key]
                    stopped |= not self.ended(key, run)
            done = len(configs) - len(runs)
            self.at = max(0, min(done, self.total))
            self.on_progress(f"{done} of {len(configs)} cells", done / max(1, len(configs)))
            time.sleep(LOOK if runs else 0.0)
        if stopped:
            raise Stopped

    def ended(self, key: str, run: Run) -> bool:
        """Tell the outcome of a cell that an engine has carried out. Returns False for one that was stopped."""
        try:
            self.outcome(run)
            self.tell(key, run, reused=False)
        except _Broken:
            pass
        except Stopped:
            return False
        return True

    def compute(self, config: RunConfig, key: str) -> Run:
        run = self.begin(config, key)
        if self.engine is not None:
            return self.elsewhere(run, self.engine)
        what = f"{config.method}, lr {config.lr:g}, {config.epochs} epochs, seed {config.seed}"

        def progress(phase: str, part: float) -> None:
            begins, takes = SHARES.get(phase, (0.0, 0.2))
            self.on_progress(f"{what}: {phase}", min(1.0, (self.at + begins + takes * part) / self.total))

        with run.held():
            execute(run, should_stop=self.should_stop, on_progress=progress, roots=self.roots)
        self.outcome(run)
        return run

    def elsewhere(self, run: Run, engine: Engine) -> Run:
        """Have the engine carry out a cell whose outcome decides what comes next."""
        engine.submit(run)
        asked = False
        while (where := engine.where(run)) is not None:
            if self.should_stop() and not asked:
                asked = True
                engine.stop(run)
            self.on_progress(f"the guide: {where.words}", self.at / self.total)
            time.sleep(LOOK)
        self.outcome(run)
        return run

    def outcome(self, run: Run) -> None:
        """Raise what ends the sweep or the cell; let go of weights that nobody asked for."""
        state = run.state
        # An engine that was closed has let go of what it had.
        if state not in ("done", "failed"):
            raise Stopped
        self.drop_weights(run)
        if state == "failed" and not _diverged(run):
            self.broken.append(run.reason)
            raise _Broken

    def drop_weights(self, run: Run) -> None:
        """Let go of a cell's weights, unless they are to be kept."""
        if not self.config.keep_weights:
            for name in WEIGHTS:
                shutil.rmtree(run.path / name, ignore_errors=True)

    def follow_guide(self) -> None:
        """The guide for each method and seed; its trials are cells too, so they also are computed once."""
        asked = list(product(self.config.runs, self.config.seeds))
        for template, seed in asked:
            tried: list[RunConfig] = []

            def trial(
                lr: float, template: RunConfig = template, seed: int = seed, tried: list[RunConfig] = tried
            ) -> Cell:
                size = batch_of(self.forget)
                config = replace(template, lr=lr, epochs=1, batch_size=size, seed=seed, probes=0, title="")
                tried.append(config)
                return self.cell(config)

            with contextlib.suppress(_Broken):
                found = guide(trial, guide_lrs(self.config.lrs[0]))
                self.record.append(
                    "guide",
                    method=template.method,
                    seed=seed,
                    trials=[config.to_json() for config in tried],
                    taken=found.chosen is not None,
                    reason=found.reason,
                )
