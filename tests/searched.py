"""A search in which no model is trained: in the place of execute() stands a formula, for the tests of searches."""

import math

from unlearn.metrics import Observation
from unlearn.results.search.record import SearchConfig
from unlearn.results.search.space import axes
from unlearn.store.config import RunConfig
from unlearn.work import search
from unlearn.work.execute import Finished
from unlearn.work.search import halves

RUN = RunConfig(
    model="tiny-authors",
    data={"name": "authors"},
    method="npo",
    lr=1e-3,
    epochs=5,
    knobs={"beta": 1.0, "retain_weight": 1.0, "retain_per_forget": 2.0},
)
BEST = 3e-3


class Killed(BaseException):
    """What kill -9 is in one process."""


class Stand:
    """In the place of execute() and of what is observed. The nearer lr is to BEST, the nearer the forget rows are to
    the target; the larger it is, the more is lost. A small beta is bad for both.
    """

    def __init__(self, monkeypatch, **moments):
        self.ran, self.moments, self.seconds = [], moments, 1.0
        monkeypatch.setattr(search, "execute", self)
        monkeypatch.setattr(search.halves, "seen", self.seen)
        monkeypatch.setattr(search, "seconds_of", lambda run: self.seconds)

    def __call__(self, run, *, should_stop, on_progress, roots):
        self.ran.append(run.config)
        here = len(self.ran)
        run.append("state", state="running")
        on_progress("training", 0.5)
        if here == self.moments.get("kill"):
            raise Killed
        if here == self.moments.get("fail"):
            run.append(
                "state",
                state="failed",
                reason="out of memory",
                error=self.moments.get("error", "RuntimeError"),
            )
            return None
        if run.config.lr > self.moments.get("diverge_above", 1.0):
            run.append("state", state="failed", reason="loss became nan", error="Diverged")
            return None
        forget, kept = formula(run.config)
        run.append("step", step=6, of=10, terms={}, seconds=1.0)
        if self.moments.get("watched"):
            run.append(
                "watch",
                step=6,
                forget=forget,
                target=None,
                spent={"retain": kept},
                limits={},
                inside=True,
                best=0,
            )
        if should_stop():
            run.append("state", state="stopped", reason="stopped by hand at step 6")
            return None
        (run.path / "model").mkdir(exist_ok=True)
        run.append("state", state="done")
        return Finished(None, run)

    def seen(self, finished, roots):
        forget, kept = formula(finished.run.config)
        found = {
            "before": rows(1.0, 0.9),
            "after": rows(forget, 0.9 * kept),
            "retrained": rows(0.1, 0.9),
        }
        first = {"forget": frozenset({0, 1}), "retain": frozenset({0})}
        return halves.Seen(found, first, same=False)


def formula(config):
    away, weak = abs(math.log10(config.lr / BEST)), 1 - config.knobs.get("beta", 1.0)
    forget = 0.1 + 0.4 * away + 0.2 * weak + 0.01 * config.seed
    return min(1.0, forget), max(0.05, 1 - 10 * config.lr - 0.2 * weak)


def rows(forget, kept):
    def one(role, index, p):
        return Observation(role, index, "Who?", "Who?", "red", "red", ({"lp": math.log(p)},))

    return [one("forget", i, forget) for i in range(4)] + [one("retain", i, kept) for i in range(2)]


def asked(**changes):
    return SearchConfig(**({"runs": (RUN,), "axes": (axes(RUN, ["lr", "beta"]),), "trials": 12} | changes))


def told(record):
    """What a search found, without its times and the names of its runs."""
    return [(t.number, t.method, dict(t.settings), t.state, dict(t.chosen)) for t in record.trials()]
