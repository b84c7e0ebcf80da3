"""This module checks what can be known of a run's model before anything is loaded and before a run has a folder.

It reads headers, config.json and tokenizer.json. Each ValueError names the model, the rule and a remedy.
"""

from pathlib import Path

from unlearn.models import folders
from unlearn.models.catalogue import Parts, parts_of
from unlearn.models.embeddings import check_rows, check_words
from unlearn.models.identity import retrain_hash
from unlearn.models.load import named_hash
from unlearn.models.named.beside import format_beside
from unlearn.models.precision import check_saved
from unlearn.models.reading import reader_of, templates_of
from unlearn.store.config import RunConfig


def check_model(config: RunConfig) -> Parts:
    """Return the parts of the config's model. ValueError where they cannot be loaded, or not be trained so."""
    parts = parts_of(config.model, config.adapter)
    check_saved(parts.base, tuning=config.tuning, precision=config.precision, device="cpu")
    if parts.way == "merge" and isinstance(parts.base, Path) and folders.quantised(parts.base):
        raise ValueError(
            f"model: the adapter in {parts.adapter} belongs on rounded weights ({parts.base}), into which nothing can "
            "be added; take --adapter keep."
        )
    check_retrained(config)
    reader = reader_of(config.model, config.max_length)
    if reader is not None and (rows := rows_of(parts)):
        added = reader.tokenizer.get_added_tokens_decoder()
        check_rows(added, rows, templates_of(parts.tokenizer), config.model)
    return parts


def check_retrained(config: RunConfig) -> None:
    """Raise ValueError for a retrained model that cannot stand beside the config's: missing, the same one, or one that
    reads other tokens.
    """
    if not config.retrained:
        return
    ours = parts_of(config.model, config.adapter)
    try:
        theirs = parts_of(config.retrained)
    except ValueError as error:
        raise ValueError(f"retrained: {str(error).removeprefix('model: ')}") from None
    if ours == theirs or (retrain_hash(config.retrained) or "unknown") == named_hash(
        config.model, config.adapter
    ):
        raise ValueError(
            f"retrained: {config.retrained} is the model itself, so it cannot show what a model without these rows "
            "would say; give one that was trained without them."
        )
    format_beside(config, config.retrained)
    readers = [reader_of(name, config.max_length) for name in (config.model, config.retrained)]
    if readers[0] is None or readers[1] is None:
        return
    words = [one.tokenizer.get_vocab(with_added_tokens=True) for one in readers if one]
    check_words(config.model, words[0], config.retrained, words[1])


def rows_of(parts: Parts) -> int:
    """Return how many tokens have a row in the embeddings of the model, or 0 where that cannot be seen."""
    if parts.used and (rows := folders.embedding_rows(parts.used, folders.ADAPTER_WEIGHTS)):
        return rows
    return folders.embedding_rows(parts.base) if isinstance(parts.base, Path) else 0
