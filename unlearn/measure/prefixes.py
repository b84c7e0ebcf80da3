"""This module continues a text greedily from each of its prefixes with few generations.

While the next true token is the argmax, greedy decoding follows the text; so the continuation from a prefix is the
true text up to the first place where the argmax departs from it, and then the continuation from there. Only the
places of departure are generated: none for a memorised text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from unlearn.compute.lazy import continuing, no_grad
from unlearn.compute.tokens import Example
from unlearn.measure.generating import by_library, continue_places

if TYPE_CHECKING:
    from unlearn.models.load import Loaded


# A text's number, and a place among its answer tokens.
Place = tuple[int, int]

BATCH = 64
# The most prefixes of one text. A longer text is continued from this many places, evenly spread.
MOST_PREFIXES = 64
# Tokens that must follow a prefix: the smallest n of EL_n.
LEAST_LEFT = 3


@dataclass(frozen=True)
class Text:
    """One text with the places at which its greedy continuations leave it.

    answer: its tokens without the end of text. departs: {place: the first place from there on that must be
    generated}.
    """

    example: Example
    answer: list[int]
    departs: Mapping[int, int]


def plan(example: Example, ranks: Sequence[int], eos: int | None) -> Text:
    """Return what must be generated for one text. ranks: those of its answer tokens, 0 for the argmax."""
    answer = list(example.answer_ids)
    if answer[-1] == eos:
        answer.pop()
    missed = [t for t in range(len(answer)) if ranks[t] != 0]
    starts = _spread(len(answer) - LEAST_LEFT + 1)
    departs = {t: next((d for d in missed if d >= t), len(answer)) for t in starts}
    return Text(example, answer, departs)


def continue_all(
    loaded: "Loaded", texts: Sequence[Text], read: Callable[[int, float], None]
) -> list[tuple[list[int], dict[int, list[int]]]]:
    """Return for each text (answer, {place: greedy continuation from there, as long as the true one}).

    read(tokens, fraction) is called after each batch.
    """
    wanted = [(i, d) for i, t in enumerate(texts) for d in sorted(set(t.departs.values()) - {len(t.answer)})]
    longest = max((len(t.example.input_ids) for t in texts), default=0)
    if not loaded.model.config.is_encoder_decoder and continuing.continues(loaded.model, longest):
        found = _together(loaded, texts, wanted, read)
    else:
        found = _by_length(loaded, texts, wanted, read)
    made = dict(zip(wanted, found, strict=True))
    return [
        (t.answer, {at: [*t.answer[at:d], *made.get((i, d), [])] for at, d in t.departs.items()})
        for i, t in enumerate(texts)
    ]


def _together(
    loaded: "Loaded", texts: Sequence[Text], wanted: Sequence[Place], read: Callable[[int, float], None]
) -> list[list[int]]:
    """From one pass over each text, whatever its prefixes."""
    starts = []
    for i, d in wanted:
        example = texts[i].example
        at = example.answer_at[d]
        starts.append(continuing.Start(i, at - 1, example.input_ids[at - 1], len(texts[i].answer) - d))
    ids = [list(text.example.input_ids) for text in texts]
    return continue_places(loaded.model, ids, starts, _ends(loaded), read)


def _by_length(
    loaded: "Loaded", texts: Sequence[Text], wanted: Sequence[Place], read: Callable[[int, float], None]
) -> list[list[int]]:
    """By the library. Prefixes of one length share a batch, so that none is padded."""

    def shape(want: Place) -> tuple[int, int]:
        example = texts[want[0]].example
        return example.answer_at[want[1]], len(example.source)

    made: dict[Place, list[int]] = {}
    for _, same in groupby(sorted(wanted, key=shape), key=shape):
        group = list(same)
        for part in (group[at : at + BATCH] for at in range(0, len(group), BATCH)):
            prefixes = [texts[i].example.input_ids[: texts[i].example.answer_at[d]] for i, d in part]
            rooms = [len(texts[i].answer) - d for i, d in part]
            found = continue_ids(loaded, prefixes, [texts[i].example.source for i, _ in part], max(rooms))
            made |= {want: ids[:room] for want, ids, room in zip(part, found, rooms, strict=True)}
            read(sum(map(len, prefixes)) + sum(map(len, found)), len(made) / len(wanted))
    return [made[want] for want in wanted]


@no_grad
def continue_ids(
    loaded: "Loaded", prefixes: Sequence[Sequence[int]], sources: Sequence[Sequence[int]], room: int
) -> list[list[int]]:
    """Return the greedy continuations of prefixes of one length. They have at most `room` tokens and stop at
    the end of text.

    sources: what an encoder reads, all of one length; empty for a decoder-only model.
    """
    ends = _ends(loaded)
    rows = by_library(loaded.model, loaded.tokenizer, prefixes, sources, room, ends, loaded.device)
    cut = [next((n for n, token in enumerate(row) if token in ends), len(row)) for row in rows]
    return [row[:n] for row, n in zip(rows, cut, strict=True)]


def _ends(loaded: "Loaded") -> list[int]:
    """The end of text alone: a text may say what elsewhere ends an answer."""
    eos = loaded.tokenizer.eos_token_id
    return [] if eos is None else [eos]


def _spread(count: int) -> list[int]:
    """0 … count - 1, or MOST_PREFIXES of them, evenly spread."""
    if count <= MOST_PREFIXES:
        return list(range(max(0, count)))
    return sorted({round(i * (count - 1) / (MOST_PREFIXES - 1)) for i in range(MOST_PREFIXES)})
