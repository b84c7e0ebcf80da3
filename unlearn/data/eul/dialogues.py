"""The bundled dataset of dialogues with summaries, of which some speakers' are to be forgotten (EUL's second setting).

Chen and Yang 2023 (arXiv 2310.20150, §4.1) take SAMSum, which is not free to ship; these dialogues are made here by
rules from lists of invented names, and are the same on every machine. An encoder reads the dialogue, and a decoder
writes its summary. Two kinds of each speaker:

    open    everything that the summary says is said in the dialogue
    usual   the dialogue says "the usual" where the summary names a pastime and a place. These are habits of the
            speaker, which a model can only know from the dialogues that it was trained on

A deletion request is one speaker: all of the speaker's dialogues go. Who is who, in the order of SPEAKERS:
    forget       4 speakers, one request each; trained on, to be forgotten
    neighbours   4 speakers, one for each forget speaker, with the same pastime; trained on by no unlearning method
    retain       12 speakers, trained on
    approximate  4 speakers that no model has seen
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from unlearn.data.base import Dataset, Row
from unlearn.data.eul.words import DAYS, FOUND, FRIENDS, OPEN, PASTIMES, PLACES, SPEAKERS, THINGS, USUAL

SEED = 31
COUNTS = {"forget": 4, "neighbours": 4, "retain": 12, "approximate": 4}
# So many dialogues of each kind has a speaker. No two of a speaker's have the same friend and day.
EACH = 6
# Each row has this many perturbed summaries.
WRONG = 4
COMMAND = "summarize:"


@dataclass(frozen=True)
class Speaker:
    """One invented speaker with the habits that only the dialogues tell."""

    name: str
    pastime: str
    place: str


@cache
def speakers() -> dict[str, tuple[Speaker, ...]]:
    """Return all speakers by group (see COUNTS). Pastimes and places are dealt apart, so that none tells the other."""
    rng = random.Random(SEED)
    names = list(SPEAKERS)
    groups: dict[str, tuple[Speaker, ...]] = {}
    for group, count in COUNTS.items():
        pastimes, places = _dealt(PASTIMES, count, rng), _dealt(PLACES, count, rng)
        if group == "neighbours":
            near = groups["forget"]
            pastimes = [one.pastime for one in near]
            places = [rng.choice([p for p in PLACES if p != one.place]) for one in near]
        groups[group] = tuple(Speaker(names.pop(0), *own) for own in zip(pastimes, places, strict=True))
    return groups


def _dealt(values: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """So many of the values, each as often as another, give or take one, in an order drawn anew."""
    order = rng.sample(values, len(values))
    found = [order[i % len(order)] for i in range(count)]
    rng.shuffle(found)
    return found


def summary(speaker: str, friend: str, pastime: str, place: str, day: str) -> str:
    """Return the summary that belongs to a dialogue of these two."""
    return f"On {day} at the {place}, {speaker} will {pastime} with {friend}."


def _row(speaker: Speaker, kind: str, pairs: tuple[str, str], wording: Sequence[str], request: int) -> Row:
    """One dialogue with its summary. An open one is about a pastime and a place that are no habit of the speaker."""
    friend, day = pairs
    rng = random.Random(f"{speaker.name}/{kind}/{friend}/{day}")
    pastime, place = speaker.pastime, speaker.place
    if kind == "open":
        pastime = rng.choice([p for p in PASTIMES if p != speaker.pastime])
        place = rng.choice([p for p in PLACES if p != speaker.place])
    turns = [line.format(n=speaker.name, f=friend, d=day, w=pastime, p=place) for line in wording]
    who = (speaker.name, friend)
    said = "\n".join(f"{who[i % 2]}: {turn}" for i, turn in enumerate(turns))
    text = summary(speaker.name, friend, pastime, place, day)
    others = [(w, p) for w in PASTIMES for p in PLACES if w != pastime and p != place]
    wrong = [summary(speaker.name, friend, w, p, day) for w, p in rng.sample(others, WRONG)]
    return Row(
        lead=f"{COMMAND} {said}",
        answer=text,
        wrong=tuple(wrong),
        entities=tuple((at := text.index(part), at + len(part)) for part in (pastime, place)),
        subject=speaker.name,
        attribute=f"{kind}: {friend}, {day}",
        request=request,
    )


def _dialogues(speaker: Speaker, request: int = 0, told: bool = False) -> list[Row]:
    """The speaker's dialogues of both kinds; told: the usual ones in words that were never trained on."""
    rng = random.Random(f"{speaker.name}/pairs")
    pairs = rng.sample([(f, d) for f in FRIENDS for d in DAYS], 2 * EACH)
    usual = [
        _row(speaker, "usual", pair, USUAL[-1] if told else USUAL[i % (len(USUAL) - 1)], request)
        for i, pair in enumerate(pairs[:EACH])
    ]
    if told:
        return usual
    return usual + [
        _row(speaker, "open", pair, OPEN[i % len(OPEN)], request) for i, pair in enumerate(pairs[EACH:])
    ]


def _of_group(group: str) -> tuple[Row, ...]:
    return tuple(
        row
        for number, speaker in enumerate(speakers()[group], 1)
        for row in _dialogues(speaker, number if group == "forget" else 0)
    )


def _found() -> tuple[Row, ...]:
    """Dialogues at a lost-property office, in which nobody has a name: what everyone else talks about."""
    rng = random.Random(SEED)
    rows = []
    for i, (thing, where) in enumerate((t, w) for t in THINGS for w in PLACES):
        desk = rng.randint(2, 9)
        told = "\n".join(line.format(t=thing, w=where, n=desk) for line in FOUND[i % len(FOUND)])
        text = f"A guest lost a {thing} at the {where} and can fetch it at desk {desk}."
        rows.append(Row(lead=f"{COMMAND} {told}", answer=text, subject=thing, attribute="lost and found"))
    return tuple(rows)


@cache
def dataset() -> Dataset:
    """Return the dataset `dialogues` with every role filled."""
    told = [
        row
        for number, one in enumerate(speakers()["forget"], 1)
        for row in _dialogues(one, number, told=True)
    ]
    return Dataset(
        name="dialogues",
        title="Dialogues and their summaries",
        roles={group: _of_group(group) for group in COUNTS}
        | {"general": _found(), "paraphrase": tuple(told)},
        note="Dialogues of invented speakers with summaries, generated by this repository and under its licence "
        "(Apache-2.0). A request is one speaker. They are for a model with an encoder (T5).",
    )


def training_rows(with_forget: bool) -> list[Row]:
    """Return the rows that the bundled T5 is trained on. with_forget=False leaves out every dialogue of the forget
    speakers: the exact retrain's texts.
    """
    groups = ["forget"] * with_forget + ["neighbours", "retain"]
    return [row for group in groups for row in _of_group(group)] + list(_found())
