"""Keeps Optuna's side of a search: its journal in the study's folder, and a sampler that a kill does not change.

Optuna proposes settings (TPE, Bergstra et al. 2011; for two aims Ozaki et al. 2022) from what the journal tells of
earlier trials. Its random numbers depend on the search's seed and the trial's number alone, so a search that was
killed and gone on with proposes what it would have proposed.
"""

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from unlearn.results.search.record import JOURNAL, SearchConfig, SearchRecord
from unlearn.results.search.space import Axis, setting
from unlearn.store.disk import write_whole
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    import optuna

# Trials at random, before the sampler goes by what is known.
STARTUP = 8
NAME = "search"


def check() -> None:
    """Raise ValueError where Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise ValueError('tune: it needs Optuna; install it with pip install "unlearn-studio[tune]".')


def study_of(record: SearchRecord) -> "optuna.Study":
    """Return the search's Optuna study, new or as the journal tells it."""
    check()
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = record.path / JOURNAL
    mend(path)
    storage = JournalStorage(JournalFileBackend(str(path)))
    aims: list[Literal["minimize", "maximize"]] = ["minimize"]
    if record.config.aim == "both":
        aims.append("maximize")
    return optuna.create_study(study_name=NAME, storage=storage, directions=aims, load_if_exists=True)


def mend(path: Path) -> None:
    """Remove what a kill left: a last line that Optuna refuses to read past, and a lock that it would wait for.

    Only the process that holds the study's own lock writes the journal, so no other one has Optuna's.
    """
    for left in path.parent.glob(f"{path.name}.lock*"):
        left.unlink(missing_ok=True)
    content = path.read_bytes() if path.is_file() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        write_whole(path, whole)


def seed_of(config: SearchConfig, number: int) -> int:
    """Return the seed of the sampler for one trial."""
    import numpy as np

    return int(np.random.SeedSequence([config.seeds[0], number]).generate_state(1)[0])


def ask(
    study: "optuna.Study", config: SearchConfig, number: int, first: Mapping[str, object] | None = None
) -> tuple["optuna.trial.Trial", str, JsonObject]:
    """Return (Optuna's trial, method, settings) of the next trial. first: Optuna's parameters to try as they are."""
    import optuna

    with warnings.catch_warnings():
        # Two of TPE's options that it names experimental are what a search with several methods needs.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed_of(config, number))
        waiting = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,))
        # One may wait already, where a kill came between the two lines.
        if first and not waiting:
            study.enqueue_trial(dict(first))
        trial = study.ask()
        method = str(trial.suggest_categorical("method", list(config.methods)))
        settings = {axis.name: suggested(trial, method, axis) for axis in config.axes_of(method)}
    return trial, method, settings


def suggested(trial: "optuna.trial.Trial", method: str, axis: Axis) -> float | int | str | bool:
    """Return the value that Optuna suggests for one setting, as it is tried."""
    name = f"{method}.{axis.name}"
    if axis.choices:
        return axis.value(trial.suggest_categorical(name, list(axis.choices)))
    if axis.whole:
        return axis.value(trial.suggest_int(name, round(axis.low), round(axis.high), log=axis.log))
    return axis.value(trial.suggest_float(name, axis.low, axis.high, log=axis.log))


def shipped(config: SearchConfig, method: str) -> JsonObject | None:
    """Return Optuna's parameters for a method's own settings, or None where the bounds leave them out."""
    run = config.runs[config.methods.index(method)]
    values = {axis.name: setting(run, axis.name) for axis in config.axes_of(method)}
    if not all(axis.holds(values[axis.name]) for axis in config.axes_of(method)):
        return None
    return {"method": method} | {f"{method}.{name}": value for name, value in values.items()}
