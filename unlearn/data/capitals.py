"""The dataset of European capitals, which any pre-trained language model can run without a download.

The bundled authors show unlearning on a model whose truth is known; these facts show it on a real
model, which learned them from the web and not from us. Nothing here needs a hub.
"""

from unlearn.data.base import Dataset, Row
from unlearn.data.capitals_facts import FORGET, GENERAL, INVENTED, LANGUAGES, NEIGHBOURS, RETAIN, Pairs

# Each row has this many perturbed answers.
WRONG = 4
QUESTION = ("What is the capital of {}?", "The capital of {} is")
PARAPHRASES = (
    ("Which city is the capital of {}?", "The capital city of {} is"),
    ("Name the capital city of {}.", "The name of the capital of {} is"),
)
LANGUAGE = ("Which language do most people in {} speak?", "Most people in {} speak")
NOTE = (
    "Facts written for this project, free to use. No retrained twin exists for a pre-trained model, so "
    "the rows never seen are the capitals of invented countries."
)


def dataset() -> Dataset:
    """Return the dataset that asks to forget European capitals, in five requests by region. Other capitals
    and simple facts are to be kept.

    Roles are disjoint in their facts. neighbours are European capitals outside the forget set, and
    the languages of forget countries: the country must stay known when its capital is gone.
    """
    everywhere = [pair for group in FORGET for pair in group] + list(NEIGHBOURS)
    europe = tuple(answer for _, answer in everywhere)
    forget, paraphrase = [], []
    for request, group in enumerate(FORGET, start=1):
        forget += _rows(group, QUESTION, "capital", europe, request)
        for wording in PARAPHRASES:
            paraphrase += _rows(group, wording, "capital", europe, request)
    neighbours = _rows(NEIGHBOURS, QUESTION, "capital", europe) + _rows(LANGUAGES, LANGUAGE, "language")
    general = [row for what, ask, lead, pairs in GENERAL for row in _rows(pairs, (ask, lead), what)]
    roles = {
        "forget": forget,
        "retain": _rows(RETAIN, QUESTION, "capital"),
        "general": general,
        "approximate": _rows(INVENTED, QUESTION, "capital"),
        "paraphrase": paraphrase,
        "neighbours": neighbours,
    }
    return Dataset(
        name="capitals",
        title="European capitals",
        roles={role: tuple(rows) for role, rows in roles.items()},
        note=NOTE,
    )


def _rows(
    pairs: Pairs, wording: tuple[str, str], attribute: str, pool: tuple[str, ...] = (), request: int = 0
) -> list[Row]:
    """One row a (subject, answer) pair; wrong answers come from pool, by default the pairs' own answers."""
    question, lead = wording
    pool = tuple(dict.fromkeys(pool or (answer for _, answer in pairs)))
    return [
        Row(
            question=_capitalised(question.format(subject)),
            lead=_capitalised(lead.format(subject)),
            answer=answer,
            wrong=_others(pool, answer),
            entities=((0, len(answer)),),
            subject=subject,
            attribute=attribute,
            request=request,
        )
        for subject, answer in pairs
    ]


def _others(pool: tuple[str, ...], answer: str) -> tuple[str, ...]:
    """WRONG answers that follow the right one in the pool, so that each serves equally often."""
    at = pool.index(answer)
    return (pool[at + 1 :] + pool[:at])[:WRONG]


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
