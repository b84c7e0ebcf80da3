"""This module checks what can be known of a run's model before anything is loaded and before a run has a folder.

It reads headers, config.json and tokenizer.json. Each ValueError names the model, the rule and a remedy.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from unlearn.models import folders
from unlearn.models.catalogue import Parts, parts_of
from unlearn.models.precision import check_saved
from unlearn.models.reading import reader_of, templates_of
from unlearn.store.config import RunConfig


class AddedToken(Protocol):
    """What is read of a token that was added to a tokenizer."""

    content: str
    special: bool


def check_model(config: RunConfig) -> Parts:
    """Return the parts of the config's model. ValueError where they cannot be loaded, or not be trained so."""
    parts = parts_of(config.model, config.adapter)
    check_saved(parts.base, tuning=config.tuning, precision=config.precision, device="cpu")
    if parts.way == "merge" and isinstance(parts.base, Path) and folders.quantised(parts.base):
        raise ValueError(
            f"model: the adapter in {parts.adapter} belongs on rounded weights ({parts.base}), into which nothing can "
            "be added; take --adapter keep."
        )
    reader = reader_of(config.model, config.max_length)
    if reader is not None and (rows := rows_of(parts)):
        added = reader.tokenizer.get_added_tokens_decoder()
        check_rows(added, rows, templates_of(parts.tokenizer), config.model)
    return parts


def rows_of(parts: Parts) -> int:
    """Return how many tokens have a row in the embeddings of the model, or 0 where that cannot be seen."""
    if parts.used and (rows := folders.embedding_rows(parts.used, folders.ADAPTER_WEIGHTS)):
        return rows
    return folders.embedding_rows(parts.base) if isinstance(parts.base, Path) else 0


def check_rows(added: Mapping[int, AddedToken], rows: int, template: str, name: str) -> None:
    """Raise ValueError for added tokens that a text or the chat template can hold and that have no row in the
    embeddings.

    A special token that no template holds is never read here, since marks in a text stay letters: some published
    tokenizers have such ones.
    """
    lacking = [
        token.content
        for place, token in sorted(added.items())
        if place >= rows and (not token.special or token.content in template)
    ]
    if lacking:
        raise ValueError(
            f"model: the tokenizer of {name} has {len(lacking)} added tokens without a row in the embeddings "
            f"({', '.join(lacking[:3])}; {rows} rows); call model.resize_token_embeddings(len(tokenizer)), train the "
            "new rows, and save model and tokenizer again."
        )
