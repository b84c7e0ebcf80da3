"""A person's own prompt to the model before, after, or retrained: load it from the run's folder and answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.compute.tokens import encode
from unlearn.measure.evaluate import generate, score_tokens
from unlearn.models.catalogue import allow_model, exact_retrain
from unlearn.models.load import load
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    from unlearn.models.load import Loaded


# Tokens of a person's own prompt and answer.
MAX_PROMPT = 2048


def load_source(when: str, run: Run, roots: Sequence[Path] | None = None) -> Any:
    """models.Loaded for ("before" | "after" | "retrained", run). ValueError when the run keeps no weights.

    roots: folders that the run's base model may lie in; its config may have been imported.
    """
    from unlearn.models import tuning

    config = run.config
    allow_model(config.model, roots)
    if when == "before":
        return tuning.base(config)
    if when == "retrained":
        truth = exact_retrain(config)
        if truth is None:
            raise ValueError(
                f"model: {config.model} has no exact retrain without these rows; only a bundled model ships one, for "
                "all rows of its own dataset."
            )
        return load(str(truth))
    return tuning.load_trained(run)


def answer_prompt(loaded: "Loaded", prompt: str, answer: str, max_new_tokens: int) -> JsonObject:
    """{"text": greedy continuation, "tokens": scored tokens of answer, or of the text where answer is empty}."""
    text = generate(loaded.model, loaded.tokenizer, [prompt], max_new_tokens, loaded.device)[0]
    target = answer or text
    if not target.strip():
        return {"text": text, "tokens": []}
    if answer and not answer[0].isspace() and not prompt[-1].isspace():
        target = f" {answer}"
    example = encode(loaded.tokenizer, prompt, target, key=0, max_length=loaded.fit_length(MAX_PROMPT))
    return {"text": text, "tokens": score_tokens(loaded.model, loaded.tokenizer, [example], loaded.device)[0]}
