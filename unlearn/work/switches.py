"""Refuses the switches of a run that its method or its data cannot follow: the stop rule and SAM. No torch."""

from unlearn.data.base import Dataset
from unlearn.methods.base import Method
from unlearn.models.catalogue import exact_retrain
from unlearn.store.config import RunConfig
from unlearn.store.stop_rule import BUDGETS, TARGET


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
            f"rows of the role approximate, and {data.title} has neither here; give stop_at a number such as 0.1, or "
            "--retrained MODEL."
        )


def by_itself(config: RunConfig, data: Dataset) -> bool:
    """Return whether there is a target without a number: the exact retrain, or rows that the model never saw."""
    return exact_retrain(config) is not None or bool(data.score_rows("approximate"))


def waits_for_retrained(config: RunConfig) -> bool:
    """Return whether the retrained model must be scored before the training, since the rule's target is its value."""
    rule = config.stop_rule()
    return rule.needs_target and rule.given is None and exact_retrain(config) is not None
