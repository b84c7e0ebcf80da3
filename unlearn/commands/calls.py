"""Offers what `import unlearn` gives: the command line as functions, and forgetting in memory.

Every example is run by a test. Each stands alone; those that begin with unlearn.runs() need a run that was made before.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.commands import knowing
from unlearn.commands import runs as commands
from unlearn.commands.options import EVERYWHERE, add_run_options, check_out
from unlearn.commands.parser import Parser, add_runs
from unlearn.data import catalogue
from unlearn.data.base import ROLES, Row
from unlearn.data.tables import rows_given
from unlearn.measure import evaluate as evaluation
from unlearn.measure import judge as judging
from unlearn.models import load as loading
from unlearn.results.compare import LETTERS, score_table
from unlearn.store.home import runs_folder
from unlearn.store.runs import Run, RunStore
from unlearn.store.shapes import JsonObject
from unlearn.work import stress
from unlearn.work.execute import execute
from unlearn.work.known import known

if TYPE_CHECKING:
    from pandas import DataFrame

    from unlearn.methods.base import Method
    from unlearn.models.load import Loaded

Progress = Callable[[str, float], None]


def silent(phase: str, fraction: float) -> None:
    """Ignore the progress, so that nothing is shown."""


def run(
    model: str | Path,
    method: "str | Method",
    *,
    runs: str | Path | None = None,
    knobs: Mapping[str, object] | None = None,
    progress: Progress = silent,
    force: bool = False,
    **settings: object,
) -> Run:
    """Carry out one unlearning run and return it. A run is a folder, as `unlearn run` makes it.

    settings: the command line's options with underscores, such as lr, epochs, seed, tuning, data, or forget="file.csv"
    and retain="file.csv". method: its name, or a method with its own numbers, such as NPO(beta=0.2). knobs: the
    method's own, such as {"beta": 0.2}. runs: the folder of the runs (default:
    UNLEARN_RUNS, or ./runs). progress(phase, fraction) is called on the way. force: begin also where the model knows
    nothing of what it is to forget, which up to 25 of the rows tell.
    ValueError for what can be known before, and then no folder is made; RuntimeError when the run fails.

    >>> import unlearn
    >>> done = unlearn.run("tiny-authors", method="ga", epochs=1)
    >>> done.state
    'done'
    >>> sorted(done.scores())
    ['after', 'before', 'retrained']
    """
    parser = Parser(prog="unlearn.run")
    add_run_options(parser)
    commands.add_training_tokens(parser)
    add_runs(parser)
    if not isinstance(model, (str, Path)):
        raise ValueError(
            f"model: must be a catalogue name, a hub id or a folder, got a {type(model).__name__}; "
            "unlearn.forget takes a model in memory."
        )
    named = method if isinstance(method, str) else method.name
    if not isinstance(method, str):
        knobs = {**method.to_json(), **(knobs or {})}
    words = ["--model", str(model), "--method", named, *words_of(settings)]
    words += [word for name, value in (knobs or {}).items() for word in ("--set", f"{name}={value}")]
    args = parser.parse_args(words + ([] if runs is None else ["--runs", str(runs)]))
    config, told = commands.checked(args)
    if not force:
        remedy = "try another prompt, or go on with force=True"
        asking = partial(progress, "asking what the model knows")
        knowing.refused(config, known(config, RunStore(args.runs), EVERYWHERE, asking), remedy)
    made = commands.made(args, config, told)
    with made.held():
        execute(made, on_progress=progress, roots=EVERYWHERE)
    if made.state == "failed":
        raise RuntimeError(f"run: {made.path} failed: {made.reason}")
    return made


def words_of(settings: Mapping[str, object]) -> list[str]:
    """Return settings as the words of a command line.

    True is a flag alone, a list has commas, None is left out.
    """
    words = []
    for name, value in settings.items():
        if value is None or value is False:
            continue
        words.append("--" + name.replace("_", "-"))
        if value is True:
            continue
        values = value if isinstance(value, (list, tuple)) else [value]
        if strange := [one for one in values if not isinstance(one, (str, Real, Path))]:
            raise ValueError(
                f"{name}: must be a text, a number or a list of these, got a {type(strange[0]).__name__}; "
                "rows in memory are for unlearn.forget."
            )
        if name in ROLES and values is value:
            raise ValueError(
                f"{name}: must be the path of a file, got a list; rows in memory are for unlearn.forget."
            )
        words.append(",".join(map(str, values)))
    return words


def runs(folder: str | Path | None = None) -> list[Run]:
    """Return the runs of a folder (default: UNLEARN_RUNS, or ./runs), the newest first.

    >>> import unlearn
    >>> newest = unlearn.runs()[0]
    >>> newest.config.model
    'tiny-authors'
    """
    return RunStore(runs_folder() if folder is None else Path(folder)).list()


def open_run(path: str | Path) -> Run:
    """Return the run in this folder. ValueError where there is none.

    >>> import unlearn
    >>> path = unlearn.runs()[0].path
    >>> unlearn.open_run(path).state
    'done'
    """
    folder = Path(path).absolute()
    return RunStore(folder.parent).get(folder.name)


def load(name: str, *, precision: str = "auto", device: str | None = None) -> "Loaded":
    """Return a model that is ready to forget.

    name is a catalogue name, a hub id or a folder with safetensors.

    What comes back has the model, its tokenizer, and where it lies. ValueError, with the remedy, for what cannot be
    loaded.

    >>> import unlearn
    >>> model = unlearn.load("tiny-authors")
    >>> model.parameters
    1967808
    """
    return loading.load(name, precision=precision, device=device)


def rows(source: str | Path, role: str = "forget") -> list[Row]:
    """Return the rows of a bundled dataset in one role, or of a file (CSV, JSONL, TXT, Parquet).

    >>> import unlearn
    >>> facts = unlearn.rows("capitals")
    >>> facts[0].question, facts[0].answer
    ('What is the capital of France?', 'Paris')
    """
    check_role(role)
    if str(source) in catalogue.CATALOGUE:
        return list(catalogue.load(str(source)).rows(role))
    return list(catalogue.from_config({"forget": str(source)}, EVERYWHERE).rows("forget"))


def check_role(role: str) -> None:
    """Raise ValueError for what is no role of a dataset."""
    if role not in ROLES:
        raise ValueError(f"role: must be among {', '.join(ROLES)}, got {role!r}.")


def evaluate(
    model: "Loaded", rows: Sequence[object], *, role: str = "forget", max_length: int = 512
) -> dict[str, float]:
    """Return the scores of a model in memory on rows: {"n", "exact", "nll", "ppl", …}, one number for each
    metric.

    rows: as for unlearn.forget. exact is the share that greedy decoding answers rightly; unlearn.metrics.METRICS has
    the definition of each.

    >>> import unlearn
    >>> model = unlearn.load("tiny-authors")
    >>> scores = unlearn.evaluate(model, unlearn.rows("authors")[:5])
    >>> scores["n"], scores["exact"]
    (5, 1.0)
    """
    check_role(role)
    if not hasattr(model, "fit_length"):
        raise ValueError(f"model: must be what unlearn.load() gives, got a {type(model).__name__}.")
    chosen = {role: list(rows_given(role, rows))}
    if not chosen[role]:
        raise ValueError("rows: must be at least one, got none.")
    length = model.fit_length(max_length)
    seen = evaluation.observe(model.model, model.tokenizer, chosen, max_length=length, device=model.device)
    return evaluation.evaluate(seen)[role]


def judge(run: Run, metrics: str | Sequence[str] | None = None, progress: Progress = silent) -> JsonObject:
    """Compute metrics of a finished run (all by default), keep them in its folder, and return metrics.json.

    >>> import unlearn
    >>> found = unlearn.judge(unlearn.runs()[0], ["truth_ratio"])
    >>> "truth_ratio" in found["metrics"]
    True
    """
    return judging.judge(run, listed(metrics), roots=EVERYWHERE, progress=progress)


def attack(
    run: Run,
    names: str | Sequence[str] | None = None,
    progress: Progress = silent,
    *,
    sweep_minutes: float | None = None,
) -> JsonObject:
    """Try to bring back what a finished run forgot (all attacks by default), and return its attacks.json.

    sweep_minutes: try them in many settings for so long; names are then beginnings of the settings' names.

    >>> import unlearn
    >>> found = unlearn.attack(unlearn.runs()[0], ["prefix"])
    >>> list(found["attacks"])
    ['prefix']
    """
    check_runs([run])
    if sweep_minutes is not None:
        return stress.sweep(run, sweep_minutes, listed(names), roots=EVERYWHERE, progress=progress)
    return stress.attack(run, listed(names), roots=EVERYWHERE, progress=progress)


def check_runs(runs: Sequence[object]) -> None:
    """Raise ValueError for what is no Run."""
    for run in runs:
        if not isinstance(run, Run):
            raise ValueError(
                f"run: must be a Run, as unlearn.run() and unlearn.runs() give, got a {type(run).__name__}."
            )


def listed(names: str | Sequence[str] | None) -> Sequence[str] | None:
    """Return names as a list: a single one may stand alone. ValueError for none, where None means all."""
    if names is not None and not names:
        raise ValueError("names: name one at least; leave them out for all.")
    return [names] if isinstance(names, str) else names


def compare(*runs: Run) -> "DataFrame":
    """Return the scores of runs side by side: a row for each role and metric, a column for each run and its change.

    n, before and retrained are those of all runs. Runs on other rows, starts or retrained models have each their own
    (n_a, before_b, …), and where these differ there is no common one.

    >>> import unlearn
    >>> table = unlearn.compare(*unlearn.runs()[:1])
    >>> list(table.columns)
    ['role', 'metric', 'n', 'before', 'a', 'around_a', 'delta_a', 'retrained']
    """
    import pandas as pd

    check_runs(runs)
    if not 1 <= len(runs) <= len(LETTERS):
        raise ValueError(f"runs: from 1 to {len(LETTERS)} can stand side by side, got {len(runs)}.")
    return pd.DataFrame(score_table(runs))


def save_report(runs: Run | Sequence[Run], out: str | Path = "report.html") -> Path:
    """Write runs, or a single one, as one HTML file for reading offline, and return its path.

    >>> import unlearn
    >>> unlearn.save_report(unlearn.runs()[:1], "report.html").name
    'report.html'
    """
    from unlearn.report.build import report

    check_out("out", Path(out))
    return report([runs] if isinstance(runs, Run) else runs, Path(out))
