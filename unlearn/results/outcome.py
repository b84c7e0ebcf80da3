"""Says what a finished run came to in a few large numbers and, where it went wrong, in one sentence above them.

Each number stands beside the retrained model's. What decides is unlearn.results.conclusion; this module only picks
what is said in large, and sorts runs by it. No torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from unlearn.metrics.language.collapse import LEGIBLE
from unlearn.results.compare import number, rounded
from unlearn.results.conclusion import MEANS, MEASURES, counted, of_run, percent
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

# The words of a verdict, the best first: what was attacked and held stands before what nobody attacked.
BEST_FIRST = (
    "erased",
    "not attacked",
    "undecided",
    "suppressed",
    "not forgotten",
    "collapsed",
    "nothing to forget",
)
# Up to this share of right answers a model is said to answer nothing.
NOTHING = 0.05
# A change of less than one point gets no colour.
NOISE = 0.01
NOT_ATTACKED = "not attacked yet"


@dataclass(frozen=True)
class Tile:
    """One large number: what it is, its value with the retrained model's, what it was before, and whether that is good.

    good is None where the change says nothing.
    """

    title: str
    value: str
    before: str
    good: bool | None
    help: str


def tiles(run: Run) -> list[Tile]:
    """Return the large numbers of a run that was scored after unlearning, else none."""
    found = of_run(run)
    if not found:
        return []
    made = [
        _share(run, "forget", "To forget, still answered", found["forgot"], falls_is_good=True),
        _share(run, "retain", "To keep, still answered", found["kept"], falls_is_good=False),
        _perplexity(run),
        _gone(run, found),
    ]
    return [tile for tile in made if tile]


def alarm(run: Run) -> str:
    """Return the sentence that stands above everything where a run is no success at all, else ""."""
    found = of_run(run)
    word = found.get("word", "")
    if word == "collapsed":
        shares = [found[part]["value"] for part in ("forgot", "kept")]
        if all(share is not None and share <= NOTHING for share in shares):
            return "It answers nothing any more; this is not unlearning."
        return "It was ruined: what it was to forget is gone, and so is much of the rest. This is not unlearning."
    return MEANS[word] if word == "nothing to forget" else ""


def ranked(runs: Sequence[Run]) -> list[tuple[Run, JsonObject]]:
    """Return the runs with their conclusions, the best verdict first. Runs without scores are left out.

    Among equal words comes first what keeps more and leaves less.
    """
    told = [(run, found) for run in runs if (found := of_run(run))]
    return sorted(told, key=lambda pair: (BEST_FIRST.index(pair[1]["word"]), -_lead(pair[1])))


def short(found: JsonView) -> str:
    """Return a conclusion in one line: "3 % left (retrained 3 %, n 90) · 97 % of the rest kept (n 40)"."""
    said = []
    for part, words in (("forgot", "left"), ("kept", "of the rest kept")):
        if (value := found[part]["value"]) is not None:
            truth, n = found[part]["retrained"], found[part]["n"]
            beside = f"retrained {percent(truth)}, n {n}" if truth is not None else f"n {n}"
            said.append(f"{percent(value)} {words} ({beside})")
    return " · ".join(said)


def _lead(found: JsonView) -> float:
    return (found["kept"]["value"] or 0.0) - (found["forgot"]["value"] or 0.0)


def _truth(part: JsonView) -> str:
    return f" (retrained {percent(part['retrained'])})" if part["retrained"] is not None else ""


def _share(run: Run, role: str, title: str, part: JsonView, *, falls_is_good: bool) -> Tile | None:
    if part["value"] is None:
        return None
    scores = run.scores()
    metric = next(name for name in MEASURES if name in scores["after"].get(role, {}))
    before = scores.get("before", {}).get(role, {}).get(metric)
    what, _ = MEASURES[metric]
    how = "word for word" if metric == "exact" else "as the most likely token"
    low, high = part["interval"]
    return Tile(
        title,
        percent(part["value"]) + _truth(part),
        "" if before is None else percent(number(before)),
        None if before is None else _is_good(number(before), part["value"], falls_is_good),
        f"Of the {what}, answered {how}. 95 % interval {percent(low)} to {percent(high)}, n = {part['n']}, "
        f"seed {run.config.seed}. Retrained: a model that never saw what is to be forgotten.",
    )


def _perplexity(run: Run) -> Tile | None:
    scores = run.scores()
    before, after, truth = (
        scores.get(when, {}).get("general", {}).get("ppl") for when in ("before", "after", "retrained")
    )
    if after is None:
        return None
    beside = f" (retrained {rounded(truth)})" if truth is not None else ""
    unsaid = before is not None and number(before) > LEGIBLE
    return Tile(
        "Perplexity of other text",
        rounded(after) + beside,
        "" if before is None else rounded(before),
        None if before is None or unsaid else _is_good(number(before), number(after), True),
        "Among how many tokens the model hesitates on text that has nothing to do with either; lower is better. "
        + "The model never said these texts, not before the run either, so a change is no loss. " * unsaid
        + f"n = {scores['after']['general'].get('n', '?')}, seed {run.config.seed}.",
    )


def _gone(run: Run, found: JsonView) -> Tile:
    part = found["gone"]
    if part["value"] is None:
        return Tile("Is it really gone?", NOT_ATTACKED, "", None, part["sentence"])
    # The words stand in the title, since a longer value is cut off in a tile.
    return Tile(counted(run).title, percent(part["value"]) + _truth(part), "", None, part["sentence"])


def _is_good(before: float, after: float, falls_is_good: bool) -> bool | None:
    if abs(after - before) <= NOISE * max(1.0, abs(before)):
        return None
    return (after < before) == falls_is_good
