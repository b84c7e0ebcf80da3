"""Concludes what a run did in three sentences, from its numbers: did it forget, did it keep the rest, is it gone?

One word says it in short. The rules, in this order, with the residue and its limits of unlearn.results.verdict:

    nothing to forget   the model answered under 4 % of three or more forget questions before the run, in every prompt
                        format, and the run gave it none (a step after a run that forgot may bring them back)
    collapsed           general text became more than twice as perplexing, or a number is not finite, or REP_3 > 0.5;
                        read of the rows to keep where general text is none that the model ever says
    not forgotten       asked as in the run, the residue is at least 0.25, and more than chance lies above the control;
                        or more than chance lies above the control and above the model before
    suppressed          asked in another prompt format it comes back by the same rule, or an attack finds it
    undecided           so few texts that neither of these can be said, and nothing was attacked
    not attacked        it forgot, and nobody has tried to bring it back
    erased, undecided   what the attacks say

The control is the retrained model, else texts that the model never saw, else, for a question, no right answer at all.
For a list of runs, marks() says the three parts in a word each, from what the store's index keeps of a run:

    forgot      forgot, not forgotten, nothing to forget, undecided: as the word above, attacks and ruin left aside
    kept        ruined: the word is collapsed, or would be; lost some: the 95 % interval of after - before on the rows
                to keep lies wholly below 0; kept
    survived    what the attacks say: survived (erased), found again (suppressed), undecided, not attacked

The worst attack is told whichever it is, for what one probe still reads is there (the worst of all settings is what a
sweep reports, too). Where the metrics' own test ranks that attack low, its rank is said beside.

An interval is of 95 %, over the texts. A difference that its interval does not tell from 0 is said to be not seen,
which is not the same as being equal. No torch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearn.compute.intervals import Interval, difference, interval, wilson
from unlearn.metrics.language.collapse import reasons, telling
from unlearn.results import residue, trust
from unlearn.results.compare import number, rounded
from unlearn.results.formats import ASKED
from unlearn.results.verdict import ANSWERS, APART, BACK, Counts, begun, counts, every
from unlearn.store import records
from unlearn.store.config import formats_of
from unlearn.store.index import Summary
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject, JsonView

# What each word means, in a sentence for somebody who reads nothing else.
MEANS = {
    "erased": "Nothing that was tried found more than in a model that never knew it.",
    "suppressed": "It no longer says it when it is asked as before, but something that was tried still finds it.",
    "not forgotten": "It still gives much of what it was to forget.",
    "collapsed": "The model is ruined: what it was to forget is gone, and so is much of the rest.",
    "nothing to forget": "The model did not know these rows before, so nothing was deleted.",
    "not attacked": "It no longer says it when it is asked, and nobody has tried to bring it back.",
    "undecided": "The numbers decide neither way: too few rows, no model that never knew them to compare with, or "
    "attacks that lie in between.",
}
PARTS = ("forgot", "kept", "gone")
# Under this share of right answers before the run there is nothing to forget; fewer questions than that do not tell.
KNOWN, FEW = 0.04, 3
# The first of these that was scored says whether a role is known: what is counted, and how it is said.
MEASURES = {
    "exact": ("questions", "answers"),
    "accuracy": ("tokens of its texts", "continues rightly"),
}
NO_REPEATS: Mapping[str, float | str] = {}
FORGET, KEEP = "was to forget", "was to keep"
MODELS = {"retrained": "the retrained model", "before": "the model before"}


# What marks() may say, and whether it is good: True, False, or None where it is neither.
MARKS: dict[str, bool | None] = {
    "forgot": True,
    "not forgotten": False,
    "nothing to forget": None,
    "kept": True,
    "lost some": None,
    "ruined": False,
    "survived": True,
    "found again": False,
    "not attacked": None,
    "undecided": None,
}
SURVIVED = {
    "erased": "survived",
    "suppressed": "found again",
    "not forgotten": "found again",
    "": "not attacked",
}


@dataclass(frozen=True)
class Share:
    """A share of right answers or tokens of one model, its 95 % interval, and the number of texts."""

    value: float
    around: Interval
    n: int

    def percent(self, of: str = "") -> str:
        """Return "3 %, 95 % interval 1 to 9 %", with what it is a share of behind the first number."""
        return f"{percent(self.value)}{of}, 95 % interval {_range(self.around)}"

    def against(self, other: "Share") -> Interval:
        """Return the 95 % interval of this share minus the other one."""
        return difference(self.value, self.around, other.value, other.around)


def of_run(run: Run) -> JsonObject:
    """Return {"word", "forgot", "kept", "gone"}, the last three as {"sentence", "value", "retrained", "interval",
    "n"}.

    It is empty where the run has no scores after unlearning.
    """
    known = _read(run)
    if not known.forget.get("after"):
        return {}
    return {"word": known.word(), "forgot": known.forgot(), "kept": known.kept(), "gone": known.gone()}


def headline(run: Run) -> str:
    """Return the outcome in one line: how many answers are left, what the retrained model gives, what is kept.

    It is empty where of_run() is.
    """
    known = _read(run)
    after, truth, before = (known.forget.get(when) for when in ("after", "retrained", "before"))
    if after is None:
        return ""
    exact = known.metric == "exact"
    left = _count(after) if exact else percent(after.value)
    said = [f"{left} answers left" if exact else f"{left} of the tokens to forget continued rightly"]
    if known.is_unknown() and before:
        knew = _count(before) if exact else percent(before.value)
        said = [f"there was nothing to forget: before the run it knew {knew}", *said]
    if truth:
        said.append(f"retrained {_right(truth) if exact else percent(truth.value)}")
    else:
        said.append("no retrained model to compare with")
    if "after" in known.retain:
        was = known.retain.get("before")
        went = f"{percent(was.value).removesuffix(' %')} → " if was else ""
        said.append(f"retain {went}{percent(known.retain['after'].value)}")
    if _lost(known.near):
        ends = [percent(known.near[when].value) for when in ("before", "after")]
        said.append(f"close to it {ends[0].removesuffix(' %')} → {ends[1]}")
    if known.ruin:
        said.append("the model is ruined")
    line = "; ".join(said) + "."
    return line[:1].upper() + line[1:]


def marks(summary: Summary) -> tuple[str, str, str] | None:
    """Return a word of MARKS for each part of the verdict, without opening a file of the run. It is None where the run
    has no scores after unlearning.
    """
    known = _known(
        summary.scores,
        summary.intervals,
        summary.by_format,
        formats_of(summary.prompt),
        ruined(summary.scores, summary.repeats),
        {},
        summary.attacked,
        goes_on=bool(summary.start),
    )
    if not known.forget.get("after"):
        return None
    return known.forgetting(), known.keeping(), SURVIVED.get(summary.attacked, "undecided")


def counted(run: Run) -> Counts:
    """Return what the number of the worst attack counts, which of_run() tells of."""
    attacks = records.read_attacks(run.path / "attacks.json")
    return next((counts(entry) for entry in every(attacks) if entry["says"]), ANSWERS)


def sentences(run: Run) -> list[str]:
    """Return the three sentences of the run, or none where it has no scores after unlearning."""
    found = of_run(run)
    return [found[part]["sentence"] for part in PARTS] if found else []


@dataclass(frozen=True)
class _Known:
    """What a run's files say of its forget and retain rows, {when: share}; forget also in each prompt format."""

    metric: str
    forget: Mapping[str, Share]
    retain_metric: str
    retain: Mapping[str, Share]
    # The rows to keep that lie closest to those to forget.
    near: Mapping[str, Share]
    formats: Mapping[str, Mapping[str, Share]]
    own: Sequence[str]
    unseen: Share | None
    ruin: Sequence[str]
    attacks: JsonView
    # What the attacks say together; empty where none was carried out.
    attacked: str
    # Whether the model before is what another run made, and not one that anybody started with.
    goes_on: bool

    def control(self, shares: Mapping[str, Share]) -> Share | None:
        """What a model that never knew would give: retrained, else on texts never seen, else no right answer."""
        if found := shares.get("retrained"):
            return found
        if shares is self.forget and self.unseen:
            return self.unseen
        asked = self.metric == "exact" or shares is not self.forget
        return Share(0.0, (0.0, 0.0), shares["after"].n) if asked else None

    def left(self, shares: Mapping[str, Share]) -> float | None:
        """The residue; None without a control, or where the model before knew hardly more than that."""
        control = self.control(shares)
        if control is None or "before" not in shares:
            return None
        apart = shares["before"].value - control.value
        return (shares["after"].value - control.value) / apart if apart >= APART else None

    def comes_back(self, shares: Mapping[str, Share]) -> bool:
        """Whether it is still known: a large residue that chance alone does not explain."""
        left, control = self.left(shares), self.control(shares)
        if left is None or control is None:
            return False
        return left >= BACK and shares["after"].against(control)[0] > 0

    def is_unknown(self) -> bool:
        """Whether the model before the run knew nothing of what it was to forget, however it was asked, nor after."""
        if self.goes_on or self.brought_up():
            return False
        before = [shares["before"] for shares in (self.forget, *self.formats.values()) if "before" in shares]
        if self.metric == "exact":
            enough = any(share.n >= FEW for share in before)
            return enough and all(share.value < KNOWN for share in before)
        return self.unseen is not None and "before" in self.forget and self.left(self.forget) is None

    def brought_up(self) -> bool:
        """Whether surely more is known after the run than before it, and than a model that never knew gives."""
        control = self.control(self.forget)
        if control is None or "before" not in self.forget:
            return False
        after = self.forget["after"]
        return after.against(self.forget["before"])[0] > 0 and after.against(control)[0] > 0

    def asked(self) -> list[Mapping[str, Share]]:
        """The forget rows as the run asks them, in each of its prompt formats."""
        return [self.forget, *(self.formats[name] for name in self.own if name in self.formats)]

    def forgetting(self) -> str:
        """Whether it forgot, attacks and ruin left aside: a word of MARKS."""
        if self.is_unknown():
            return "nothing to forget"
        if any(map(self.comes_back, self.asked())) or self.brought_up() or self._as_before():
            return "not forgotten"
        left = self.left(self.forget)
        return "undecided" if left is None or left >= BACK else "forgot"

    def keeping(self) -> str:
        """Whether the rest was kept: a word of MARKS."""
        if self.ruin:
            return "ruined"
        if not {"before", "after"} <= self.retain.keys():
            return "undecided"
        return "lost some" if _lost(self.retain) or _lost(self.near) else "kept"

    def word(self) -> str:
        own, said = self.asked(), self.attacked
        others = [shares for name, shares in self.formats.items() if name not in self.own]
        if self.is_unknown():
            return "nothing to forget"
        if self.ruin:
            return "collapsed"
        if any(map(self.comes_back, own)) or said == "not forgotten":
            return "not forgotten"
        if self.brought_up() or self._as_before():
            return "not forgotten"
        if any(map(self.comes_back, others)):
            # What the run's own format never held was not made to be forgotten by it.
            return "suppressed" if any(self.left(shares) is not None for shares in own) else "not forgotten"
        if said:
            return said if said in MEANS else "undecided"
        left = self.left(self.forget)
        return "undecided" if left is None or left >= BACK else "not attacked"

    def _as_before(self) -> bool:
        """Whether nothing fell, where no control says what not knowing would look like."""
        if self.control(self.forget) or "before" not in self.forget:
            return False
        return self.forget["after"].against(self.forget["before"])[1] >= 0

    def forgot(self) -> JsonObject:
        said = _role(FORGET, self.metric, self.forget)
        others = {
            name: shares
            for name, shares in self.formats.items()
            if name not in self.own and "after" in shares and self.comes_back(shares)
        }
        for name, shares in others.items():
            said += f" Asked {ASKED.get(name, name)} it still gives {_count(shares['after'])} of them."
        if self.is_unknown():
            said = f"There was nothing to forget: {said[:1].lower()}{said[1:]}"
        if self.goes_on and "before" in self.forget and not self.brought_up():
            said += " Before is the model that another run had made already; that run's own verdict tells what went."
        if self.brought_up():
            said += " The run brought answers up that the model before it did not give."
        return _part(said, self.forget)

    def kept(self) -> JsonObject:
        said = "No rows to keep were scored."
        if "after" in self.retain:
            said = _role(KEEP, self.retain_metric, self.retain)
        if _lost(self.near):
            truth = self.near.get("retrained")
            said += f" Of what lies close to the forgotten it keeps {percent(self.near['after'].value)}"
            said += f" (n {self.near['after'].n}); before {percent(self.near['before'].value)}"
            said += f", a retrained model {percent(truth.value)}." if truth else "."
        if self.ruin:
            said += f" The model is ruined: {'; '.join(self.ruin)}."
        return _part(said, self.retain)

    def gone(self) -> JsonObject:
        done = every(self.attacks)
        found = [entry for entry in done if entry["says"]]
        if not found:
            said = "It was not attacked, so nobody knows whether the answers are erased or only suppressed."
            return {"sentence": said, "value": None, "retrained": None, "interval": None, "n": 0}
        worst = found[0]
        values = worst["values"]["after"]
        share = Share(worst["after"], interval([number(v) for v in values]), worst["n"])
        many = "The one attack that was tried" if len(done) == 1 else f"Of {len(done)} attacks the worst"
        if len(done) > len(found):
            told_by = f"{len(found)} of which can tell" if len(found) > 1 else "one of which can tell"
            many = f"Of {len(done)} attacks, {told_by}, the worst"
        what = counts(worst)
        said = f"{many}, {begun(worst['title'])}, {what.does} {share.percent(what.of)} (n {share.n})"
        control = worst["retrained"] if worst["retrained"] is not None else worst["never_seen"]
        whom = "a retrained model" if worst["retrained"] is not None else "questions that it never saw"
        # What an attack measures from is the model before the run, which another run may have made.
        first = "the model before" if self.goes_on else "the original"
        said += f"; {first} {percent(worst['before'])}"
        said += f", {whom} {percent(control)}" if control is not None else ", and there is no control"
        if worst["residue"] is not None:
            ends = residue.of_entry(worst)
            told = f" ({_range(ends)})" if ends else ""
            said += f": {percent(worst['residue'])}{told} of the way back to {first}"
        said += "."
        if low := trust.low_rank(worst["name"]):
            said += f" {low}"
        said += " No attack can prove that nothing is left."
        truth = worst["retrained"]
        return {
            "sentence": said,
            "value": share.value,
            "retrained": truth,
            "interval": list(share.around),
            "n": share.n,
        }


def _read(run: Run) -> _Known:
    attacks = records.read_attacks(run.path / "attacks.json")
    return _known(
        run.scores(),
        run.intervals(),
        run.by_format(),
        formats_of(run.config.prompt),
        ruin(run),
        attacks,
        records.attacked(attacks),
        goes_on=bool(run.config.start),
    )


def _known(
    scores: Mapping[str, Mapping[str, JsonView]],
    around: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    told: Mapping[str, Mapping[str, JsonView]],
    own: Sequence[str],
    ruined: Sequence[str],
    attacks: JsonView,
    attacked: str,
    *,
    goes_on: bool,
) -> _Known:
    def shares(role: str) -> tuple[str, dict[str, Share]]:
        for metric in MEASURES:
            found = {
                when: _share(roles.get(role, {}), around.get(when, {}).get(role, {}), metric)
                for when, roles in scores.items()
            }
            if kept := {when: share for when, share in found.items() if share}:
                return metric, kept
        return next(iter(MEASURES)), {}

    metric, forget = shares("forget")
    retain_metric, retain = shares("retain")
    _, near = shares("neighbours")
    before = scores.get("before", {}).get("approximate", {})
    names = dict.fromkeys(name for roles in told.values() for name in roles.get("forget", {}))
    formats = {
        name: {
            when: Share(
                number(found["right"]),
                (number(found["interval"][0]), number(found["interval"][1])),
                found["n"],
            )
            for when, roles in told.items()
            if (found := roles.get("forget", {}).get(name))
        }
        for name in names
    }
    return _Known(
        metric=metric,
        forget=forget,
        retain_metric=retain_metric,
        retain=retain,
        near=near,
        formats={name: found for name, found in formats.items() if "after" in found},
        own=own,
        unseen=_share(before, around.get("before", {}).get("approximate", {}), metric),
        ruin=ruined,
        attacks=attacks,
        attacked=attacked,
        goes_on=goes_on,
    )


def ruin(run: Run) -> tuple[str, ...]:
    """Return why the model after the run counts as collapsed, in words. The result is empty where it does not."""
    return ruined(run.scores(), records.repeats(run.path / "metrics.json"))


def ruined(
    scores: Mapping[str, Mapping[str, JsonView]], repeats: Mapping[str, float | str] = NO_REPEATS
) -> tuple[str, ...]:
    """Return why a model with these scores counts as collapsed, as ruin() does.

    scores: as in Run.scores(). repeats: {role: REP_3 after the run} where it was computed.
    """
    before, after = (scores.get(when, {}) for when in ("before", "after"))
    role = telling({role: number(before.get(role, {}).get("ppl")) for role in after if "ppl" in after[role]})
    if not role:
        return ()
    now, was = (number(scores.get(when, {}).get(role, {}).get("ppl")) for when in ("after", "before"))
    return reasons(number(repeats[role]) if role in repeats else None, now, was, role)


def _lost(shares: Mapping[str, Share]) -> bool:
    """Whether fewer are right after the run than before, beyond chance."""
    return {"before", "after"} <= shares.keys() and shares["after"].against(shares["before"])[1] < 0


def _share(values: JsonView, around: Mapping[str, Sequence[float]], metric: str) -> Share | None:
    if values.get(metric) is None or not math.isfinite(value := number(values[metric])):
        return None
    n = int(values.get("n", 0))
    # Runs of older versions have no intervals. A share of tokens is then taken for one of texts, which is wider.
    low, high = map(number, around[metric]) if metric in around else wilson(value * n, n) if n else (0.0, 1.0)
    return Share(value, (low, high), n)


def _role(purpose: str, metric: str, shares: Mapping[str, Share]) -> str:
    """Return "Of 90 questions that it was to forget it answers 3 (3 %, …); before 88 (98 %), retrained 3 (3 %): …"."""
    after = shares["after"]
    what, does = MEASURES[metric]
    if metric == "exact":
        what = what.removesuffix("s") if after.n == 1 else what
        said = f"Of {after.n} {what} that it {purpose} it {does} {_right(after)} ({after.percent()})"
        before, truth = (
            f"{_right(s)} ({percent(s.value)})" if (s := shares.get(w)) else ""
            for w in ("before", "retrained")
        )
    else:
        said = f"Of the {what} that it {purpose} it {does} {after.percent()} (n {after.n} texts)"
        before, truth = (percent(s.value) if (s := shares.get(w)) else "" for w in ("before", "retrained"))
    beside = [f"before {before}" if before else "", f"a retrained model {truth}" if truth else ""]
    said += "".join(f"{mark}{words}" for mark, words in zip(("; ", ", "), filter(None, beside), strict=False))
    name = "retrained" if purpose == FORGET and truth else "before"
    other = shares.get(name)
    return said + (f"; {_compared(after, other, MODELS[name])}." if other else ".")


def _compared(share: Share, other: Share, name: str) -> str:
    low, high = share.against(other)
    if low <= 0 <= high:
        return f"no difference from {name} was seen ({_points(low)} to {_points(high)} points)"
    more = "more" if low > 0 else "fewer"
    return f"{_points(min(abs(low), abs(high)))} to {_points(max(abs(low), abs(high)))} points {more} than {name}"


def _part(sentence: str, shares: Mapping[str, Share]) -> JsonObject:
    after, truth = shares.get("after"), shares.get("retrained")
    return {
        "sentence": sentence,
        "value": after.value if after else None,
        "retrained": truth.value if truth else None,
        "interval": list(after.around) if after else None,
        "n": after.n if after else 0,
    }


def _right(share: Share) -> str:
    return str(round(share.value * share.n))


def _count(share: Share) -> str:
    return f"{_right(share)} of {share.n}"


def percent(value: float) -> str:
    """Return a share as "12 %", with a digit more below 10 % where it is no whole number."""
    text = f"{100 * value:.0f}" if value >= 0.095 or round(100 * value, 1) == round(100 * value) else ""
    return f"{text or rounded(round(100 * value, 1))} %"


def _range(around: Interval) -> str:
    return f"{percent(around[0]).removesuffix(' %')} to {percent(around[1])}"


def _points(value: float) -> str:
    return rounded(round(100 * value))
