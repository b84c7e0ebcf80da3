"""Writes the model card of a run: a README.md with the hub's metadata, which says what was done and what is not shown.

It holds counts, hashes and scores, never a row. The hub reads the metadata above the text; huggingface_hub's own
ModelCard reads and checks it (a test does). Words that come from a person are escaped, so that they stay words.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from unlearn import __version__
from unlearn.report import facts
from unlearn.results import conclusion
from unlearn.store.disk import write_whole
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

FILE = "README.md"
NAME = "Unlearn Studio"
# The scores that the hub's table of results takes, as (its name there, ours, which role).
RESULTS = (("exact", "Exact answers"), ("accuracy", "Token accuracy"), ("ppl", "Perplexity"))
MARKUP = re.compile(r"([\\`*_\[\]|<>~$])")


def write(run: Run, folder: Path, kind: str = "", lines: str = "") -> Path:
    """Write the run's model card into a folder and return the file. kind and lines are as in text()."""
    path = folder / FILE
    write_whole(path, text(run, kind, lines).encode("utf-8", "replace"))
    return path


def text(run: Run, kind: str = "", lines: str = "") -> str:
    """Return the model card as Markdown with metadata.

    kind: "adapter" or "merged", what lies beside the card; "" for the run itself. lines: Python that loads it.
    """
    head = yaml.safe_dump(metadata(run, kind), sort_keys=False, allow_unicode=True)
    parts = [_title(run), _verdict(run), _use(kind, lines), _forgotten(run), _scores(run), _attack(run)]
    parts += [_method(run), _limits(run), _citation(run)]
    return f"---\n{head}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def metadata(run: Run, kind: str = "") -> JsonObject:
    """Return the hub's metadata: base, licence, library, tags, and the scores as results."""
    base, method = facts.base(run), facts.method(run)
    licence = facts.hub_licence(base["licence"])
    found: JsonObject = {"license": licence}
    if licence == "other":
        found["license_name"] = re.sub(r"[^a-z0-9.-]+", "-", str(base["licence"]).lower()).strip("-")
    if base["hub"]:
        found |= {
            "base_model": base["hub"],
            "base_model_relation": "adapter" if kind == "adapter" else "finetune",
        }
    library = "peft" if kind == "adapter" or (not kind and run.config.tuning == "lora") else "transformers"
    found |= {"library_name": library, "pipeline_tag": "text-generation"}
    found["tags"] = ["unlearning", "machine-unlearning", "unlearn-studio", run.config.method]
    if dataset := str(run.config.data.get("hub") or ""):
        found["datasets"] = [dataset]
    results = _results(run)
    if results:
        found["model-index"] = [
            {"name": f"{base['title']} unlearned with {method['title']}", "results": results}
        ]
    return found


def _results(run: Run) -> list[JsonObject]:
    after = run.scores().get("after", {})
    title = facts.data_title(run) or "a table of its maker's own"
    results = []
    for role, values in after.items():
        shown = [
            {"type": metric, "name": f"{name}, {role} rows, after unlearning", "value": value}
            for metric, name in RESULTS
            if isinstance(value := values.get(metric), int | float)
        ]
        if shown:
            data = {"name": f"{title}: {role}", "type": f"{run.config.data.get('name') or 'own'}-{role}"}
            results.append({"task": {"type": "text-generation"}, "dataset": data, "metrics": shown})
    return results


def _title(run: Run) -> str:
    base = facts.base(run)
    where = (
        f"[{plain(base['hub'])}](https://huggingface.co/{base['hub']})"
        if base["hub"]
        else plain(base["title"])
    )
    return (
        f"# {plain(base['title'])}, made to forget {plain(facts.described(run))}\n\n"
        f"{where} was made to forget with {plain(facts.method(run)['title'])} in {NAME} {__version__}. This card was "
        "written by that program out of the run's own numbers; the rows are described and not shown."
    )


def _verdict(run: Run) -> str:
    found = conclusion.of_run(run)
    if not found:
        return f"## Verdict\n\nThe run is {run.state}: it has no scores after unlearning."
    said = "\n".join(f"- {plain(found[part]['sentence'])}" for part in conclusion.PARTS)
    return f"## Verdict: {found['word']}\n\n{conclusion.MEANS[found['word']]}\n\n{said}"


def _use(kind: str, lines: str) -> str:
    return f"## How to load it\n\n```python\n{lines}\n```" if kind and lines else ""


def _forgotten(run: Run) -> str:
    told = facts.rows(run)
    described = plain(facts.described(run))
    counts = ", ".join(f"{n} {role}" for role, n in told["counts"].items())
    said = f"## What was to be forgotten\n\n{described[:1].upper()}{described[1:]}, hash `{told['hash']}`."
    return said + (f" Rows by role: {plain(counts)}." if counts else "")


def _scores(run: Run) -> str:
    rows = facts.scores(run)
    if not rows:
        return ""
    said = (
        "## Scores\n\nBefore: the model as it was. Retrained: a model trained from the start without the forget rows, "
        "where one exists. In brackets: 95 % interval over the rows.\n\n"
        + _table(rows, ("role", "score", "n", "before", "after", "retrained"))
    )
    if told := facts.by_format(run):
        said += "\n\nRight answers in each prompt format:\n\n" + _table(
            told, ("role", "format", "before", "after", "retrained")
        )
    return said


def _attack(run: Run) -> str:
    worst = facts.worst_attack(run)
    if not worst:
        return "## Worst attack\n\nNone was tried."
    left = (
        ""
        if worst["residue"] is None
        else f" Residue {worst['residue']:.2f}{_ends(worst['around'])} (0: like never known, 1: like the original)."
    )
    return (
        f"## Worst attack\n\n{plain(worst['title'])} (n {worst['n']}, seed {worst['seed']}): {plain(worst['finding'])}"
        f"{left} Tried: {plain(', '.join(worst['tried']))}."
    )


def _ends(around: Sequence[float] | None) -> str:
    return f", 95 % interval {around[0]:.2f} to {around[1]:.2f}" if around else ""


def _method(run: Run) -> str:
    told = facts.method(run)
    paper = f"[{plain(told['paper'])}]({told['url']})" if told["url"] else plain(told["paper"])
    settings = [
        {"setting": name.replace("_", " "), "value": value} for name, value in told["settings"].items()
    ]
    results = run.results()
    ran = {"model hash": facts.base(run)["hash"], "revision": facts.base(run)["revision"]}
    ran |= {name: results.get(name) for name in ("device", "dtype", "seconds", "tokens")}
    ran |= {f"{name} version": value for name, value in results.get("versions", {}).items()}
    settings += [{"setting": name, "value": value} for name, value in ran.items() if value not in (None, "")]
    again = f"\n\nThe command that repeats it:\n\n```bash\n{facts.command(run)}\n```"
    table = _table(settings, ("setting", "value"))
    return f"## Method and settings\n\n{plain(told['title'])}: {paper}.\n\n{table}{again}"


def _limits(run: Run) -> str:
    return "## Limits\n\n" + "\n".join(f"- {plain(one)}" for one in facts.not_shown(run))


def _citation(run: Run) -> str:
    told = facts.method(run)
    return (
        f"## Citation\n\nThe method: {plain(told['paper'])}{' <' + told['url'] + '>' if told['url'] else ''}. The "
        f"program: {NAME} {__version__}. The base model is by its own authors and under its own licence"
        + (
            f" ({plain(facts.base(run)['licence'])})."
            if facts.base(run)["licence"]
            else ", which is not known here."
        )
    )


def _table(rows: list[JsonObject], columns: tuple[str, ...]) -> str:
    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cells)} |"

    heads = [line([name.capitalize() for name in columns]), line(["---"] * len(columns))]
    return "\n".join([*heads, *(line(_cells(row, columns)) for row in rows)])


def _cells(row: JsonView, columns: tuple[str, ...]) -> list[str]:
    return [plain("" if row[name] is None else row[name]) for name in columns]


def plain(value: object) -> str:
    """Return a text on one line in which Markdown and HTML find nothing to read."""
    return MARKUP.sub(r"\\\1", " ".join(str(value).split()))
