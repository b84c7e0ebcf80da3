"""This module gives the rows of a run as its model reads them. Longer ones are cut, left out or refused
before anything is loaded.

The model's tokenizer.json is enough for that; no torch, no weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import cast

from unlearn.compute.lazy import Tokenizer
from unlearn.data import inputs, tofu
from unlearn.data.base import Dataset, Row
from unlearn.data.lengths import Reader, fitted, reader_in
from unlearn.data.prompts import asked_in, in_format, render
from unlearn.models import hub, taught
from unlearn.models.catalogue import parts_of
from unlearn.store.config import RunConfig, formats_of
from unlearn.store.disk import read_json
from unlearn.store.runs import Run


def reader_of(model: str, wanted: int) -> Reader | None:
    """Return the model as a reader of up to this many tokens, or None where its files are not on this
    machine.
    """
    try:
        parts = parts_of(model)
    except ValueError:
        return None
    folder, base = _reading_folder(parts.tokenizer), _reading_folder(parts.base)
    file = folder / "tokenizer.json" if folder is not None else None
    if file is None or not file.is_file():
        return None
    return _reader(file.parent, base or file.parent, model, wanted, file.stat().st_mtime_ns)


def _reading_folder(source: str | Path) -> Path | None:
    """The folder of the tokenizer's and the config's files: of a hub's model that in the hub's cache."""
    if isinstance(source, Path):
        return source
    file = hub.cached(source, "tokenizer.json")
    return file.parent if file is not None else None


@lru_cache(maxsize=8)
def _reader(folder: Path, base: Path, model: str, wanted: int, stamp: int) -> Reader | None:
    return reader_in(folder, Path(model).name, wanted, base)


def templates_of(source: str | Path) -> str:
    """Return the text of the chat template in a tokenizer's files, or "" where there is none."""
    folder = _reading_folder(source)
    if folder is None:
        return ""
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8", errors="replace")
    return str(read_json(folder / "tokenizer_config.json").get("chat_template") or "")


def as_read(dataset: Dataset, config: RunConfig) -> Dataset:
    """Return the dataset with rows that fit this run's model. Its warnings tell what was done.

    ValueError, with row and count, for rows that are refused.
    """
    if config.model == taught.NAME and dataset.name.startswith("tofu-"):
        dataset = tofu.as_taught(dataset)
    reader = reader_of(config.model, config.max_length)
    if reader is None:
        return replace(dataset, warnings=(*dataset.warnings, uncounted(config)))
    if not reader.apart and "chat" in formats_of(config.prompt):
        reader = replace(reader, chat=_chat_length(config))
    return fitted(dataset, reader, str(config.data.get("long") or ""))


def uncounted(config: RunConfig) -> str:
    """Return the sentence for rows whose tokens nobody has counted, because the model's tokenizer is not here."""
    also = " and what its chat template adds" if "chat" in formats_of(config.prompt) else ""
    return (
        f"How many tokens a row has{also} cannot be counted before tokenizer.json of {config.model} is on this "
        f"machine; a row of more than {config.max_length} tokens, or of more than the model reads, is cut without "
        "a further word."
    )


def _chat_length(config: RunConfig) -> Callable[[Row], int]:
    """How many tokens a row has in the chat template of the config's model, the one that ends the answer among them."""
    return _chat_counter(parts_of(config.model).tokenizer, config.system)


@lru_cache(maxsize=4)
def _chat_counter(source: str | Path, system: str) -> Callable[[Row], int]:
    tokenizer = _tokenizer(source)

    # A form asks for the same rows at each redraw, and a template takes half a millisecond for one.
    @lru_cache(maxsize=10_000)
    def length(row: Row) -> int:
        (asked,) = in_format([row], "chat", system)
        text = render(asked, tokenizer)
        return len(tokenizer(text.prompt + text.target, add_special_tokens=False)["input_ids"]) + 1

    return length


@lru_cache(maxsize=4)
def _tokenizer(source: str | Path) -> Tokenizer:
    from transformers import AutoTokenizer

    return cast("Tokenizer", AutoTokenizer.from_pretrained(source, local_files_only=True))


def as_asked(model: str, row: Row, prompt: str, system: str = "") -> tuple[str, str]:
    """(what the model is given, what it should say) for a row in the first format of `prompt`. ValueError, OSError."""
    (asked,) = in_format([row], formats_of(prompt)[0], system)
    text = render(asked, _tokenizer(parts_of(model).tokenizer))
    return text.prompt, text.target + text.tail


def fit_of(config: RunConfig) -> Callable[[Dataset], Dataset]:
    """Return as_read() as a function for runs with this config."""
    return lambda dataset: as_read(dataset, config)


def rows_kept(run: Run, roots: Sequence[Path] | None) -> Dataset:
    """Return the rows that a run began with. An older run that keeps none read as much of each row as its
    model could. One of before rows were kept read what its model could of each.
    """
    if inputs.known_hash(run):
        return inputs.dataset_of(run, roots=roots, fit=fit_of(run.config))
    return inputs.dataset_of(run, roots=roots)


def rows_asked(run: Run, roots: Sequence[Path] | None) -> Dataset:
    """Return the rows that a run began with in its prompt format, as its models are asked."""
    return asked_in(rows_kept(run, roots), run.config.prompt, run.config.system)
