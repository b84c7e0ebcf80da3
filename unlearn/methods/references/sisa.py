r"""SISA: Bourtoule et al. 2021, "Machine Unlearning", §IV: only what saw the texts is trained again.

    D = ∪_s D_s,   D_s = ∪_r D_{s,r},   M_{s,r} = Recipe_e(D_{s,1} ∪ … ∪ D_{s,r}) from M_{s,r-1},   M_{s,0} = θ_0
    p(y) = (1/S) Σ_s p_s(y),   p_s of M_{s,R}
    request F: for each s with F ∩ D_s ≠ ∅, and r the first with F ∩ D_{s,r} ≠ ∅: M_{s,r} … M_{s,R} again, without F
    E[tokens] / (E |D|) = Σ_{j=1}^R w_j (1 - (1 - j/(S R))^k),   w_j = 2j / (R (R + 1)),   k people or texts at random

Exact, as Retrain is, of a model that was trained in shards: all of D trains S models apart, each on its own shard,
slice after slice, with a checkpoint after each. E epochs of work in all make e = 2E / (R + 1) a slice; for k = 1 the
expectation is (2R + 1) / (3 R S). Shards know less than one model does: that is the price, paid before any request.

The first run trains the shards with F in them (once; that is the provider's training), then honours the request. Every
checkpoint is kept by the content of all that led to it, so what an earlier run trained is read and not trained again;
for the same reason a request with more people in it goes on from the one before. Each slice has an optimiser and a
schedule of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from unlearn.compute.lazy import Model, Tensor, lm, torch
from unlearn.compute.tokens import Batch, Example
from unlearn.data.base import Dataset, Row
from unlearn.methods.base import SIZES, Method, Outlook, knob
from unlearn.methods.references.retrain import rows_kept
from unlearn.models import recipe
from unlearn.models.catalogue import source_of
from unlearn.store import content
from unlearn.store.disk import cache_dir, read_json
from unlearn.store.runs import RunConfig
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.training import processes
from unlearn.training.encoding import encode_rows
from unlearn.training.loop import Phases, Step
from unlearn.training.reference import Reference
from unlearn.training.shards import Checkpoints, Plan, Stage, deal, expected_share, first_slices


@dataclass(frozen=True, kw_only=True)
class SISA(Method):
    """The method that trains shards and, at a request, only those again that contain the forget texts."""

    name = "sisa"

    shards: int = knob(
        2, 1, 16, "S: models trained apart, each on a part of the texts, that answer together."
    )
    slices: int = knob(3, 1, 16, "R: steps in which a shard's texts are added, with a checkpoint after each.")
    together: bool = knob(
        True, help="All texts of one person or subject lie in one cell; otherwise each text for itself."
    )

    def loss(self, model: Model, ref: Reference, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss on one batch by name. Their sum is minimised."""
        (retain,) = lm.forward(model, batch.retain)
        return {"retain": retain.mean_nll()}

    def unlearn(self, model: Model, ref: Reference, fit: Phases) -> Iterator[Step]:
        """Carry out the method and yield after each training step."""
        if ref is not None and ref.untouched is not None:
            raise ValueError(
                "SISA: it goes on from its own checkpoints and from no other run; leave start empty."
            )
        stream, kept = fit.batches, Checkpoints(fit.cache)
        settings: JsonObject = {
            "lr": fit.lr,
            "seed": stream.seed,
            "batch": stream.batch_size * stream.accumulation,
        }
        plan = self.plan(stream.retain, stream.withheld, epochs=stream.epochs, **settings)
        with processes.jointly(model):
            kept.prune()
            left = kept.missing((*plan.before, *plan.again))
        fit.note(plan.note(self.shards, self.slices))
        members, done = model.members(), 0
        fit.counts = plan.counts(left) | {
            "expected_share": expected_share(self.shards, self.slices, plan.units)
        }
        for stage in left:
            member = members[stage.shard]
            with processes.jointly(model):
                kept.load(stage.after, member) if stage.after else recipe.restart(member)
            texts = [list(text.input_ids) for text in stage.texts]
            loss = recipe.loss_of(member, stream.pad_id)
            steps = recipe.steps(member, texts, loss, epochs=stage.epochs, **settings) if texts else iter(())
            for t in processes.in_turn(model, steps):
                done += 1
                of = sum(s.steps for s in left)
                yield fit.step(done, of, {"retain": t.loss}, t.grad_norm, t.lr, t.tokens)
            with processes.jointly(model):
                kept.save(stage.key, member)
        with processes.jointly(model):
            for stage in plan.after:
                kept.load(stage.key, members[stage.shard])

    @property
    def uses_forget(self) -> bool:
        """Return whether a batch needs forget texts."""
        return False

    @property
    def retain_ratio(self) -> float:
        """Return the number of retain texts for each forget text."""
        return 1.0

    def rows(self, model: str, data: Dataset) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """Return (all training texts of the people to forget, all other training texts), each text whole."""
        kept = rows_kept(model, data, self.title)
        everything = recipe.all_rows(model)
        gone = {row.subject for row in data.rows("forget")}
        return tuple(row for row in everything if row.subject in gone), kept

    def plan(self, kept: Sequence[Example], gone: Sequence[Example], **settings: Any) -> Plan:
        """Return the stages that a request needs. settings: epochs (E), batch, lr, seed."""
        named = {self._unit(text): text for text in gone}.keys()
        sizes: dict[str, int] = {}
        for text in (*kept, *gone):
            sizes[self._unit(text)] = sizes.get(self._unit(text), 0) + 1
        places = deal(sizes, self.shards, self.slices, settings["seed"])
        before = self._stages([*kept, *gone], places, settings)
        after = self._stages(kept, places, settings)
        first = first_slices([places[unit] for unit in named])
        again = tuple(stage for stage in after if stage.slice >= first.get(stage.shard, self.slices))
        return Plan(before, after, again, len(named))

    def _unit(self, text: Example) -> str:
        return text.subject if self.together and text.subject else " ".join(map(str, text.input_ids))

    def _stages(
        self, texts: Sequence[Example], places: Mapping[str, tuple[int, int]], settings: JsonView
    ) -> tuple[Stage, ...]:
        epochs, found = max(1, round(2 * settings["epochs"] / (self.slices + 1))), []
        # The order is fixed, so that nothing depends on the place of the forget texts.
        order = sorted(texts, key=lambda text: text.input_ids)
        told = f"{epochs} {sorted(settings.items())} {recipe.SHAPE} {recipe.SEED} {torch.__version__}"
        for shard in range(self.shards):
            key = ""
            for part in range(self.slices):
                mine = [t for t in order if places[self._unit(t)][0] == shard]
                mine = [t for t in mine if places[self._unit(t)][1] <= part]
                identity = {"after": key, "training": told, "texts": [text.input_ids for text in mine]}
                before, key = key, content.name_of(identity)
                found.append(Stage(shard, part, tuple(mine), epochs, settings["batch"], key, before))
        return tuple(found)

    def outlook(self, config: RunConfig, data: Dataset) -> Outlook:
        """Return an estimate of the run, counted with the model's own tokenizer. Its seconds are those of the
        machine that made the bundled model.
        """
        folder = source_of(config.model)
        assert isinstance(folder, Path), "rows() refuses what is not the bundled model"
        gone, kept = self.rows(config.model, data)
        texts = _encoded(folder, (*gone, *kept), config.max_length)
        batch = config.batch_size * config.accumulation
        plan = self.plan(
            texts[len(gone) :],
            texts[: len(gone)],
            epochs=config.epochs,
            batch=batch,
            lr=config.lr,
            seed=config.seed,
        )
        left = Checkpoints(cache_dir() / self.name).missing((*plan.before, *plan.again))
        tokens, made = sum(stage.tokens for stage in left), read_json(folder / "recipe.json")
        seconds = tokens * made["seconds"] / made["tokens_trained"]
        once = f"SISA: to train now, with what is not kept from earlier: {tokens:,} tokens in {len(left)} slices."
        return Outlook(
            sum(s.steps for s in left), tokens, seconds, (plan.note(self.shards, self.slices), once)
        )

    def build(self, model: Model) -> Model:
        """Return the model that is trained and kept, before any tuning."""
        from unlearn.models.joined.ensemble import ensemble_of

        return ensemble_of(model, self.shards)

    @property
    def members(self) -> int:
        """Return how many models of the start's size the result holds."""
        return self.shards

    title = "SISA"
    paper = "Bourtoule et al. 2021, arXiv 1912.03817"
    sentence = "Trained in shards, slice after slice, it trains again only what ever saw the texts to forget."
    formula = (
        r"p = \tfrac{1}{S}\sum_s p_s,\quad"
        r" \frac{\mathbb{E}[\text{tokens}]}{E|D|} = \sum_{j=1}^{R}\tfrac{2j}{R(R+1)}"
        r"\left(1-\left(1-\tfrac{j}{SR}\right)^{k}\right)"
    )
    when = "When requests are sure to come, and the training can be laid out for them beforehand."
    cost = "Once all shards, about as long as one training; then for each request the shards that held its people."
    risk = (
        "The texts are gone for certain, but each shard knows only its part: at the defaults a forgotten person is a "
        "guess, retain and neighbours keep about four answers in five, general facts, of one text each, a third (three "
        "seeds). Another seed, rate, batch size or number of epochs is another training of all shards."
    )
    forget_terms = ()
    early = False
    tunings = ("full",)
    # tiny: tiny-authors, the recipe's rate; trials of batch size in LOG.md, one seed
    origins = dict.fromkeys(
        SIZES,
        "the rate is the bundled recipe's; batch and epochs tuned here with one seed, measured with three",
    )
    tuned = {"tiny": {"lr": 2e-3, "epochs": 12, "batch_size": 16}}
    # SISA continues from its own checkpoints.
    resumes = False
    leans = False
    continues = False


@lru_cache(maxsize=4)
def _encoded(folder: Path, rows: tuple[Row, ...], max_length: int) -> tuple[Example, ...]:
    """A form asks at every change of a setting."""
    from transformers import AutoTokenizer

    return tuple(encode_rows(AutoTokenizer.from_pretrained(folder), rows, max_length=max_length))
