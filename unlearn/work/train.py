"""The training of a run: tuning, reference and batches, then the method's own loop with checkpoints and probes.

The mathematics is the method's and the loop is train.py's; here is what makes them a run that can be watched, stopped,
killed and gone on from.
"""

import math
import time
from dataclasses import asdict, replace
from typing import Any

from unlearn.compute.checkpointing import checkpointed
from unlearn.data.base import Dataset, Row
from unlearn.measure.probes import Probes
from unlearn.models import tuning
from unlearn.store.disk import cache_dir
from unlearn.store.studies import Stopped
from unlearn.training.batches import Batches, batches_of, encode_rows
from unlearn.training.loop import Diverged, Phases, load_checkpoint, make_optimizer, save_checkpoint
from unlearn.training.reference import Reference
from unlearn.work.phases import Work

CHECKPOINT_SECONDS = 20.0  # a checkpoint costs disk and time; at most this much work is lost to a kill


def train(work: Work, method: Any, loaded: Any, data: Dataset, chosen: dict[str, list[Row]]) -> int:
    """Prepare tuning, reference and batches; train; returns the tokens read."""
    run, config = work.run, work.config
    model = loaded.model = tuning.install(loaded.model, config, method)
    stream = stream_of(work, method, loaded, data)
    ref = reference_of(work, method, loaded, stream)
    optimizer = make_optimizer(model, config.lr)
    folder = run.path / "checkpoint"
    work.step = load_checkpoint(folder, model, optimizer) if run.has_checkpoint() else 0
    last = run.events("step")[-1:] if work.step else []
    before, spent = (sum(e[name] for e in last) for name in ("tokens", "seconds"))
    order = method.stream(stream)
    probes = Probes(run, loaded, chosen, order.steps, work.length)
    tokens, saved = before, time.perf_counter()

    def note(done: Any) -> None:
        work.step = done.step
        counted = replace(done, tokens=before + done.tokens, seconds=spent + done.seconds)
        run.append("step", **asdict(counted))

    every = CHECKPOINT_SECONDS if method.resumes else math.inf
    with work.phase("training"), checkpointed(model, config.checkpointing or bool(loaded.where)):
        if work.step == 0:
            probes.record(0)
        fit = Phases(model, order, optimizer, lr=config.lr, device=loaded.device, start=work.step)
        fit.note, fit.cache = work.note, cache_dir() / config.method
        steps = method.unlearn(model, ref, fit)
        try:
            for done in steps:
                note(done)
                tokens = before + done.tokens
                work.on_progress("training", done.step / done.of)
                if probes.due(done.step, done.of):
                    probes.record(done.step)
                due = time.perf_counter() - saved > every and done.step < done.of
                if due and fit.resumable:
                    save_checkpoint(folder, model, optimizer, done.step)
                    saved = time.perf_counter()
                work.check()
        except Stopped:
            if method.resumes and fit.resumable:
                save_checkpoint(folder, model, optimizer, work.step)
            tuning.save(loaded, config, run.path)
            raise
        except Diverged as error:
            note(error.step)
            raise
        work.told = fit.told
        probes.record(work.step)
        optimizer.zero_grad(set_to_none=True)  # the model may stay warm; its gradients need not
    return tokens


def reference_of(work: Work, method: Any, loaded: Any, stream: Batches) -> Reference:
    """What the method needs of the model as it was, read before anything moves."""
    config, model = work.config, loaded.model
    with work.phase("reference"):
        moves = config.tuning == "full" and "states" in method.needs_ref.values()
        ref = Reference(model, head_moves=moves, folder=work.run.path)
        if config.start:
            ref.untouched = lambda: tuning.untouched(loaded, config)
        method.prepare(model, ref, stream, loaded.tokenizer)
        if told := ref.shelf.words():
            work.note(told)
        if labels := ref.label_table(stream.forget, loaded.tokenizer):
            work.run.append("note", labels=labels)
    return ref


def stream_of(work: Work, method: Any, loaded: Any, data: Dataset) -> Batches:
    """The run's batches: the method's rows of the data, encoded."""
    config = work.config
    forget_rows, retain_rows = method.rows(config.model, data)
    encoded = encode_rows(loaded.tokenizer, [*forget_rows, *retain_rows], max_length=work.length)
    cut = len(forget_rows)
    return batches_of(config, method, encoded[:cut], encoded[cut:], loaded.pad_id)
