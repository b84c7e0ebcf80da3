"""Finds the prompt format that a model is asked in: chat where its tokenizer's files hold a template."""

import contextlib
import json
from pathlib import Path

from unlearn.models import hub
from unlearn.models.entries import entry_of
from unlearn.models.hub import HUB_ID
from unlearn.models.named.parts import parts_of
from unlearn.store.config import RunConfig, formats_of


def default_prompt(model: str) -> str:
    """Return the prompt format of a run that names none: chat where the tokenizer's files hold a template,
    else plain.

    Of a model that is not on this machine yet the catalogue may know it; any other counts as one without.
    """
    entry = entry_of(model)
    if entry is not None and entry.prompt:
        return entry.prompt
    files = _tokenizer_files(model)
    if not files and entry is not None:
        return "chat" if entry.chat else "plain"
    return "chat" if any(map(_holds_template, files)) else "plain"


def check_prompt(config: RunConfig) -> None:
    """Raise ValueError for a chat without a template in the model's files, or a system prompt without a chat."""
    if config.system and "chat" not in formats_of(config.prompt):
        raise ValueError(
            f"system: a system prompt stands above a chat, and the format is {config.prompt}; choose --prompt chat, or "
            "leave it out."
        )
    files = _tokenizer_files(config.model)
    if "chat" in formats_of(config.prompt) and files and not any(map(_holds_template, files)):
        raise ValueError(
            f"prompt: the tokenizer of {config.model} has no chat template; choose --prompt plain or completion, "
            "or give the instruct version of the model."
        )


def _tokenizer_files(model: str) -> list[Path]:
    """The files on this machine that may hold the model's chat template."""
    names = ("chat_template.jinja", "tokenizer_config.json")
    where: str | Path = model
    with contextlib.suppress(ValueError):
        where = parts_of(model).tokenizer
    if isinstance(where, Path):
        return [path for name in names if (path := where / name).is_file()]
    if not HUB_ID.fullmatch(where):
        return []
    return [kept for name in names if (kept := hub.cached(where, name)) is not None]


def _holds_template(path: Path) -> bool:
    if path.suffix == ".jinja":
        return True
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False
