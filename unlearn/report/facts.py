"""Gathers what a receipt and a model card say of a run: rows, model, method, scores, attacks, and what is not shown.

Numbers, names and hashes alone; no row, no answer, no path of this machine. No torch.
"""

import time
from pathlib import Path

from unlearn.data import benchmarks, catalogue
from unlearn.data.base import ROLES
from unlearn.methods import method_named
from unlearn.models.catalogue import CATALOGUE, as_folder, entry_of
from unlearn.models.hub import HUB_ID
from unlearn.report import numbers
from unlearn.results import residue, score_export
from unlearn.results.compare import number, rounded
from unlearn.results.formats import ASKED
from unlearn.results.verdict import every
from unlearn.store import records
from unlearn.store.config import FORMATS, LORA_ONLY, RunConfig, formats_of
from unlearn.store.redaction import rows_of, without_paths
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject

# The scores that are shown: the first that a role has of each line.
SHOWN = (("exact", "memorised"), ("probability", "accuracy"), ("rougeL",), ("ppl",))
WHEN = ("before", "after", "retrained")
# The hub's words for the licences that the catalogue names; any other is "other" there.
LICENCES = {"Apache-2.0": "apache-2.0", "MIT": "mit", "Gemma": "gemma", "CC-BY-4.0": "cc-by-4.0"}
NOT_PROVEN = (
    "Nothing here proves that the information is gone. It shows what was asked of the model, and what was tried to "
    "bring it back; another question or a stronger attack may find more.",
    "The weights of the model before still hold it, and so do copies, backups and models made from them.",
    "The run says nothing of other systems: documents that are searched for an answer, caches, logs.",
)


def rows(run: Run) -> JsonObject:
    """Return what is said of the rows in place of the rows: {"count", "counts", "hash", "each", "how"}."""
    kept = rows_of(run.path)
    began: JsonObject = next(iter(run.events("inputs")), {})
    scored = run.scores().get("before", {}).get("forget", {}).get("n")
    return {
        "count": kept.get("counts", {}).get("forget", scored),
        "counts": kept.get("counts", {}),
        "hash": began.get("rows", "") or run.results().get("data_hash", ""),
        "each": kept.get("forget", []),
        "how": kept.get("how", ""),
    }


def data_title(run: Run) -> str:
    """Return the name of the dataset, where it is a public one. A table of one's own may be named after a person."""
    data = run.config.data
    if data.get("hub"):
        return str(data["hub"])
    name = str(data.get("name", ""))
    if name in catalogue.CATALOGUE or benchmarks.is_benchmark(name):
        return str(run.results().get("data_title") or name)
    return ""


def described(run: Run) -> str:
    """Return what was to be forgotten as the end of a sentence, without a row: "90 rows of Fictional authors"."""
    told = rows(run)
    count = told["count"]
    many = "rows" if count is None else "1 row" if count == 1 else f"{count} rows"
    requests = run.config.data.get("requests") or ()
    asked = f" (requests {', '.join(map(str, requests))})" if requests else ""
    title = data_title(run)
    return f"{many} of {title}{asked}" if title else f"{many} of a table of its maker's own{asked}"


def base(run: Run) -> JsonObject:
    """Return what is known of the model before: {"title", "hub", "licence", "hash", "revision"}."""
    model, results = run.config.model, run.results()
    entry = entry_of(model)
    began: JsonObject = next(iter(run.events("inputs")), {})
    hub = entry.hub if entry else model if _is_hub(model) else ""
    licence = entry.licence if entry else _licence(model)
    return {
        "title": results.get("model_title") or (entry.title if entry else Path(model).name),
        "hub": hub,
        "licence": licence,
        "hash": results.get("model_hash", "") or began.get("model", ""),
        "revision": began.get("revision", ""),
    }


def _is_hub(model: str) -> bool:
    return "/" in model and HUB_ID.fullmatch(model) is not None and as_folder(model) is None


def _licence(model: str) -> str:
    """The licence that the model card in a model's folder states, or ""."""
    folder = as_folder(model)
    path = folder / "README.md" if folder else None
    if path is None or not path.is_file():
        return ""
    head = path.read_text(encoding="utf-8", errors="replace").split("\n---", 1)[0]
    found = [line.partition(":")[2].strip() for line in head.splitlines() if line.startswith("license:")]
    return found[0].strip("'\"")[:60] if found else ""


def hub_licence(licence: str) -> str:
    """Return the hub's word for a licence: "unknown" where it is not known, "other" for one that it does not list."""
    if not licence:
        return "unknown"
    return LICENCES.get(licence, licence if licence == licence.lower() and " " not in licence else "other")


def scores(run: Run) -> list[JsonObject]:
    """Return the score table: {"role", "score", "n", "before", "after", "retrained"}, numbers with their intervals."""
    found, around = run.scores(), run.intervals()
    table = []
    for row in score_export.rows([run]):
        shown = next((names for names in SHOWN if row["metric"] in names), ())
        known = found.get("before", {}).get(row["role"], {})
        if row["metric"] != next((name for name in shown if name in known), None):
            continue
        cells = {when: _cell(found, around, when, row["role"], row["metric"]) for when in WHEN}
        table.append({"role": row["role"], "score": row["score"], "n": row["n"]} | cells)
    return table


def _cell(found: JsonObject, around: JsonObject, when: str, role: str, metric: str) -> str:
    value = found.get(when, {}).get(role, {}).get(metric)
    if value is None:
        return "–"
    ends = around.get(when, {}).get(role, {}).get(metric)
    said = rounded(value)
    return f"{said} [{rounded(ends[0])}, {rounded(ends[1])}]" if ends else said


def by_format(run: Run) -> list[JsonObject]:
    """Return the right answers in each prompt format: {"role", "format", "before", "after", "retrained"}."""
    told = run.by_format()
    places = dict.fromkeys((r, f) for roles in told.values() for r, formats in roles.items() for f in formats)

    def cell(when: str, role: str, name: str) -> str:
        value = told.get(when, {}).get(role, {}).get(name)
        if not value:
            return "–"
        low, high = (round(100 * number(end)) for end in value["interval"])
        return f"{round(number(value['right']) * value['n'])} of {value['n']} ({low} to {high} %)"

    return [
        {"role": role, "format": ASKED.get(name, name)} | {when: cell(when, role, name) for when in WHEN}
        for role, name in places
    ]


def worst_attack(run: Run) -> JsonObject:
    """Return the attack that brings most back: {"title", "finding", "says", "residue", "around", "n", "seed", "tried"}.

    around: the 95 % interval of the residue over the texts, or None where it cannot be told.

    It is empty where none was tried.
    """
    found = every(records.read_attacks(run.path / "attacks.json"))
    if not found:
        return {}
    worst = {key: found[0][key] for key in ("title", "finding", "says", "residue", "n", "seed")}
    worst["around"] = list(ends) if (ends := residue.of_entry(found[0])) else None
    return worst | {"tried": list(dict.fromkeys(entry.get("family", entry["title"]) for entry in found))}


def not_shown(run: Run) -> list[str]:
    """Return sentences on what the numbers do not show, the general ones first."""
    said = numbers.limits([run], score_export.rows([run]))
    given = run.config.retrained
    # The folder of a retrained model of one's own is this machine's; its name is enough.
    return [*NOT_PROVEN, *(one.replace(given, Path(given).name) if given else one for one in said)]


def method(run: Run) -> JsonObject:
    """Return {"title", "paper", "url", "settings"}: what was done, with every setting that is not empty."""
    kind = method_named(run.config.method)
    config = _nameless(run)
    flat: JsonObject = {}
    for name, value in config.items():
        if name in ("title", "system", "data", "method", "probes", "start", "report_to"):
            continue
        if name in LORA_ONLY and run.config.tuning != "lora":
            continue
        inner = value.items() if isinstance(value, dict) else [(name, value)]
        flat |= {key: one for key, one in inner if one not in ("", None, (), [])}
    asked = [FORMATS[name] for name in formats_of(run.config.prompt)]
    return {"title": kind.title, "paper": kind.paper, "url": kind.url, "settings": flat, "asked": asked}


def command(run: Run) -> str:
    """Return the command that repeats the run, in which own tables are called after their roles."""
    config = _nameless(run) | {"report_to": "none"}
    if base(run)["hub"] or run.config.model in CATALOGUE:
        config["model"] = run.config.model
    return RunConfig(**config).command(leave_out=("title",))


def _nameless(run: Run) -> JsonObject:
    """The run's settings without this machine's folders, and with own tables called after their roles."""
    config = without_paths(run.config.to_json())
    own = {key: f"{key}{Path(str(value)).suffix}" for key, value in config["data"].items() if key in ROLES}
    retrained = Path(config["retrained"]).name if config["retrained"] else ""
    return config | {"data": config["data"] | own, "retrained": retrained, "model": base(run)["title"]}


def when(run: Run) -> JsonObject:
    """Return when the run was asked for and when it ended, in this machine's time: {"asked", "ended"}."""
    states = run.events("state")
    times = {"asked": states[0]["time"], "ended": states[-1]["time"]} if states else {}
    return {name: time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(at)) for name, at in times.items()}
