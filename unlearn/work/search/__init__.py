"""Carries out a search for settings: Optuna proposes, a run answers, and both are kept in the study's folder.

The study's events are the truth. Each trial is told in two of them: `asked` with its settings, before its runs begin,
and `trial` with what came of it. So a search that was killed goes on in the very run that was cut short, and no trial
is lost or made twice.
"""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from unlearn.data import inputs
from unlearn.data.base import Dataset
from unlearn.models.catalogue import exact_retrain
from unlearn.models.reading import fit_of
from unlearn.results.compare import number as as_number
from unlearn.results.search import choice, pruning
from unlearn.results.search.record import SearchConfig, SearchRecord, Trial
from unlearn.store.disk import json_safe
from unlearn.store.engine import Engine
from unlearn.store.runs import Run, RunStore
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.store.studies import How, Stopped, StudyWork, checking
from unlearn.work.execute import execute
from unlearn.work.search import halves, journal
from unlearn.work.search import trial as trials
from unlearn.work.search.watching import Watch, means, outcome, read_while_training, seconds_of
from unlearn.work.sweep import DIVERGED, SHARES, WEIGHTS

if TYPE_CHECKING:
    import optuna

# Errors that say nothing about a trial's settings.
OF_THE_MACHINE = ("OSError", "FileNotFoundError", "PermissionError", "SafetensorError")


def perform(record: SearchRecord, *, engine: Engine | None = None, **how: Unpack[How]) -> None:
    """Carry out the search as execute() does a run.

    It never raises, and leaves state done, stopped or failed with a reason. engine: who carries the trials out, as many
    at once as it was told to; these do not learn from one another. Without one they are carried out here, one by one.
    """
    _Work(record, engine=engine, **how).conduct()


def check_target(config: SearchConfig, data: Dataset) -> None:
    """Raise ValueError where there is nothing that forgetting could be measured against."""
    if config.target < 0 and not data.rows("approximate") and exact_retrain(config.runs[0]) is None:
        raise ValueError(halves.NO_TARGET)


@dataclass
class _Work(StudyWork[SearchRecord]):
    engine: Engine | None = None

    def carry_out(self) -> None:
        self.config = self.record.config
        self.models_once = threading.Lock()
        self.store = RunStore(self.record.path.parent.parent)
        first = self.config.runs[0]
        self.data = inputs.begin(self.record, first.data, self.roots, fit_of(first))
        check_target(self.config, self.data)
        study = journal.study_of(self.record)
        self.settle(study)
        while self.more(len(self.record.trials())):
            checking(self.should_stop)()
            self.round(study)
        # A kill may have come between the last trial and this.
        self.drop_weights()

    def settle(self, study: "optuna.Study") -> None:
        """Bring Optuna's journal and the events together again after a kill between the two."""
        from optuna.trial import TrialState

        asked = {event["optuna"]: event for event in self.record.events("asked")}
        told = {trial.number: trial for trial in self.record.trials()}
        for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            event = asked.get(frozen.number)
            if event is None:
                # Nobody knows of it yet; it is asked for again, with the same seed.
                study.tell(frozen.number, state=TrialState.FAIL)
            elif trial := told.get(event["number"]):
                self.tell(study, frozen.number, trial)

    def more(self, begun: int) -> bool:
        """Return whether the budget has room for one trial beside those begun, if it takes as long as the others."""
        config, known = self.config, self.record.trials()
        if config.trials and begun >= config.trials:
            return False
        usual = self.record.spent() / len(known) if known else 0.0
        return (
            not config.minutes
            or self.record.spent() + usual * (begun - len(known) + 1) <= 60 * config.minutes
        )

    def round(self, study: "optuna.Study") -> None:
        """Carry out the next trial, or with an engine the next ones together, and tell Optuna in their order."""
        first = len(self.record.trials())
        most = max(1, self.engine.at_once) if self.engine else 1
        events = [self.asked(study, first)]
        while len(events) < most and self.more(first + len(events)):
            events.append(self.asked(study, first + len(events)))
        with ThreadPoolExecutor(len(events)) as pool:
            found = list(pool.map(self.carried, events)) if self.engine else [self.carried(events[0])]
        for event, trial in zip(events, found, strict=True):
            self.record.append("trial", **json_safe(vars(trial)))
            self.tell(study, event["optuna"], trial)
        self.drop_weights()

    def asked(self, study: "optuna.Study", number: int) -> JsonObject:
        """Return the settings of a trial, asked for now or before a kill."""
        for _ in range(2):
            for event in self.record.events("asked"):
                if event["number"] == number:
                    return event
            self.ask(study, number)
        raise AssertionError("it was asked for just now")

    def ask(self, study: "optuna.Study", number: int) -> None:
        """Ask Optuna for the next settings. The methods' own come first."""
        first = None
        if number < len(self.config.methods):
            first = journal.shipped(self.config, self.config.methods[number])
        trial, method, settings = journal.ask(study, self.config, number, first)
        self.record.append(
            "asked",
            number=number,
            optuna=trial.number,
            method=method,
            settings=settings,
            shipped=first is not None,
        )

    def tell(self, study: "optuna.Study", number: int, trial: Trial) -> None:
        """Tell Optuna what came of a trial. One without an end counts as worse than all that have one."""
        from optuna.trial import TrialState

        found = choice.judge(trial, self.record.models())
        if trial.state != "done" or not found.finite:
            study.tell(number, state=TrialState.PRUNED)
        else:
            study.tell(number, self.values(found))

    def values(self, found: choice.Judged) -> list[float]:
        """Return what Optuna is to make small or large. What misses a budget counts by how far it misses it."""
        config = self.config
        if config.aim == "forget":
            missed = max(0.0, config.kept - found.kept)
            return [1.0 + missed if missed else found.distance]
        if config.aim == "keep":
            missed = max(0.0, found.distance - config.within)
            return [2.0 + missed if missed else 1.0 - found.kept]
        return [found.distance, found.kept]

    # -- one trial -------------------------------------------------------------------------------------------

    def carried(self, event: JsonView) -> Trial:
        """Return what comes of the settings with every seed: the means, or what ended the first seed early."""
        about = {name: event[name] for name in ("number", "method", "settings", "shipped")}
        scored: list[JsonObject] = []
        for seed in self.config.seeds:
            scored.append(self.scored(self.run_of(event, seed), first=not scored))
            if scored[-1]["state"] != "done":
                break
        last = scored[-1]
        whole = last["state"] == "done"
        return Trial(
            **about,
            runs=tuple(one["run"] for one in scored),
            state=last["state"],
            reason=last["reason"],
            seconds=round(sum(one["seconds"] for one in scored), 3),
            chosen=means([one[choice.CHOSEN] for one in scored]) if whole else {},
            reported=means([one[choice.REPORTED] for one in scored]) if whole else {},
            curve=tuple(tuple(point) for point in scored[0]["curve"]),
        )

    def scored(self, run: Run, *, first: bool) -> JsonObject:
        """Carry out one run of a trial and return what came of it, or what is known of it from before a kill."""
        for event in self.record.events("scored"):
            if event["run"] == run.id:
                return event
        watch = Watch(run, self.earlier() if self.config.prune and first else [], self.target())
        found = self.execute(run, watch)
        state, reason = outcome(run, watch)
        told: JsonObject = {"run": run.id, "state": state, "reason": reason, "seconds": seconds_of(run)}
        told |= {"curve": watch.curve, choice.CHOSEN: {}, choice.REPORTED: {}}
        if found is not None:
            with self.models_once:
                if not self.record.models():
                    self.record.append("models", **json_safe(found["models"]))
            told |= {half: found[half] for half in (choice.CHOSEN, choice.REPORTED)}
        told = dict(json_safe(told))
        self.record.append("scored", **told)
        return told

    def run_of(self, event: JsonView, seed: int) -> Run:
        """Return the run of a trial and seed: the one that was cut short, or a new one."""
        for run in self.members():
            if run.meta.get("trial") == event["number"] and run.config.seed == seed:
                return run
        config = self.config.run(event["method"], event["settings"], seed)
        if self.config.prune:
            config = read_while_training(config, self.data)
        owner = self.record.meta.get("owner", "")
        # Lists hide what a sweep or a search made.
        about = {"sweep": self.record.id, "trial": event["number"], "target": self.config.target}
        run = self.store.create(config, owner=owner, **about)
        inputs.share(self.record, run)
        return run

    def members(self) -> list[Run]:
        """Return the runs of this search that are still there."""
        return [run for run in self.store.list() if run.meta.get("sweep") == self.record.id]

    def execute(self, run: Run, watch: Watch) -> JsonObject | None:
        """Carry out one run, and return what trial.told() says, or None where it did not come to its end.

        Stopped where the person asked for it; RuntimeError where it failed.
        """
        count, config = len(self.record.trials()), run.config
        what = f"Trial {run.meta['trial'] + 1}, {config.method}, learning rate {config.lr:g}, {config.epochs} epochs"

        def progress(phase: str, part: float) -> None:
            begins, takes = SHARES.get(phase, (0.0, 0.2))
            self.on_progress(f"{what}: {phase}", self.fraction(count + begins + takes * part))

        if self.engine is not None:
            found = trials.elsewhere(run, watch, self.engine, self.should_stop, progress)
        else:
            with run.held():
                finished = execute(
                    run,
                    should_stop=lambda: self.should_stop() or watch.hopeless,
                    on_progress=progress,
                    roots=self.roots,
                )
            found = trials.told(finished, self.roots, self.config.target) if finished else None
        # An engine that was closed has let go of what it had.
        if run.state not in ("done", "failed") and not (watch.hopeless and run.state == "stopped"):
            raise Stopped
        error = str(run.events("state")[-1].get("error", ""))
        # Settings that do not work are told to Optuna; a full disk, or what fails from the first on, is no setting's.
        if run.state == "failed" and error != DIVERGED and (error in OF_THE_MACHINE or count == 0):
            raise RuntimeError(f"trial {count + 1} failed: {run.reason} Resume tries it again.")
        return found

    def fraction(self, trials: float) -> float:
        """Return how much of the budget is used up, by trials or by time, whichever is more."""
        parts = [trials / self.config.trials] if self.config.trials else []
        if self.config.minutes:
            parts.append(self.record.spent() / (60 * self.config.minutes))
        return min(1.0, max(parts))

    def target(self) -> float:
        """Return the target, or nan before the first trial has ended."""
        return as_number(self.record.models().get(choice.CHOSEN, {}).get("target"))

    def earlier(self) -> list[tuple[pruning.Point, ...]]:
        """Return the curves of the trials before."""
        return [trial.curve for trial in self.record.trials() if trial.curve]

    def drop_weights(self) -> None:
        """Keep the weights of the best trial alone, unless all are to be kept."""
        if self.config.keep_weights:
            return
        taken = choice.best(self.record.trials(), self.record.models(), self.config)
        for run in self.members():
            if taken is None or run.id not in taken.trial.runs:
                for name in (*WEIGHTS, "checkpoint"):
                    shutil.rmtree(run.path / name, ignore_errors=True)
