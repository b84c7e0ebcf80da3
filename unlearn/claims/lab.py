"""Carries out the small runs that claims need, each once, and keeps the outcomes by content.

An experiment is many small runs of which only the scores are wanted. So a run here is trained and read in memory, as
execute() does it, without samples, probes and weights on the disk; what came out is one small file, named by
everything that it depends on. Whoever asks for the same again, in another claim or after a kill, gets the file.
Scores are read with the right answer given (no generation): ppl, accuracy, probability, memorised.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from unlearn.claims.reading import Rows, Seen, content, observe_answers, rows_of, scores_of
from unlearn.claims.training import TINY, World, bundled, settings, train
from unlearn.claims.worlds import drawn
from unlearn.compute.lazy import Tokenizer
from unlearn.data.base import Dataset
from unlearn.data.catalogue import from_config
from unlearn.data.prompts import asked_in
from unlearn.data.tofu import as_taught
from unlearn.models.load import CATALOGUE, weights_hash
from unlearn.results.grid import Cell
from unlearn.results.sweep_record import identity
from unlearn.store.content import keep, kept, place
from unlearn.store.runs import RunConfig
from unlearn.store.shapes import JsonObject

# Raise this number when what is measured changes, so that old outcomes are not reused.
FORMAT = 1
ROLES = ("forget", "retain", "general", "neighbours", "approximate")


@dataclass
class Lab:
    """The place where experiments are carried out.

    folder is where outcomes are kept, and say is called with a line for each thing that has to be computed. world: the
    model that the claims are tested on, where they are tested on a bundled one.
    """

    folder: Path
    say: Callable[[str], None] = lambda line: None
    world: World = TINY
    computed: int = field(default=0, init=False)
    reused: int = field(default=0, init=False)

    def once(self, what: Mapping[str, object], compute: Callable[[], Mapping[str, object]]) -> JsonObject:
        """Return what compute() gives, a plain JSON object, or what it gave for the same `what` before.

        Non-finite numbers are words.
        """
        path = place(self.folder, {"format": FORMAT, **what}, digits=20)
        found = kept(path)
        if found is not None:
            self.reused += 1
        else:
            self.say(str(what.get("what", "")))
            keep(path, compute())
            found = kept(path)
            self.computed += 1
        return found

    @cached_property
    def authors(self) -> Dataset:
        """Return the dataset of authors that the model was taught."""
        return self._known(self.world.data)

    @cached_property
    def requests(self) -> Dataset:
        """Return the dataset whose deletion requests arrive one after the other."""
        return self._known(self.world.requests)

    def _known(self, name: str) -> Dataset:
        found = from_config({"name": name})
        return found if self.world is TINY else as_taught(found)

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Return the content hashes of the weights of the bundled model and of its retrain."""
        return {
            "before": weights_hash(CATALOGUE[self.world.model].path(), None),
            "retrained": weights_hash(self.world.retrain, None),
        }

    def settings(self, method: str, **changes: object) -> RunConfig:
        """Return the method's tuned settings for the model of this world, with these changes.

        lr is meant for the bundled model, and multiplied for another.
        """
        if self.world is not TINY and isinstance(lr := changes.get("lr"), float):
            changes["lr"] = lr * self.world.rates
        return settings(method, self.world, **changes)

    def draw(self, seed: int, people: int) -> Dataset:
        """Return a dataset that forgets so many of the authors that the model knows, drawn by seed."""
        return drawn(self.world, seed, people)

    def rows(self, data: Dataset, roles: Sequence[str]) -> Rows:
        """Return the rows that are read, asked as the world's model is asked."""
        return rows_of(asked_in(data, self.settings("ga").prompt), roles)

    def reference(self, rows: Rows, when: str = "before") -> JsonObject:
        """Return {role: scores} of the bundled model (before) or of its exact retrain (retrained)."""
        what = {"what": f"the scores {when}", "model": self.hashes[when], "rows": content(rows)}

        def compute() -> JsonObject:
            loaded = bundled(when, self.world)
            return scores_of(observe_answers(loaded.model, loaded.tokenizer, rows))

        return self.once(what, compute)

    def trial(
        self,
        config: RunConfig,
        data: Dataset | None = None,
        *,
        roles: Sequence[str] = ROLES,
        every: float = 0,
        also: Mapping[str, Callable[[Seen, Rows, Tokenizer], object]] | None = None,
        watch: Callable[[Seen, Rows, Tokenizer], object] | None = None,
    ) -> JsonObject:
        """Carry out one run of the bundled model and return {"state", "reason", "seconds", "tokens", "steps",
        "scores", "curve", also…}.

        every: scores of `roles` after every so many epochs or parts of one, as "curve". also: further values, each a
        pure function of (observations after, rows, tokenizer), kept under its name; watch: the same at each point of
        the curve, under "watched". seconds: CPU seconds of training alone.
        """
        data = data or self.authors_of(config)
        rows = self.rows(data, roles)
        what = {
            "what": f"{config.method}, lr {config.lr:g}, {config.epochs} epochs, seed {config.seed}",
            "run": identity(config),
            "data": data.hash(),
            "model": self.hashes["before"],
            "roles": list(rows),
            "every": every,
            "also": sorted(also or {}),
        } | ({"watch": f"{watch.__module__}.{watch.__name__}"} if watch else {})

        def compute() -> JsonObject:
            loaded = bundled(world=self.world)
            curve: list[JsonObject] = []

            def look(step: int, per_epoch: int) -> None:
                if every and step % max(1, round(every * per_epoch)) == 0:
                    seen = observe_answers(loaded.model, loaded.tokenizer, rows)
                    point = {"epoch": step / per_epoch, "scores": scores_of(seen)}
                    curve.append(point | ({"watched": watch(seen, rows, loaded.tokenizer)} if watch else {}))

            trained = train(loaded, config, data, look)
            seen = observe_answers(loaded.model, loaded.tokenizer, rows) if trained.state == "done" else {}
            found = asdict(trained) | {"scores": scores_of(seen), "curve": curve}
            return found | {k: fn(seen, rows, loaded.tokenizer) for k, fn in (also or {}).items() if seen}

        return self.once(what, compute)

    def chain(self, config: RunConfig, order: Sequence[int], rows: Rows) -> JsonObject:
        """Carry out deletion requests, each from what the one before left, and return {"state", "after":
        [scores …]}.

        after[k]: {role: scores} of `rows` after k requests, "after"[0] before the first.
        """
        what = {
            "what": f"chain of {config.method} over {','.join(map(str, order))}, seed {config.seed}",
            "run": identity(config),
            "order": list(order),
            "model": self.hashes["before"],
            "data": self.requests.hash(),
            "rows": content(rows),
        }

        def compute() -> JsonObject:
            loaded, original = bundled(world=self.world), bundled(world=self.world).model
            after = [scores_of(observe_answers(loaded.model, loaded.tokenizer, rows))]
            for k, request in enumerate(order):
                data = self.requests.only_requests((request,))
                found = train(loaded, config, data, original=original if k else None)
                if found.state != "done":
                    return {"state": "failed", "reason": found.reason, "after": after}
                after.append(scores_of(observe_answers(loaded.model, loaded.tokenizer, rows)))
            return {"state": "done", "reason": "", "after": after}

        return self.once(what, compute)

    def authors_of(self, config: RunConfig) -> Dataset:
        """Return the authors with the deletion requests that the config names, or with all."""
        asked = tuple(config.data.get("requests") or ())
        return self.authors.only_requests(asked) if asked else self.authors

    def cell(self, config: RunConfig, data: Dataset | None = None) -> Cell:
        """Return a trial as a cell of a grid (unlearn.results.grid), with the scores before it and of the
        exact retrain.
        """
        found = self.trial(config, data)
        rows = self.rows(data or self.authors_of(config), ROLES)
        scores = {"before": self.reference(rows), "after": found["scores"]}
        if data is None and not config.data.get("requests"):
            scores["retrained"] = self.reference(rows, "retrained")
        place = {key: getattr(config, key) for key in ("method", "lr", "epochs", "batch_size", "seed")}
        told = {key: found[key] for key in ("state", "reason", "seconds", "tokens")}
        return Cell(**place, **told, scores=scores)
