"""Follows a run's stop rule: reads the model every few steps, ends the training, and brings back the best step's
weights.

The rule is in unlearn.store.stop_rule and the reading in unlearn.measure.watch; here they meet the run, whose events
say what was read and what ended it. A run that was killed goes on to the same end: what was read before its checkpoint
is in its events, and the checkpoint holds the best step's weights.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from unlearn.compute.lazy import torch
from unlearn.data.base import Row
from unlearn.measure.probes import spread
from unlearn.measure.watch import Plan, Watched, plan, probability
from unlearn.metrics.language.collapse import LEGIBLE
from unlearn.metrics.memory.perplexity import exp_mean
from unlearn.store.config import RunConfig
from unlearn.store.stop_rule import BUDGETS, ROWS, SOURCES, Course, Reading, StopRule
from unlearn.training.budget import Clock
from unlearn.training.checkpoints import load_aside
from unlearn.training.encoding import encode_rows
from unlearn.training.loop import Step, Stream
from unlearn.work.checks import waits_for_retrained
from unlearn.work.phases import Work
from unlearn.work.session import Session

# Steps whose size is counted to say what a step of the run costs.
COUNTED = 4


class Stopper:
    """Follows the stop rule of one run while it trains, and does nothing where the run has none.

    Make it before the first step and before a checkpoint is loaded, since budgets compare with the model as it is then.
    """

    def __init__(self, work: Work, session: Session, chosen: Mapping[str, Sequence[Row]]) -> None:
        self.work, self.session, self.rule = work, session, work.config.stop_rule()
        self.of = session.steps
        self.last: Reading | None = None
        self.course = Course(self.rule)
        if not self.rule.on:
            return
        self.plan = plan_of(work.config, session, chosen)
        self.watched = Watched(session.loaded, self.rule, chosen, work.length, self.plan.rows)
        target, source = self._target(chosen)
        self.course = Course(self.rule, target, source)
        # The start is inside every budget, and what a run falls back on.
        unspent = {name: BUDGETS[name].start for name in self.rule.limits}
        first = Reading(0, probability(self.watched.start["forget"]), unspent)
        self.course = self.course.after(first)
        self._keep(first)
        if not work.run.events("watch"):
            work.run.append("watch", **self.course.event(first))
            work.note(self._about())

    def resume(self, folder: Path) -> None:
        """Go on from a checkpoint that the session has loaded: with the readings up to it and the best weights."""
        if not self.rule.on:
            return
        for event in self.work.run.events("watch"):
            if event["step"]:
                self.course = self.course.again(event)
        if self.course.best:
            self.session.aside = load_aside(folder)

    def follow(self, done: Step, clock: Clock) -> bool:
        """Read the model after a step where it is due. Return whether the run ends here."""
        self.of = done.of
        if not self.rule.on or done.step % self.plan.every or not self.session.settled:
            return False
        reading = self._read(done.step, clock)
        return bool(self.course.why(reading))

    def finish(self, step: int, clock: Clock) -> None:
        """Say what ended the training after this step. The last step is read too, wherever it lies."""
        if not self.rule.on:
            return
        if self.last is None or self.last.step != step:
            self._read(step, clock)
        assert self.last is not None
        end = self.course.end(self.last, self.of)
        self.work.run.append("end", **end)
        self.work.ended = end

    def restore(self) -> str:
        """Put the best step's weights in place of the last one's, where the run keeps the best. Return which step's
        weights these are, in a sentence, or "".
        """
        if self.rule.keep != "best" or not self.session.aside:
            return ""
        moving = dict(self.session.model.named_parameters())
        with torch.no_grad():
            for name, value in self.session.aside.items():
                moving[name].copy_(value)
        return f"The weights of step {self.course.best} were kept, the best step so far."

    def _read(self, step: int, clock: Clock) -> Reading:
        with clock.beside("stop rule"):
            self.last = reading = self.watched.read(step)
            self.course = self.course.after(reading)
            self._keep(reading)
        self.work.run.append("watch", **self.course.event(reading))
        return reading

    def _keep(self, reading: Reading) -> None:
        """Hold a copy of the weights of the best step, for a checkpoint and for the end."""
        if self.rule.keep != "best" or self.course.best != reading.step:
            return
        moving = ((n, p) for n, p in self.session.model.named_parameters() if p.requires_grad)
        self.session.aside = {name: parameter.detach().to("cpu", copy=True) for name, parameter in moving}

    def _target(self, chosen: Mapping[str, Sequence[Row]]) -> tuple[float | None, str]:
        if not self.rule.needs_target:
            return None, ""
        if self.rule.given is not None:
            return self.rule.given, "given"
        if waits_for_retrained(self.work.config):
            places = {place for place, _ in spread(chosen["forget"], self.plan.rows)}
            known = [s for s in self.work.run.samples() if (s["when"], s["role"]) == ("retrained", "forget")]
            return probability([float(s["nll"]) for s in known if s["index"] in places]), "retrained"
        return self.watched.other(chosen["approximate"]), "approximate"

    def _about(self) -> str:
        texts = self.watched.texts
        roles = " and ".join(f"{sum(len(one.keys) for one in texts[role])} {role}" for role in texts)
        steps = "each step" if self.plan.every == 1 else f"every {self.plan.every} steps"
        aim = ""
        if self.course.target is not None:
            aim = f" The target is {self.course.target:.3g}, {SOURCES[self.course.source]}."
        return (
            f"Stop rule: {roles} texts are read after {steps}, which costs about {self.plan.share:.0%} of the training."
            + aim
            + unsaid(self.rule, self.watched.start)
        )


def unsaid(rule: StopRule, start: Mapping[str, Sequence[float]]) -> str:
    """Return what the run tells of a budget whose general texts the model never says. It is empty where it says them.

    start: {role: the mean NLL of each of its texts before the first step}.
    """
    if "general-ppl" not in rule.limits or not (before := exp_mean(start["general"])) > LEGIBLE:
        return ""
    return (
        f" The model never says the general texts in this form (perplexity {before:.3g}), so the budget general-ppl "
        "tells next to nothing here; retain=0.95 reads the rows to keep instead."
    )


def plan_of(config: RunConfig, session: Session, chosen: Mapping[str, Sequence[Row]]) -> Plan:
    """Return how much the run's rule reads and how often, by counting the tokens of its texts and of its steps."""
    loaded, lengths = session.loaded, []
    for role in config.stop_rule().roles:
        rows = [row for _, row in spread(chosen[role], ROWS)]
        texts = encode_rows(loaded.tokenizer, rows, max_length=loaded.fit_length(config.max_length))
        lengths.append([len(e.input_ids) + len(e.source) for e in texts])
    return plan(lengths, step_cost(session.stream, config.tuning), session.steps)


def step_cost(stream: Stream, tuning: str) -> float:
    """Return what a step costs in tokens of one pass: the mean of a few steps, with their backward passes."""
    numbers = sorted({1 + i * (stream.steps - 1) // (COUNTED - 1) for i in range(COUNTED)})
    read = [sum(micro.tokens for micro in stream.step(number)) for number in numbers]
    return (3 if tuning == "full" else 2) * sum(read) / len(read)
