"""Carries out deletion requests that arrive one after the other, and scores all of them after each.

    chain    request k is unlearned from what request k - 1 left                 (UnDIAL's and EUL's "one layer reused")
    fuse     each from the original, in layers of its own; the layers are fused  (EUL, arXiv 2310.20150, §3.3)
    average  the same with the plain mean of the layers: fusion's control
    ties     each from the original, whole weights or an adapter; what they changed is joined   (TIES, arXiv 2306.01708)
    joint    all requests so far at once, from the original: the upper bound

A sequence is a folder like a run: what was asked, events, a lock. A request whose score is written is never done
again, so an interrupted sequence goes on where it was. After k requests every request is scored, those to come
too, so that one sees what is forgotten, what is still known and whether an earlier request comes back.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from unlearn.compute import threads
from unlearn.compute.tokens import Example
from unlearn.data import inputs
from unlearn.data.base import Dataset, Row
from unlearn.data.catalogue import from_config
from unlearn.data.prompts import asked_in
from unlearn.measure.evaluate import evaluate, observe, rows_to_score
from unlearn.methods import method_named
from unlearn.models.load import SMALL
from unlearn.models.reading import fit_of
from unlearn.store.config import ROUNDED
from unlearn.store.runs import Run, RunConfig, RunStore
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.store.studies import How, Stopped, Study, StudyWork, checking
from unlearn.training.encoding import encode_rows
from unlearn.work.after import check_tuning, config_after
from unlearn.work.execute import execute

if TYPE_CHECKING:
    from unlearn.models.load import Loaded


MODES = {
    "chain": "each request goes on from the one before",
    "fuse": "unlearning layers trained apart, then fused",
    "average": "unlearning layers trained apart, then averaged: the control of fusion",
    "ties": "each trained apart; what they changed in the weights is joined by TIES",
    "joint": "all requests so far at once, from the original: the upper bound",
}
LAYER_MODES = ("fuse", "average")
# The tunings that change the model's own weights, which TIES joins.
CHANGES = ("full", "lora")
UTILITY = ("retain", "general", "neighbours")


@dataclass(frozen=True, kw_only=True)
class SequenceConfig:
    """The settings of a sequence.

    run states the settings of every request (its data's own `requests` are ignored), and order states the
    requests as they arrive. undo: the share of every weight that is lost after each request and learnt again from the
    model's own answers (UNDO), 0 for none.
    """

    run: RunConfig
    mode: str
    order: tuple[int, ...]
    undo: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"sequence: mode must be among {', '.join(MODES)}, got {self.mode!r}.")
        if len(self.order) < 2 or len(set(self.order)) != len(self.order):
            raise ValueError(
                f"sequence: order must name two or more requests, each once, got {list(self.order)}."
            )
        if self.mode in LAYER_MODES and self.run.tuning != "layers":
            raise ValueError(
                f"sequence: mode {self.mode} joins unlearning layers, which {self.run.method} with {self.run.tuning} "
                "tuning does not train; choose method eul, or mode chain or joint."
            )
        if self.mode == "ties" and self.run.tuning not in CHANGES:
            able = [one for one in CHANGES if one in method_named(self.run.method).tunings]
            other = f"tuning {' or '.join(able)}, or " if able else ""
            raise ValueError(
                f"sequence: mode ties joins what changed in the model's own weights, and {self.run.method} with "
                f"{self.run.tuning} tuning changes none; choose {other}mode chain or joint."
            )
        if self.mode == "ties" and (self.run.precision in ROUNDED or self.run.adapter == "keep"):
            raise ValueError(
                "sequence: mode ties writes into the model's own weights, which must not be rounded (--precision int8, "
                "nf4) nor lie under an adapter that is kept (--adapter keep); leave these out, or choose mode joint."
            )
        if self.mode == "ties" and self.undo:
            raise ValueError(
                "sequence: undo changes every weight of each run, and mode ties keeps the largest changes, which are "
                "then those of undo; leave --undo out, or choose mode joint."
            )
        if not 0 <= self.undo <= 1:
            raise ValueError(f"sequence: undo must lie in [0, 1], got {self.undo:g}; 0 leaves it out.")
        if self.undo:
            check_tuning(self.run.tuning, "each request")
        if self.undo and self.mode == "chain" and self.run.tuning != "full":
            raise ValueError(
                f"sequence: undo changes every weight, so a chain cannot go on with tuning {self.run.tuning}; choose "
                "tuning full, or mode joint."
            )

    def requests_of(self, k: int) -> tuple[int, ...]:
        """Return the requests that the run of the k-th request (from 1) is asked to forget."""
        return self.order[:k] if self.mode == "joint" else (self.order[k - 1],)

    def command(self) -> str:
        """Return the command line that repeats this sequence."""
        template = {key: value for key, value in self.run.data.items() if key != "requests"}
        words = replace(self.run, data=template).command("sequence")
        undo = f" --undo {self.undo:g}" if self.undo else ""
        return f"{words} --mode {self.mode} --order {','.join(map(str, self.order))}{undo}"

    def to_json(self) -> JsonObject:
        """Return the settings as a JSON object, as sequence.json holds them."""
        own = {"run": self.run.to_json(), "mode": self.mode, "order": list(self.order)}
        return own | ({"undo": self.undo} if self.undo else {})

    @classmethod
    def from_json(cls, value: JsonView) -> "SequenceConfig":
        """Return the settings that a JSON object from to_json() states."""
        run = RunConfig.from_json(value["run"])
        return cls(run=run, mode=value["mode"], order=tuple(value["order"]), undo=value.get("undo", 0.0))


class SequenceRecord(Study[SequenceConfig]):
    """The folder of one sequence, <store>/sequences/<id>.

    It holds sequence.json, meta.json, and events.jsonl with `score` events.
    """

    FILE, FOLDER = "sequence.json", "sequences"

    @classmethod
    def read(cls, value: JsonView) -> SequenceConfig:
        """Return the SequenceConfig that the content of sequence.json states."""
        return SequenceConfig.from_json(value)

    def scores(self) -> list[JsonObject]:
        """Return the scores after each number of requests 0 … K: {"after", "request", "run", "requests",
        "roles", "seconds"}.
        """
        latest = {event["after"]: event for event in self.events("score")}
        return [latest[k] for k in sorted(latest)]


def sequences(store: RunStore) -> list[SequenceRecord]:
    """Return every sequence of the store, newest first."""
    return SequenceRecord.every(store.root)


def create(config: SequenceConfig, store: RunStore, *, owner: str = "", title: str = "") -> SequenceRecord:
    """Make a new, queued sequence and return it. ValueError as in check()."""
    check(config)
    name = f"{config.run.method}-{config.mode}"
    return SequenceRecord.create(store.root, name, config.to_json(), owner=owner, title=title)


def check(config: SequenceConfig) -> None:
    """ValueError when the dataset lacks a request or the method cannot be chained."""
    data = dict(config.run.data) | {"requests": list(config.order)}
    from_config(data, roots=[Path("/")])
    method = method_named(config.run.method)
    if config.run.start:
        raise ValueError(
            f"sequence: start {config.run.start!r}: a sequence begins with the model itself; leave --start out, or go "
            "on from that run with unlearn run."
        )
    if config.run.retrained:
        raise ValueError(
            "retrained: after each request of a sequence another retrained model would be the truth, so one cannot be "
            "given for all; leave --retrained out."
        )
    if config.mode == "chain" and not method.continues:
        raise ValueError(
            f"sequence: mode chain goes on from the run before, which {method.title} never does; choose mode joint."
        )
    if config.mode == "ties" and not method.continues:
        raise ValueError(
            f"sequence: mode ties joins what was changed in the original's weights, and {method.title} changes none; "
            "choose mode joint."
        )


def perform(record: SequenceRecord, **how: Unpack[How]) -> None:
    """Carry out the sequence as execute() does a run.

    It never raises, and leaves state done, stopped or failed with a reason.
    """
    _Work(record, **how).conduct()


def keep_rows(record: SequenceRecord, roots: Sequence[Path] | None) -> Dataset:
    """Return the rows of all requests. They are written into the sequence's folder when it begins."""
    own = record.config.run
    asked = {**own.data, "requests": list(record.config.order)}
    return inputs.begin(record, asked, roots, fit_of(own))


class _Work(StudyWork[SequenceRecord]):
    def carry_out(self) -> None:
        self.config = self.record.config
        self.store = RunStore(self.record.path.parent.parent)
        own = self.config.run
        self.template = {key: value for key, value in own.data.items() if key != "requests"}
        self.data: Dataset = asked_in(keep_rows(self.record, self.roots), own.prompt, own.system)
        done = {event["after"]: event for event in self.record.scores()}
        if 0 not in done:
            self.score(0, None, None, time.perf_counter())
        runs = [self.store.get(done[k]["run"]) for k in sorted(done) if k]
        for k in range(len(runs) + 1, len(self.config.order) + 1):
            began = time.perf_counter()
            runs.append(self.member(k, runs))
            self.score(k, runs[-1], self.model_after(runs), began)

    def member(self, k: int, runs: list[Run]) -> Run:
        """The run of the k-th request, with UNDO behind it where that was asked for."""
        order, mode = self.config.order, self.config.mode
        config = replace(
            self.config.run,
            data=self.template | {"requests": list(self.config.requests_of(k))},
            start=runs[-1].id if mode == "chain" and runs else "",
            title=f"Request {order[k - 1]}, {k} of {len(order)} ({mode})",
        )
        run = self.carried_out(k, config)
        if not self.config.undo:
            return run
        return self.carried_out(
            k, config_after(run, {"share": self.config.undo}, f"{config.title}, then UNDO")
        )

    def carried_out(self, k: int, config: RunConfig) -> Run:
        """A run of the k-th request: carried out, gone on with, or found where a stop came before its score.

        RuntimeError when it fails.
        """
        order = self.config.order
        run = self.begun(config)
        if run is None:
            owner = self.record.meta.get("owner", "")
            run = self.store.create(config, owner=owner, sequence=self.record.id)
        elif run.state == "done":
            return run
        # A kill may have come between the run and its rows.
        if not (run.path / inputs.FILE).is_file():
            inputs.keep(run, self.data.only_requests(self.config.requests_of(k)))
        with run.held():
            execute(
                run,
                should_stop=self.should_stop,
                on_progress=lambda phase, part: self.on_progress(
                    f"request {k}: {phase}", (k - 1 + part) / len(order)
                ),
                roots=self.roots,
            )
        if run.state == "stopped":
            raise Stopped
        if run.state == "failed":
            raise RuntimeError(f"request {order[k - 1]}: {run.reason}")
        return run

    def begun(self, config: RunConfig) -> Run | None:
        """This sequence's own run with these settings: one that is done, else one that was cut short."""
        mine = [run for run in self.store.list() if run.meta.get("sequence") == self.record.id]
        same = [run for run in mine if run.config == config]
        return next((run for run in same if run.state == "done"), next(iter(same), None))

    def model_after(self, runs: list[Run]) -> "Loaded":
        """The model that stands for all requests so far."""
        from unlearn.models import fusion, layers, tuning
        from unlearn.models.joined import ties

        if self.config.mode == "ties":
            return ties.joined(runs, self.config.run)
        loaded = tuning.load_trained(runs[-1])
        if self.config.mode not in LAYER_MODES:
            return loaded
        # Fusion's products in float64 are the host's work, also beside a GPU, where a run leaves one thread.
        threads.choose_threads(small=loaded.parameters < SMALL)
        states, grams = [], []
        for run in runs:
            folder = run.path / "adapter"
            layers.set_layer_state(loaded.model, layers.read_state(folder))
            if not (folder / fusion.GRAMS).is_file():
                fusion.save_grams(
                    fusion.grams_of(loaded.model, self.examples(run, loaded), device=loaded.device), folder
                )
            states.append(layers.layer_state(loaded.model))
            grams.append(fusion.load_grams(folder))
        joined = fusion.fuse(states, grams) if self.config.mode == "fuse" else fusion.average(states)
        layers.set_layer_state(loaded.model, joined)
        return loaded

    def examples(self, run: Run, loaded: "Loaded") -> list[Example]:
        """The forget texts of the run's own request: the inputs X_i of fusion."""
        wanted = tuple(run.config.data["requests"])
        rows = self.data.only_requests(wanted).rows("forget")
        return encode_rows(loaded.tokenizer, rows, max_length=loaded.fit_length(run.config.max_length))

    def score(self, k: int, run: Run | None, loaded: "Loaded | None", began: float) -> None:
        """Score every request and what must stay; k = 0 is the model before the first one."""
        from unlearn.models.tuning import base

        self.on_progress(f"scoring after {k}", k / len(self.config.order))
        loaded = loaded or base(self.config.run)
        chosen: dict[str, list[Row]] = {f"request {r}": self.of_request(r) for r in self.config.order}
        every = rows_to_score(self.data)
        chosen |= {role: every[role] for role in (*UTILITY, "paraphrase") if role in every}
        found = evaluate(
            observe(
                loaded.model,
                loaded.tokenizer,
                chosen,
                max_length=loaded.fit_length(self.config.run.max_length),
                device=loaded.device,
                check=checking(self.should_stop),
            )
        )
        self.record.append(
            "score",
            after=k,
            request=self.config.order[k - 1] if k else None,
            run=run.id if run else None,
            requests={str(r): found[f"request {r}"] for r in self.config.order},
            roles={role: value for role, value in found.items() if not role.startswith("request ")},
            seconds=round(time.perf_counter() - began, 3),
        )

    def of_request(self, request: int) -> list[Row]:
        return [row for row in self.data.rows("forget") if row.request == request]


def summary(record: SequenceRecord, metric: str = "exact") -> list[JsonObject]:
    """Return the means of metric after each number of requests: over requests done, over those to come, and
    over each role to keep.

    None where there is nothing to average. Weighted by the number of texts.
    """
    rows = []
    order = record.config.order
    for event in record.scores():
        k = event["after"]
        of = event["requests"]
        rows.append(
            {
                "after": k,
                "done": _mean([of[str(r)] for r in order[:k]], metric),
                "to come": _mean([of[str(r)] for r in order[k:]], metric),
                **{role: scores.get(metric) for role, scores in event["roles"].items()},
                "utility": _mean(
                    [event["roles"][r] for r in UTILITY if r in event["roles"]], metric, weigh=False
                ),
                "seconds": event["seconds"],
            }
        )
    return rows


def _mean(scores: Sequence[Mapping[str, float]], metric: str, *, weigh: bool = True) -> float | None:
    known = [(s["n"] if weigh else 1, s[metric]) for s in scores if isinstance(s.get(metric), (int, float))]
    total = sum(n for n, _ in known)
    return sum(n * value for n, value in known) / total if total else None
