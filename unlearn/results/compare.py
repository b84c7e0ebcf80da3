"""Computes what pages and reports show of runs side by side: differences, verdicts and changes.

Pages and reports share these functions, so that a verdict on the screen and one in a report cannot
disagree. No torch, no streamlit: a recorded run can be read anywhere.
"""

import difflib
import itertools
import math
import re
from collections.abc import Mapping, Sequence

from unlearn.data.base import asked
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

# The letters of the runs that stand side by side, in their order.
LETTERS = "abcdefgh"
# Of these the letters of those that a page shows: more columns cannot be read.
SIDES = LETTERS[:4]
# What runs side by side mostly have in common: the number of texts, and the scores of two models.
COMMON = ("n", "before", "retrained")
VERDICTS = ("forgotten", "not forgotten", "over-forgotten", "never known")
# Limits in nats a token: above FAR too much is forgotten, from FELL on a plain text counts as forgotten.
FAR, FELL = 2.0, 1.0
# The metrics of an evaluation: title, definition, and which way is better on rows to keep.
METRICS = {
    "exact": ("Exact answers", "share of rows whose greedy answer is the right one", "higher"),
    "rougeL": ("ROUGE-L", "overlap of the greedy answer with the right one, 0 to 1", "higher"),
    "accuracy": ("Token accuracy", "share of answer tokens that are the most likely one", "higher"),
    "nll": ("NLL", "mean negative log-prob of an answer token, nats", "lower"),
    "ppl": ("Perplexity", "exp of the NLL: among how many tokens the model hesitates", "lower"),
    "probability": ("Answer probability", "exp(-S/n) of the right answer, mean over questions", "higher"),
    "memorised": ("Exact memorisation", "share of texts whose every token is the most likely one", "higher"),
    "extraction": (
        "Extraction strength",
        "share of a text that need not be given before greedy decoding ends it rightly",
        "higher",
    ),
}
Record = JsonView


# A number as a run writes it: one that JSON has no word for by its name, None where there is none.
Written = float | str | None


def number(value: Written) -> float:
    """Return a number that a run wrote as a float.

    The names "nan", "inf" and "-inf" are read as numbers, and a missing value becomes nan.
    """
    return math.nan if value is None else float(value)


def rounded(value: Written, sign: bool = False) -> str:
    """Write a number with at most three significant digits and a real minus sign.

    Examples: 0.01234 → 0.0123, -1234 → −1230.
    """
    x = number(value)
    if not math.isfinite(x):
        return "not a number" if math.isnan(x) else ("∞" if x > 0 else "−∞")
    text = f"{x:.3g}"
    if "e+" in text and abs(x) < 1e6:
        text = f"{float(text):.0f}"
    text = "0" if text == "-0" else text
    return ("+" if sign and x > 0 else "") + text.replace("-", "−")


def nats(value: Written, sign: bool = False) -> str:
    """Write a log-prob, or a difference of two, with three digits and no more than two decimals.

    What these decimals do not show has no sign: −0.000874 → 0.00.
    """
    x = number(value)
    if not math.isfinite(x) or abs(x) >= 10:
        return rounded(x, sign)
    if abs(x) < 0.005:
        return "0.00"
    return (f"{x:+.2f}" if sign else f"{x:.2f}").replace("-", "−")


def whole(value: Written, sign: bool = False) -> str:
    """Write a number without decimals and with a real minus sign. What rounds to 0 has no sign."""
    x = number(value)
    if not math.isfinite(x):
        return rounded(x, sign)
    return (f"{x:+.0f}" if sign and round(x) else f"{round(x)}").replace("-", "−")


def word_diff(before: str, after: str) -> list[tuple[str, str]]:
    """Return the words of `after` marked "same" or "new", and the words of `before` that they replace marked
    "gone".

    Joining "same" and "new" gives `after`; joining "same" and "gone" gives `before`, save for blanks
    beside a change. Words and punctuation are compared, never letters: half a word is not a change.
    """
    old, new = (re.findall(r"\s*(?:\w+|[^\w\s])", text) for text in (before, after))
    parts: list[tuple[str, str]] = []
    for op, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if op == "equal":
            parts.append(("".join(new[k:m]), "same"))
            continue
        changed = (("".join(old[i:j]), "gone"), ("".join(new[k:m]), "new"))
        parts += [(text, kind) for text, kind in changed if text]
    return parts


def repetition(text: str) -> float:
    """Return the share of a text's word trigrams that occurred earlier in it (REP_3).

    It is 0 under three words.
    """
    words = text.split()
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0


def verdict(before: Record | None, after: Record | None, retrained: Record | None = None) -> str:
    """Return what happened to one row, as one of VERDICTS. It is "" where a sample is missing.

    The verdict is decided in this order:

    over-forgotten   the text after is empty or repeats itself (REP_3 > 0.5) and the text before did not,
                     or the answer is FAR (2 nats a token) less likely than after retraining without it
    never known      the text before was not the answer (for plain text: not judged, it is always known)
    forgotten        the text before was the answer and the text after is not. For plain text, which has
                     no answer: the mean log-prob a token fell by at least FELL (1 nat)
    not forgotten    the rest
    """
    if not before or not after:
        return ""
    if _broken(after["text"]) and not _broken(before["text"]):
        return "over-forgotten"
    if retrained and number(after["nll"]) - number(retrained["nll"]) > FAR:
        return "over-forgotten"
    if before.get("exact") is None:
        return "forgotten" if fall(before, after) >= FELL else "not forgotten"
    if not before["exact"]:
        return "never known"
    return "not forgotten" if after["exact"] else "forgotten"


def question_of(record: Record) -> str:
    """The question that a sample or a probe was asked, of a plain text its first words.

    A record of before questions were kept was asked in the plain format.
    """
    if (question := record.get("question")) is None:
        return asked(record["prompt"])
    return str(question or record["prompt"])


def fall(before: Record | None, after: Record | None) -> float:
    """Return by how many nats a token the right answer became less likely.

    It is nan where a sample is missing.
    """
    return number(after["nll"]) - number(before["nll"]) if before and after else math.nan


def pair_samples(runs: Sequence[Run]) -> list[JsonObject]:
    """Return the rows of runs side by side, joined by (role, index).

    A row: role, index, question, prompt, answer; before (A's), retrained (of the first run that has one), and for each
    letter of sides(): a, before_a, verdict_a. Samples are records or None. A row of a further run counts only where its
    prompt and answer are A's: runs on different data share no rows. There is always a B, where need be of nothing.
    """
    keyed = [{(s["role"], s["index"], s["when"]): s for s in run.samples()} for run in runs]
    rows = []
    for role, index in dict.fromkeys((role, index) for role, index, _ in (keyed or [{}])[0]):
        found = [_whens(samples, role, index) for samples in [*keyed, {}][: max(2, len(keyed))]]
        first = found[0].get("before") or next(iter(found[0].values()))
        same = ("prompt", "answer")
        found = [{when: s for when, s in one.items() if all(s[k] == first[k] for k in same)} for one in found]
        row = {"role": role, "index": index, "question": question_of(first)}
        row |= {"prompt": first["prompt"], "answer": first["answer"], "before": found[0].get("before")}
        row["retrained"] = next((one["retrained"] for one in found if "retrained" in one), None)
        for letter, one in zip(LETTERS, found, strict=False):
            before, after = one.get("before"), one.get("after")
            row |= {letter: after, f"before_{letter}": before}
            row[f"verdict_{letter}"] = verdict(before, after, row["retrained"])
        rows.append(row)
    return rows


def sides(row: Record) -> list[str]:
    """Return the letters of the runs that stand side by side in a row of pair_samples()."""
    return [letter for letter in LETTERS if f"verdict_{letter}" in row]


def described(metric: str) -> tuple[str, str, str]:
    """Return (title, definition, which way is better) of a metric.

    Of a metric that is not in METRICS only its name is known.
    """
    return METRICS.get(metric) or (metric.replace("_", " "), "", "")


def score_table(runs: Sequence[Run]) -> list[JsonObject]:
    """Return the scores of all roles and metrics: {"role", "metric", "n", "before", "a", "delta_a", "b",
    "delta_b", …, "retrained", "around_a", …}.

    Deltas are after minus the same run's before; a number that a run lacks is nan. around: the 95 % interval of the
    score after, over its texts; None where the run kept none. n, before and retrained are those of all runs. Where runs
    have other rows, starts or retrains, each has its own in every row of the table (n_a, before_b, retrained_b, …), and
    none are in common where one of the three differs.
    """
    scores, ends = [run.scores() for run in runs], [run.intervals() for run in runs]
    roles = dict.fromkeys(role for one in scores for when in one.values() for role in when)
    values = [role for one in scores for when in one.values() for role in when.values()]
    metrics = dict.fromkeys([*METRICS, *(name for value in values for name in value if name != "n")])
    rows = []
    for role, metric in itertools.product(roles, metrics):
        found = [{when: values.get(role, {}).get(metric) for when, values in one.items()} for one in scores]
        if all(value is None for one in found for value in one.values()):
            continue
        row: JsonObject = {"role": role, "metric": metric}
        known = [any(value is not None for value in one.values()) for one in found]
        counts = [run.counted(role, metric) if has else None for run, has in zip(runs, known, strict=True)]
        row |= dict.fromkeys(COMMON) | _own("n", counts)
        for when in ("before", "retrained"):
            row |= _own(when, [None if one.get(when) is None else number(one[when]) for one in found])
        for side, one, around in zip(LETTERS, found, ends, strict=False):
            row[side] = number(one.get("after"))
            row[f"around_{side}"] = around.get("after", {}).get(role, {}).get(metric)
            row[f"delta_{side}"] = number(one.get("after")) - number(one.get("before"))
        rows.append(row)
    apart = any(map(_differ, rows))
    return [_in_order(row, apart) for row in rows]


def _own(name: str, values: Sequence[Written]) -> JsonObject:
    """The value of each run beside its letter."""
    return {f"{name}_{letter}": value for letter, value in zip(LETTERS, values, strict=False)}


def _owned(row: JsonView, name: str) -> list[float]:
    return [value for letter in LETTERS if (value := row.get(f"{name}_{letter}")) is not None]


def _differ(row: JsonView) -> bool:
    """Whether runs that have one of COMMON have different ones; sums in another order are no difference."""
    return any(
        not math.isclose(value, known[0], rel_tol=1e-4, abs_tol=1e-6) and not math.isnan(value + known[0])
        for name in COMMON
        if (known := _owned(row, name))
        for value in known[1:]
    )


def _in_order(row: JsonObject, apart: bool) -> JsonObject:
    """The row with its columns in their order. apart: with each run's own of COMMON."""
    own = {f"{name}_{letter}" for name in COMMON for letter in LETTERS} & set(row)
    differ = _differ(row)
    common = {name: None if differ else next(iter(_owned(row, name)), None) for name in COMMON}
    shown = {key: value for key, value in row.items() if key not in own} | common
    shown |= {key: row[key] for key in own if apart}
    # A missing score is nan, as every score of the table; a missing count is None.
    shown = {
        key: math.nan if value is None and key.startswith(COMMON[1:]) else value
        for key, value in shown.items()
    }
    order = [key for key in row if key in shown and key != "retrained"]
    return {key: shown[key] for key in (*order, "retrained")}


def config_table(runs: Sequence[Run], only_differences: bool = False) -> list[dict[str, str]]:
    """Return the settings of the runs and what they ran on, one row a setting: {"setting", "a", "b"?, …}.

    only_differences keeps the rows that differ.
    """
    columns = [_settings(run) for run in runs]
    rows = []
    for setting in dict.fromkeys(key for column in columns for key in column):
        values = [column.get(setting, "–") for column in columns]
        if not only_differences or len(set(values)) > 1:
            rows.append({"setting": setting} | dict(zip(LETTERS, values, strict=False)))
    return rows


def token_shift(before: Sequence[Record], after: Sequence[Record]) -> list[JsonObject]:
    """Return the change of each answer token: {"token", "logit", "lp": after - before; "before", "after":
    rank, 1 = top}.

    A logit depends on a constant that the softmax takes away; a log-prob does not. Both are shown because
    some methods push a logit down directly.
    """
    rows = []
    for old, new in zip(before, after, strict=False):
        row = {name: number(new[name]) - number(old[name]) for name in ("logit", "lp")}
        rows.append({"token": old["token"], **row, "before": old["rank"] + 1, "after": new["rank"] + 1})
    return rows


def probe_references(run: Run) -> dict[str, dict[str, float]]:
    """Return the retrained model's mean log-prob a token on the probes: {role: {"retrained": mean}}.

    A role is left out where one of its probes has no such sample. For the forget role it is where a run should stop;
    without a retrained model that is {"never seen": mean}, the start's on rows that it never saw.
    """
    samples = {(s["role"], s["index"]): s for s in run.samples() if s["when"] == "retrained"}
    probes = run.probes()
    values: dict[str, list[float]] = {}
    for item in probes[0]["items"] if probes else []:
        sample = samples.get((item["role"], item["index"]))
        values.setdefault(item["role"], []).append(-number(sample["nll"]) if sample else math.nan)
    means = {role: sum(column) / len(column) for role, column in values.items()}
    found = {role: {"retrained": mean} for role, mean in means.items() if math.isfinite(mean)}
    unseen = [-number(s["nll"]) for s in run.samples() if (s["when"], s["role"]) == ("before", "approximate")]
    if "forget" in values and "forget" not in found and unseen:
        found["forget"] = {"never seen": sum(unseen) / len(unseen)}
    return found


def tradeoff_points(chosen: Sequence[Run], others: Sequence[Run], metric: str) -> list[JsonObject]:
    """Return the marks for figures.tradeoff: original and retrained (of A), A, B and so on, and other runs on
    A's data and model.
    """
    points: list[JsonObject] = []
    first = chosen[0].results()
    for letter, run in zip(SIDES.upper(), chosen, strict=False):
        scores, seconds = run.scores(), run.results().get("seconds")
        for when, kind, label in (("before", "before", "Original"), ("after", letter, f"Run {letter}")):
            if pair := _pair(scores.get(when, {}), metric):
                taken = kind == "before" and any(point["kind"] == "before" for point in points)
                own = {"seconds": seconds} if when == "after" else {}
                points += [] if taken else [{"label": label, "kind": kind, **pair, **own}]
        known = any(point["kind"] == "retrained" for point in points)
        if (pair := _pair(scores.get("retrained", {}), metric)) and not known:
            points.append({"label": "Retrained without it", "kind": "retrained", **pair})
    same = ("data_hash", "model_hash")
    for run in others:
        told = run.summary()
        if run in chosen or not first or any(getattr(told, key) != first.get(key) for key in same):
            continue
        if pair := _pair(told.scores.get("after", {}), metric):
            label = told.title or f"{told.method_title or told.method}, {run.id}"
            points.append({"label": label, "kind": "other", **pair, "seconds": told.seconds})
    return points


def truth_words(run: Run) -> str:
    """Return whose retrained model the run is compared with, or "" where it is not a person's own."""
    given = run.config.retrained
    return f"The retrained model was given by you: {given}." if given else ""


def _pair(scores: Mapping[str, Record], metric: str) -> dict[str, float]:
    values = {role: scores.get(role, {}).get(metric) for role in ("forget", "retain")}
    return {} if None in values.values() else {role: number(value) for role, value in values.items()}


def _broken(text: str) -> bool:
    return not text.strip() or repetition(text) > 0.5


def _whens(samples: Mapping[tuple, Record], role: str, index: int) -> dict[str, Record]:
    whens = ("before", "after", "retrained")
    return {when: samples[role, index, when] for when in whens if (role, index, when) in samples}


def _settings(run: Run) -> dict[str, str]:
    config, results = run.config.to_json(), run.results()
    flat: dict[str, str] = {}
    for name, value in config.items():
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        flat |= {f"{name}: {key}".removesuffix(": "): _plain(item) for key, item in inner}
    ran = ("seconds", "device", "dtype", "threads", "products", "trainable", "model_hash", "data_hash")
    flat |= {name.replace("_", " "): _plain(results[name]) for name in ran if name in results}
    flat |= {f"version: {key}": str(value) for key, value in results.get("versions", {}).items()}
    return {name: value for name, value in flat.items() if value not in ("", "None")}


def _plain(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return rounded(value) if isinstance(value, float) else str(value)
