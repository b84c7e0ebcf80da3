"""Puts one training session together in memory: method, rows, reference, optimiser and loop.

A run (unlearn.work.train), a claim's experiment (unlearn.claims.training) and a person's script all train through
this; nowhere else are the parts put together, so the same settings and seed give the same weights in all of them.
A Session is an iterator of Steps. Who iterates may log, score, save or stop; the model can be used at any step.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.compute import memory
from unlearn.compute.checkpointing import checkpointed
from unlearn.compute.lazy import torch
from unlearn.compute.states import to_the_end
from unlearn.compute.tokens import Example
from unlearn.data.base import Dataset, Row
from unlearn.data.prompts import in_formats
from unlearn.data.tables import rows_given
from unlearn.methods import method_named
from unlearn.methods.base import Method
from unlearn.models import tuning
from unlearn.models.load import Loaded, in_memory
from unlearn.store.config import RunConfig
from unlearn.store.disk import cache_dir
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.training import processes, sharded
from unlearn.training.batches import batches_of
from unlearn.training.checkpoints import Writer, checkpoint_step, load_checkpoint, save_checkpoint
from unlearn.training.encoding import encode_rows
from unlearn.training.loop import Phases, Step, make_optimizer
from unlearn.training.reference import Reference
from unlearn.training.sharpness import Sharpness
from unlearn.work.checks import check_sam
from unlearn.work.held import forecast, shape_in

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from unlearn.compute.lazy import Model, Tensor

# The name of data that was given as rows, and of a model that was given as an object.
IN_MEMORY = "in memory"


@dataclass
class Session:
    """A training that is ready to start.

    Iterate over it, and each optimiser step gives one Step with the method's terms.

    loaded.model is trained in place; with LoRA or unlearning layers it becomes the adapted model, which is why the
    session's `model` is the one to use afterwards. config.start, or original (the model before the first request of a
    chain), say that this training goes on from another. folder: where a reference lies that is too much for the memory.
    note(sentence) is called with what a person should know.
    ValueError for texts without an answer within the length, or where nothing may be trained.
    """

    loaded: Loaded
    config: RunConfig
    method: Method
    forget: Sequence[Row]
    retain: Sequence[Row]
    original: "PreTrainedModel | None" = None
    folder: Path | None = None
    note: Callable[[str], None] = lambda sentence: None

    def __post_init__(self) -> None:
        if self.original is not None and not self.config.start:
            # The adapter of the request before is already on the model.
            self.config = replace(self.config, start="the request before")
        check_sam(self.config, self.method)
        length = self.loaded.fit_length(self.config.max_length)
        self.loaded.model = tuning.install(self.loaded.model, self.config, self.method)
        # Trained in several prompt formats, a row stands once in each; keys number what is trained on.
        forget, retain = (
            in_formats(rows, self.config.prompt, self.config.system) for rows in (self.forget, self.retain)
        )
        texts = encode_rows(self.loaded.tokenizer, [*forget, *retain], max_length=length)
        cut = len(forget)
        batches = batches_of(self.config, self.method, texts[:cut], texts[cut:], self.loaded.pad_id)
        self.batches = replace(batches, asked={e.key: row for e, row in zip(texts, forget, strict=False)})
        self.stream = self.method.stream(self.batches)
        self.length = length
        self.parts: sharded.Sharded | None = None
        self.start = 0
        self.ref: Reference | None = None
        self.phases: Phases | None = None
        self._told = False
        self.writer = Writer()
        # Tensors that a checkpoint keeps beside the trained ones: the weights of the best step so far.
        self.aside: dict[str, Tensor] = {}
        self._steps = self._train()

    @property
    def model(self) -> "Model":
        """Return the model as it is now, with its adapter or layers where the tuning has one."""
        return self.loaded.model

    @property
    def steps(self) -> int:
        """Return the number of optimiser steps of the stream.

        A method with phases or with a loop of its own may take more.
        """
        return self.stream.steps

    def prepare(self) -> Reference:
        """Read what the method needs of the model before any weight changes.

        Iterating does it where nobody has.
        """
        if self.ref is None:
            moves = self.config.tuning == "full" and "states" in self.method.needs_ref.values()
            self.ref = Reference(self.model, head_moves=moves, folder=self.folder)
            if self.config.start:
                self.ref.untouched = self._untouched
            elif self.config.tuning == "lora" and self.config.adapter != "keep" and processes.size() == 1:
                # Under an adapter that is trained further lies another model than the one to begin with. Several
                # processes would not all meet a text first at the same step.
                self.ref.later = lambda: tuning.original(self.model)
            self.method.prepare(self.model, self.ref, self.batches, self.loaded.tokenizer)
            self.parts = sharded.split(self.model, self.length)
            self.optimizer = make_optimizer(self.model, self.config.lr, self.config.memory)
            self._tell_shelf()
        return self.ref

    def _tell_shelf(self) -> None:
        if self.ref is not None and not self._told and (words := self.ref.shelf.describe()):
            self.note(words)
            self._told = True

    def labels(self) -> list[JsonObject]:
        """Return the labels that the method drew for the forget texts, see Reference.label_table.

        It is empty without any.
        """
        return self.prepare().label_table(self.batches.forget, self.loaded.tokenizer)

    def resume(self, folder: Path) -> int:
        """Continue from the checkpoint in this folder, before the first step.

        It returns the step at which the checkpoint was taken.
        """
        self._catch_up(checkpoint_step(folder))
        in_parts = self.parts is not None or sharded.is_in_parts(folder)
        load = sharded.load if in_parts else load_checkpoint
        self.start = load(folder, self.model, self.optimizer)
        return self.start

    def _catch_up(self, step: int) -> None:
        """Read for the reference what the steps up to this one had read, in the same batches: the same bits again.

        Nothing has moved yet: the loss of step 1 takes it from its own pass, as it did then.
        """
        ref = self.prepare()
        with torch.no_grad():
            for number in range(1, step + 1 if ref.promises else 1):
                for micro in self.stream.step(number):
                    batch = micro.to(self.loaded.device)
                    if number == 1:
                        for read in self.sharpness.batches([batch]) if self.sharpness else [batch]:
                            self.method.loss(self.model, ref, read)
                        continue
                    for kind, tokens in self.method.referred(ref, batch):
                        ref.see(kind, tokens)

    @property
    def sharpness(self) -> Sharpness | None:
        """Return how SAM takes the gradient of a step, or None where it is off."""
        return Sharpness(self.config.sam, self.method.forget_terms) if self.config.sam else None

    @property
    def settled(self) -> bool:
        """Return whether the weights are now the method's result so far, so that the run could end here."""
        return self.phases is None or self.phases.settled

    @property
    def resumable(self) -> bool:
        """Return whether training could continue from a checkpoint of the step that was just done."""
        return self.method.resumes and (self.phases is None or self.phases.resumable)

    def save_checkpoint(self, folder: Path, step: int) -> None:
        """Save the trained weights and the optimiser's moments in this folder."""
        self.writer.finish()
        if self.parts is not None:
            self.parts.save(folder, self.optimizer, step)
        else:
            save_checkpoint(folder, self.model, self.optimizer, step, aside=self.aside)

    def begin_checkpoint(self, folder: Path, step: int) -> None:
        """Begin to save the same beside the next step, where nothing but its update changes the weights."""
        if type(self.method).unlearn is Method.unlearn and self.parts is None:
            self.writer.begin(folder, self.model, self.optimizer, step, self.aside)
        else:
            self.save_checkpoint(folder, step)

    def follow(self, folder: Path) -> None:
        """Train as one of the processes that follow the first, until it ends the training. folder: of checkpoints."""
        if self.parts is not None:
            parts = self.parts
            parts.group.save = lambda step: parts.save(folder, self.optimizer, step)
        for _ in self:
            pass

    def checkpoint_bytes(self) -> int:
        """Return the bytes that a checkpoint takes on the disk: the trained weights, two moments, and what is aside."""
        trained = sum(p.nbytes for p in self.model.parameters() if p.requires_grad)
        return 3 * trained + sum(t.nbytes for t in self.aside.values())

    @property
    def counts(self) -> JsonView:
        """Return what the method counted during training. It is empty for most methods."""
        return self.phases.counts if self.phases else {}

    def __iter__(self) -> Iterator[Step]:
        return self

    def __next__(self) -> Step:
        return next(self._steps)

    def close(self) -> None:
        """Free the memory of the gradients. The model stays as the last step left it."""
        self._steps.close()
        if self.ref is not None:
            self.optimizer.zero_grad(set_to_none=True)
        self._in_one_piece()

    def _in_one_piece(self, ended: bool = False) -> None:
        """Make the model whole again in the first process, where several train it. ended: the others know already."""
        if self.parts is None:
            return
        parts, self.parts = self.parts, None
        self.optimizer.state.clear()
        self.loaded.model = parts.gather(ended)

    def _train(self) -> Generator[Step, None, None]:
        ref, config = self.prepare(), self.config
        phases = self.phases = Phases(
            self.model,
            self.stream,
            self.optimizer,
            lr=config.lr,
            device=self.loaded.device,
            start=self.start,
            max_grad_norm=config.max_grad_norm,
            sharpness=self.sharpness,
        )
        # A checkpoint that is being written must not change.
        phases.before_update = self.writer.wait
        phases.note, phases.cache = self.note, cache_dir() / config.method
        # Blocks that lie elsewhere are brought again in the backward pass, or else each step would keep all
        # of them.
        try:
            ended = False
            # What is brought together for a block's turn goes back at once; else the next step takes it again.
            gives = config.memory == "lean" or self.parts is not None
            lean = memory.returned() if gives else memory.recycled()
            whole = to_the_end(self.parts is not None)
            with lean, whole, checkpointed(self.model, self._checkpoints()):
                # What the first process has read since then left weights together, and a method may look for parts.
                with processes.jointly(self.model):
                    pass
                for done in self.method.unlearn(self.model, ref, phases):
                    self._tell_shelf()
                    yield done
                if self.parts is not None and self.parts.group.rank > 0:
                    # The first process may still read the model.
                    processes.follow(self.model, self.parts.group)
        except processes.Ended:
            ended = True
        finally:
            self.writer.finish()
        self.optimizer.zero_grad(set_to_none=True)
        self._in_one_piece(ended)

    def _checkpoints(self) -> bool:
        """Whether blocks are computed again going backward: where it was asked for, or a lean run does not fit else."""
        config, loaded = self.config, self.loaded
        if config.checkpointing or loaded.where or config.memory != "lean":
            return config.checkpointing or bool(loaded.where)
        batch = self.stream.step(1)[0]
        sides = [side for side in (batch.forget, batch.retain) if side is not None]
        texts = sum(len(side.keys) for side in sides)
        weight = next(p.element_size() for p in self.model.parameters())
        found = forecast(
            config,
            shape_in(self.model.config.to_dict(), loaded.parameters),
            parameters=loaded.parameters,
            weight=weight,
            texts=texts,
            length=sum(int(side.attention_mask.sum()) for side in sides) / texts,
            answer=sum(int((side.labels >= 0).sum()) for side in sides) / texts,
        )
        needed, free = found.training - found.parts["weights"], memory.spare(loaded.device)
        if needed <= free:
            return False
        self.note(
            f"Memory: a step needs about {needed / 2**30:.2g} GiB and {free / 2**30:.2g} are free, so each block is "
            "computed again when its gradient is due."
        )
        return True

    def _untouched(self) -> AbstractContextManager["Model"]:
        if self.original is not None:
            return nullcontext(self.original)
        return tuning.untouched(self.loaded, self.config)


def session_of(loaded: Loaded, config: RunConfig, data: Dataset, **more: Any) -> Session:
    """Return the session of this config on this data, with its method and the rows that the method trains on.

    more: as in Session. ValueError for a knob or for data that the method cannot train on.
    """
    method = method_named(config.method).from_knobs(config.knobs)
    forget, retain = method.rows(config.model, data)
    return Session(loaded, config, method, forget, retain, **more)


def count_steps(config: RunConfig, method: Method, forget: int, retain: int) -> int:
    """Return the optimiser steps that a session would take over so many texts, without any text or model."""
    text = Example((), (), 0)
    return method.stream(batches_of(config, method, (text,) * forget, (text,) * retain, 0)).steps


# Settings that say what is done around a run's training, and not how it trains.
OF_A_RUN = ("start", "metrics", "retrained", "report_to", "title", "probes")
# A row as a person writes it: see rows_given().
Given = Row | str | Sequence[str] | Mapping[str, object]


def forget(
    model: "Loaded | PreTrainedModel",
    *,
    forget: Sequence[Given],
    retain: Sequence[Given] = (),
    general: Sequence[Given] = (),
    method: Method | str,
    tokenizer: "PreTrainedTokenizerFast | None" = None,
    tuning: str = "",
    **settings: Any,
) -> Session:
    """Return a session that makes a model forget rows in memory: iterate over it, then use its model.

        for step in forget(load("tiny-authors"), forget=rows, retain=keep, method=NPO(beta=0.1)):
            print(step.terms)

    model: what unlearn.load gives, or a transformers model together with its tokenizer. A row is a Row, a pair
    (question, answer), a text, or an object as a line of a JSONL file has it ("question" and "answer", "messages",
    "instruction" and "output"). retain: rows of the same domain to keep;
    general: rows from everywhere else. All of them are trained on: nothing is held out for scores.
    settings: fields of RunConfig such as lr, epochs, batch_size and seed; what is not said is the method's own value
    for a model of this size. ValueError for rows, settings or a method that do not fit.
    """
    roles = {
        role: rows_given(role, rows)
        for role, rows in (("forget", forget), ("retain", retain), ("general", general))
    }
    if unused := [name for name in OF_A_RUN if settings.get(name)]:
        raise ValueError(
            f"forget: {', '.join(unused)}: only a run has a use for it; leave it out, or use unlearn.run."
        )
    loaded = model if isinstance(model, Loaded) else in_memory(model, tokenizer)
    chosen = method if isinstance(method, Method) else None
    cls = type(method) if isinstance(method, Method) else method_named(method)
    tuning = tuning or cls.tuning_for("full" if loaded.size == "tiny" else "lora")
    if tuning not in cls.tunings:
        raise ValueError(f"{cls.title}: tuning must be among {', '.join(cls.tunings)}, got {tuning!r}.")
    values = cls.settings(loaded.size, tuning, loaded.base, str(settings.get("prompt", "")))
    values |= {"knobs": chosen.to_json() if chosen else values["knobs"]} | settings
    config = _config(loaded.base or IN_MEMORY, cls.name, tuning, values)
    if config.stop_rule().on:
        raise ValueError(
            "forget: stop_at, budget and keep belong to a run, which has rows to score; here look at the model after a "
            "step and leave the loop, or use unlearn.run."
        )
    data = _AllRows(name=IN_MEMORY, title="the rows given", roles=roles)
    return session_of(loaded, config, data)


class _AllRows(Dataset):
    """Rows that came as objects: whoever gives them keeps apart what shall be scored, so all are trained on."""

    def fit_rows(self, role: str) -> tuple[Row, ...]:
        return self.rows(role)


def _config(model: str, method: str, tuning: str, values: Mapping[str, object]) -> RunConfig:
    return RunConfig.from_json(
        {
            "model": model,
            "method": method,
            "tuning": tuning,
            "data": {"name": IN_MEMORY},
            "probes": 0,
            **values,
        }
    )
