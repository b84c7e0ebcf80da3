"""This module answers a person's own prompt with a run's model before, after, or retrained."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.compute.tokens import encode
from unlearn.data.base import Row
from unlearn.data.prompts import in_format
from unlearn.measure.evaluate import prompt_of, score_tokens
from unlearn.measure.generating import generate
from unlearn.models.catalogue import allow_model, exact_retrain, source_of
from unlearn.models.hub import snapshot_here
from unlearn.models.named.beside import load_beside
from unlearn.store.config import RunConfig, formats_of
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject
from unlearn.training.encoding import encode_rows

if TYPE_CHECKING:
    from unlearn.models.load import Loaded


# Tokens of a person's own prompt and answer.
MAX_PROMPT = 2048


def load_source(when: str, run: Run, roots: Sequence[Path] | None = None) -> "Loaded":
    """Return the loaded model (models.Loaded) of a run: "before", "after" or "retrained". ValueError when the
    run keeps no weights.

    roots: folders that the run's base model may lie in; its config may have been imported.
    """
    from unlearn.models import tuning

    config = run.config
    allow_model(config.model, roots)
    allow_model(config.retrained, roots, "retrained")
    if when == "before":
        return tuning.base(config)
    if when == "retrained":
        truth = exact_retrain(config)
        if truth is None:
            raise ValueError(
                f"model: {config.model} has no exact retrain without these rows; a bundled model ships one for all "
                "rows of its own dataset, and your own is given with --retrained."
            )
        return load_beside(config, truth)
    return tuning.load_trained(run)


def start_is_here(config: RunConfig) -> bool:
    """Return whether the model that the run names lies on this machine, so that asking it fetches nothing."""
    try:
        source = source_of(config.model)
    except ValueError:
        return False
    return isinstance(source, Path) or snapshot_here(source) is not None


def answer_prompt(loaded: "Loaded", prompt: str, answer: str, max_new_tokens: int) -> JsonObject:
    """Return {"prompt", "text": greedy continuation, "tokens": scored tokens of answer, or of the text where
    answer is empty}.
    """
    text = generate(loaded.model, loaded.tokenizer, [prompt], max_new_tokens, loaded.device)[0]
    told: JsonObject = {"prompt": prompt, "text": text, "tokens": []}
    target = answer or text
    if not target.strip():
        return told
    if answer and not answer[0].isspace() and not prompt[-1].isspace():
        target = f" {answer}"
    example = encode(loaded.tokenizer, prompt, target, key=0, max_length=loaded.fit_length(MAX_PROMPT))
    return told | {"tokens": score_tokens(loaded.model, loaded.tokenizer, [example], loaded.device)[0]}


def answer_question(
    loaded: "Loaded", config: RunConfig, question: str, answer: str, max_new_tokens: int
) -> JsonObject:
    """The same for a question, put as the run puts its own: in its prompt format, under its system prompt."""
    row = Row(question=question.strip(), answer=answer.strip() or "?")
    (row,) = in_format([row], formats_of(config.prompt)[0], config.system)
    limit = loaded.fit_length(MAX_PROMPT)
    (example,) = encode_rows(loaded.tokenizer, [row], max_length=limit)
    prompt = prompt_of(loaded.tokenizer, row, example)[0]
    text = generate(loaded.model, loaded.tokenizer, [prompt], max_new_tokens, loaded.device)[0]
    told: JsonObject = {"prompt": str(prompt), "text": text, "tokens": []}
    if not answer.strip():
        if not text.strip():
            return told
        (example,) = encode_rows(loaded.tokenizer, [replace(row, answer=text.strip())], max_length=limit)
    return told | {"tokens": score_tokens(loaded.model, loaded.tokenizer, [example], loaded.device)[0]}
