"""Puts a published TOFU log beside what is here: the file is data, its numbers are what TOFU's script makes of it."""

import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from ui import shell
from ui.demo import visitor
from ui.typed import path_field, upload
from unlearn.results import tofu
from unlearn.results.compare import rounded
from unlearn.store import records
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject

# The most megabytes of an uploaded log; a longer one comes in by its path.
LIMIT = 64
WAYS = {"upload": "Upload", "path": "Path"}
MEASURES = {
    "utility": "Model utility",
    "forget_quality": "Forget quality, p",
    "probability": "Probability",
    "rouge": "ROUGE-L recall",
    "truth_ratio": "Truth ratio",
}
NAMES = {
    "kept": "what must stay",
    "retain": "retain",
    "real_authors": "real authors",
    "world_facts": "world facts",
    "forget": "forget",
}


def put_beside(key: str = "published", runs: Sequence[Run] = ()) -> None:
    """Draw the fields of two logs (the second the retrained model's) and what TOFU's script makes of them.

    runs: those whose own numbers stand in the same table, where TOFU's metrics were computed for them.
    """
    with st.expander("Put a published log beside", icon=":material/upload_file:", key=f"{key}.open"):
        st.caption(
            "TOFU's eval_log_aggregated.json or OpenUnlearning's TOFU_EVAL.json. `evaluate RUN --tofu-log OUT.json` "
            "writes a run's own."
        )
        ways = list(visitor.offered(WAYS, ("upload",)))
        way = st.segmented_control(
            "How",
            ways,
            format_func=WAYS.__getitem__,
            default="upload",
            required=True,
            wrap=True,
            key=f"{key}.way",
        )
        try:
            log = _log("Log", f"{key}.log", way)
            retrained = _log("Log of the retrained model (gives forget quality)", f"{key}.retrained", way)
            if log is not None:
                _shown(tofu.summary(log, retrained), runs)
        except ValueError as error:
            st.error(shell.plain(str(error)))


def _log(label: str, key: str, way: str) -> tofu.Log | None:
    if way == "path":
        path = path_field(label, f"{key}.path", help="A log on the machine that runs this app.")
        return None if path is None else tofu.read_log(path)
    file: Any = upload(label, "json", f"{key}.file", LIMIT)
    if file is None:
        return None
    try:
        value = json.loads(file.getvalue())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{file.name}: cannot be read as JSON ({error}). Give a log that TOFU wrote."
        ) from None
    return tofu.parse(value, file.name)


def _shown(found: JsonObject, runs: Sequence[Run]) -> None:
    ks = found["ks"]
    with st.container(horizontal=True):
        utility = "not all parts" if found["model_utility"] is None else rounded(found["model_utility"])
        st.metric("TOFU model utility", utility, help="Harmonic mean of nine numbers; higher is better.")
        quality = "needs a second log" if ks is None else f"{found['forget_quality']:.3g}"
        st.metric("TOFU forget quality, p", quality, help="KS test against the retrained model's log.")
        if ks is not None:
            n = f"n = {ks['n']} against {ks['n_retrained']}"
            st.metric("D", rounded(ks["d"]), help=f"Statistic of that test, {n}.")
    values = {
        ("kept", "utility"): found["model_utility"],
        ("forget", "forget_quality"): found["forget_quality"],
    }
    values |= {(name, what): value for name, parts in found["parts"].items() for what, value in parts.items()}
    beside = {shell.run_label(run): mine for run in runs if (mine := _of_run(run))}
    rows = [
        {"value": f"{MEASURES[what]}, {NAMES[name]}", "log": _cell(value)}
        | {label: _cell(mine.get((name, what))) for label, mine in beside.items()}
        for (name, what), value in values.items()
    ]
    heads = {"value": "Value", "log": "Published log"}
    columns = {key: st.column_config.TextColumn(head) for key, head in heads.items()}
    st.dataframe(
        rows,
        column_config=columns,
        hide_index=True,
        key="published.table",
        placeholder="–",
        alt="The log beside the runs",
    )
    if runs and not beside:
        st.caption(
            "No chosen run has TOFU's metrics yet: `evaluate RUN --metrics tofu`, or Compute more metrics."
        )


def _of_run(run: Run) -> dict[tuple[str, str], float]:
    """A run's own numbers by (set, measure), from its metrics.json."""
    found = records.read_metrics(run.path / "metrics.json").get("metrics", {})
    return {
        (score["role"], what): score["value"]
        for what in MEASURES
        for score in found.get(f"tofu_{what}", {}).get("scores", ())
        if score["when"] == "after"
    }


def _cell(value: float | None) -> str:
    return "" if value is None else rounded(value)
