"""This module continues a text greedily from each of its prefixes with few generations.

While the next true token is the argmax, greedy decoding follows the text; so the continuation from a prefix is the
true text up to the first place where the argmax departs from it, and then the continuation from there. Only the
places of departure are generated: none for a memorised text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from unlearn.compute.lazy import no_grad, torch
from unlearn.compute.tokens import Example
from unlearn.measure.evaluate import GREEDY

if TYPE_CHECKING:
    from unlearn.models.load import Loaded


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

    read(tokens, fraction) is called after each batch. Prefixes of one length share a batch: none is padded.
    """
    wanted = [(i, d) for i, t in enumerate(texts) for d in sorted(set(t.departs.values()) - {len(t.answer)})]

    def shape(want: tuple[int, int]) -> tuple[int, int]:
        text = texts[want[0]]
        return text.example.answer_at[want[1]], len(text.example.source)

    made: dict[tuple[int, int], list[int]] = {}
    for _, same in groupby(sorted(wanted, key=shape), key=shape):
        group = list(same)
        for part in (group[at : at + BATCH] for at in range(0, len(group), BATCH)):
            chosen = [(texts[i].example, texts[i].example.answer_at[d]) for i, d in part]
            rooms = [len(texts[i].answer) - d for i, d in part]
            prefixes = [e.input_ids[:at] for e, at in chosen]
            found = continue_ids(loaded, prefixes, [e.source for e, _ in chosen], max(rooms))
            made |= {want: ids[:room] for want, ids, room in zip(part, found, rooms, strict=True)}
            read(sum(map(len, prefixes)) + sum(map(len, found)), len(made) / len(wanted))
    return [
        (t.answer, {at: [*t.answer[at:d], *made.get((i, d), [])] for at, d in t.departs.items()})
        for i, t in enumerate(texts)
    ]


@no_grad
def continue_ids(
    loaded: "Loaded", prefixes: Sequence[Sequence[int]], sources: Sequence[Sequence[int]], room: int
) -> list[list[int]]:
    """Return the greedy continuations of prefixes of one length. They have at most `room` tokens and stop at
    the end of text.

    sources: what an encoder reads, all of one length; empty for a decoder-only model.
    """
    tokenizer, ids = loaded.tokenizer, torch.tensor(prefixes, device=loaded.device)
    given = {"input_ids": ids}
    if sources[0]:
        given = {"input_ids": torch.tensor(sources, device=loaded.device), "decoder_input_ids": ids}
    out = loaded.model.generate(
        **given,
        attention_mask=torch.ones_like(given["input_ids"]),
        max_new_tokens=room,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **GREEDY,
    )
    rows, eos = out[:, ids.shape[1] :].tolist(), tokenizer.eos_token_id
    return [row[: row.index(eos)] if eos in row else row for row in rows]


def _spread(count: int) -> list[int]:
    """0 … count - 1, or MOST_PREFIXES of them, evenly spread."""
    if count <= MOST_PREFIXES:
        return list(range(max(0, count)))
    return sorted({round(i * (count - 1) / (MOST_PREFIXES - 1)) for i in range(MOST_PREFIXES)})
