"""Refuses what a run is asked for and cannot do, before anything heavy is loaded and before its folder is made.

check() asks for all of it; what its method or its data cannot follow, SAM and the stop rule, is asked for again where a
session is put together. No torch.
"""

from collections.abc import Sequence
from pathlib import Path

from unlearn.data.base import Dataset
from unlearn.data.catalogue import from_config
from unlearn.methods import method_named
from unlearn.methods.base import Method
from unlearn.models.catalogue import allow_model, bring_reading, check_prompt, exact_retrain, parts_of
from unlearn.models.checks import check_model
from unlearn.models.load import check_hub
from unlearn.models.precision import check as check_precision
from unlearn.models.reading import as_read
from unlearn.store.runs import RunConfig, RunStore
from unlearn.store.stop_rule import BUDGETS, TARGET
from unlearn.work import trackers
from unlearn.work.identity import check_start_rows


def check(config: RunConfig, roots: Sequence[Path] | None = None, store: RunStore | None = None) -> None:
    """Raise ValueError for what can be known to be wrong before anything heavy is loaded. It reads the data.

    roots as in allowed.allowed_path: the app's allowed folders, or all for the command line. store: where the run that
    config.start names must be.
    """
    method = method_named(config.method)
    chosen = method.from_knobs(config.knobs)
    if config.tuning not in method.tunings:
        raise ValueError(
            f"{method.title}: tuning must be among {', '.join(method.tunings)}, got {config.tuning}."
        )
    if method.follows and not config.start:
        raise ValueError(
            f"{method.title}: it is a step after a finished run; give the run it follows: unlearn {method.name} RUN."
        )
    if config.memory == "lean" and not method.leans:
        raise ValueError(
            f"{method.title}: it trains in a loop of its own, so memory must be usual, got {config.memory}."
        )
    check_precision(config.precision)
    allow_model(config.model, roots)
    allow_model(config.retrained, roots, "retrained")
    for name in filter(None, (config.model, config.retrained)):
        bring_reading(name)
        # The base that an adapter names is known now.
        allow_model(name, roots)
    parts = check_model(config)
    check_prompt(config)
    trackers.check(config.report_to)
    data = as_read(from_config(dict(config.data), roots), config)
    chosen.rows(config.model, data)
    check_sam(config, chosen)
    check_stop_rule(config, chosen, data)
    if isinstance(parts.base, str):
        check_hub(parts.base)
    if config.retrained and isinstance(truth := parts_of(config.retrained).base, str):
        check_hub(truth)
    if config.start and store is not None:
        from unlearn.models.tuning import check_start

        start = store.get(config.start)
        check_start(config, start)
        check_start_rows(config, start, data)


def check_sam(config: RunConfig, method: Method) -> None:
    """Raise ValueError where SAM is on for a method that has no gradient of a forget term."""
    if config.sam and not method.forget_terms:
        raise ValueError(
            f"{method.title}: sam must be 0, got {config.sam:g}: no gradient of a forget term moves its weights. Set "
            "sam to 0, or choose a method with a forget term such as npo."
        )


def check_stop_rule(config: RunConfig, method: Method, data: Dataset) -> None:
    """Raise ValueError for a stop rule that the run cannot follow: a method without results between its steps, no
    target, or no rows of a budget's role.
    """
    rule = config.stop_rule()
    if not rule.on:
        return
    if not method.early:
        raise ValueError(
            f"{method.title}: stop_at, budget and keep need a method whose weights are a result after every step, and "
            "this one's are not before its last. Leave them out, or choose another method."
        )
    for name in rule.limits:
        if not data.score_rows(role := BUDGETS[name].role):
            raise ValueError(
                f"run: budget {name} reads rows of the role {role}, and {data.title} has none; leave it out, or give "
                f"such rows."
            )
    if rule.needs_target and rule.given is None and not by_itself(config, data):
        raise ValueError(
            f"run: {f'stop_at {TARGET}' if rule.stop_at else 'keep best'} needs the exact retrain of this model or "
            f"rows never seen (role approximate), and {data.title} has neither here; give stop_at a number such as "
            "0.1, or --retrained MODEL."
        )


def by_itself(config: RunConfig, data: Dataset) -> bool:
    """Return whether there is a target without a number: the exact retrain, or rows that the model never saw."""
    return exact_retrain(config) is not None or bool(data.score_rows("approximate"))


def waits_for_retrained(config: RunConfig) -> bool:
    """Return whether the retrained model must be scored before the training, since the rule's target is its value."""
    rule = config.stop_rule()
    return rule.needs_target and rule.given is None and exact_retrain(config) is not None
