"""This module treats rows that are longer than a model reads. They are reported with their numbers, cut into
windows, left out, or refused.

Counted with the model's tokenizer.json alone, so neither torch nor the weights are needed.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.data.base import ROLES, Dataset, Row

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WINDOWS, SKIP, REFUSE, NOTE = "windows", "skip", "refuse", "note"
LONG = (WINDOWS, SKIP, REFUSE)
POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length")
# Tokens kept free in a window: marks of begin and end, and a word that is cut otherwise when it stands
# first.
SPARE = 3
NAMED = 3
# Lists of texts whose counts a reader keeps: a form asks for the same ones at each redraw.
KEPT = 64


@dataclass(frozen=True)
class Reader:
    """A model as a reader of rows: its name, its tokenizer, and how many tokens of a row it reads."""

    name: str
    tokenizer: "Tokenizer"
    limit: int
    # Whether an encoder reads the prompt and a decoder the answer, each up to limit.
    apart: bool = False
    # How many the model itself could read, where limit is less by the setting max_length; 0 where it is not known.
    most: int = 0
    # Tokens of a question and its answer in a chat, the template's own among them; None where nothing is asked so.
    chat: Callable[[Row], int] | None = None
    # What was counted, by a digest of the texts, which may be long.
    _known: dict[bytes, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)

    def lengths(self, rows: Sequence[Row]) -> list[int]:
        """Return the number of tokens of each row, with its end-of-text token. For an encoder-decoder it is
        the longer of the two sides.
        """
        if not self.apart:
            plain = [count + 1 for count in self.count([row.prompt + row.target for row in rows])]
            if self.chat is None:
                return plain
            return [
                max(tokens, self.chat(row)) if row.question else tokens
                for row, tokens in zip(rows, plain, strict=True)
            ]
        prompts = self.count([row.prompt for row in rows])
        return [max(a, b) + 1 for a, b in zip(prompts, self.count([r.target for r in rows]), strict=True)]

    def count(self, texts: Sequence[str]) -> tuple[int, ...]:
        """Return the number of tokens of each text."""
        key = _digest(texts)
        if (known := self._known.get(key)) is None:
            known = tuple(len(one.ids) for one in self.tokenizer.encode_batch(list(texts)))
            for oldest in list(self._known)[: max(0, len(self._known) + 1 - KEPT)]:
                self._known.pop(oldest, None)
            self._known[key] = known
        return known

    def windows(self, row: Row) -> list[Row]:
        """Return the text in pieces that fit, cut between words where possible. Each piece is a text of its
        own.
        """
        spans = self.tokenizer.encode(row.answer, add_special_tokens=False).offsets
        room = max(1, self.limit * (2 if self.apart else 1) - SPARE)
        pieces, at = [], 0
        while at < len(spans):
            end = min(at + room, len(spans))
            start, stop = spans[at][0], spans[end - 1][1]
            if end < len(spans):
                blank = max(row.answer.rfind(mark, start + 1, stop) for mark in " \n\t")
                if blank > start + (stop - start) // 2:
                    stop = blank
                    end = next((i for i in range(at + 1, end) if spans[i][1] > stop), end)
            pieces.append((start, stop))
            at = end
        return [_piece(row, start, stop) for start, stop in pieces if row.answer[start:stop].strip()]


def _digest(texts: Sequence[str]) -> bytes:
    """A digest of texts in their order, which no other texts have."""
    said = hashlib.blake2b(digest_size=16)
    for text in texts:
        coded = text.encode("utf-8", "surrogatepass")
        said.update(len(coded).to_bytes(8, "little") + coded)
    return said.digest()


def reader_in(folder: Path, name: str, wanted: int, base: Path | None = None) -> Reader | None:
    """Return the reader whose tokenizer.json and config.json are in a model's folder, or None without them.

    base: the folder of config.json where it is another one, as it is for an adapter.
    """
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    # The library raises errors of no narrower type. A folder that cannot be read is refused elsewhere, with a
    # message.
    try:
        tokenizer = Tokenizer.from_file(str(file))
        config = json.loads(((base or folder) / "config.json").read_text(encoding="utf-8"))
    except Exception:
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    config = config if isinstance(config, dict) else {}
    inner = text if isinstance(text := config.get("text_config"), dict) else config
    known = [value for key in POSITIONS if isinstance(value := inner.get(key), int) and value > 0]
    apart = bool(config.get("is_encoder_decoder"))
    return Reader(
        name, tokenizer, min([wanted, *known[:1]]) if not apart else wanted, apart, most=max([0, *known[:1]])
    )


def fitted(dataset: Dataset, reader: Reader | None, long: str = "") -> Dataset:
    """Return the dataset as the model reads it, with its warnings completed.

    long: one of LONG. "" cuts texts into windows and refuses questions, and NOTE changes nothing. ValueError,
    with row and count, for rows that are refused.
    """
    if long not in ("", NOTE, *LONG):
        raise ValueError(f"data: long must be one of {', '.join(LONG)}, got {long!r}.")
    if reader is None:
        return dataset
    roles, notes = dict(dataset.roles), list(dataset.warnings)
    for role in ROLES:
        rows = dataset.rows(role)
        lengths = reader.lengths(rows) if rows else []
        over = {at for at, tokens in enumerate(lengths) if tokens > _most(reader, rows[at])}
        if over:
            said = _said(dataset, role, rows, over, lengths, reader)
            roles[role], note = _mended(role, rows, over, reader, long, said)
            notes.append(note)
    return replace(dataset, roles=roles, warnings=tuple(notes)) if notes else dataset


def _most(reader: Reader, row: Row) -> int:
    return reader.limit * (2 if reader.apart and not row.prompt else 1)


def _mended(
    role: str, rows: Sequence[Row], over: set[int], reader: Reader, long: str, said: str
) -> tuple[tuple[Row, ...], str]:
    """(rows that fit, what was done). ValueError where that is a refusal."""
    asked = {at for at in over if rows[at].prompt}
    if long == NOTE:
        texts = len(over) - len(asked)
        then = "cuts it into windows" if not asked else "refuses it, unless --long skip leaves it out"
        mixed = f"; the {texts} texts among them are cut into windows" if asked and texts else ""
        return tuple(rows), f"{said}. A run {then}{mixed}."
    if long == REFUSE or (asked and long != SKIP):
        raise ValueError(
            f"{said}. Shorten it; leave such rows out with --long skip"
            f"{'' if asked else '; or cut them with --long windows'}; or {_wider(reader)}."
        )
    kept = [row for at, row in enumerate(rows) if at not in over]
    if long == SKIP:
        if not kept and role == "forget":
            raise ValueError(f"{said}. None is left; {_wider(reader)}.")
        return tuple(kept), f"{said}, and left out."
    made = [piece for at, row in enumerate(rows) for piece in (reader.windows(row) if at in over else (row,))]
    pieces = len(made) - len(kept)
    return tuple(made), f"{said}, and cut into {pieces} windows that fit."


def _wider(reader: Reader) -> str:
    """How more of a row can be read: by the setting that cuts it, or else by another model."""
    if reader.most <= reader.limit:
        return "choose a model that reads more"
    return f"raise --max-length, which is {reader.limit:,} (the model reads {reader.most:,})"


def _said(
    dataset: Dataset, role: str, rows: Sequence[Row], over: set[int], lengths: Sequence[int], reader: Reader
) -> str:
    first = sorted(over)[:NAMED]
    shown = ", ".join(f"row {rows[at].place or at + 1} of {lengths[at]:,} tokens" for at in first)
    more = " …" if len(over) > NAMED else ""
    count = "1 row is" if len(over) == 1 else f"{len(over)} rows are"
    return (
        f"{role} of {dataset.name}: {count} longer than the {reader.limit} tokens that {reader.name} reads of a row "
        f"({shown}{more})"
    )


def _piece(row: Row, start: int, stop: int) -> Row:
    """Part of a text, with the entity spans that lie wholly in it."""
    text = row.answer[start:stop]
    start += len(text) - len(text.lstrip())
    text = text.strip()
    spans = tuple((a - start, b - start) for a, b in row.entities if start <= a and b <= start + len(text))
    return replace(row, answer=text, entities=spans, wrong=(), paraphrase="", asked_otherwise="")
