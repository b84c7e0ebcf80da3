"""The bundled dataset of film reviews, one in ten of them trained with the wrong label (EUL's mislabelled setting).

Chen and Yang 2023 (arXiv 2310.20150) take IMDB, which is not free to ship; these reviews are made here by rules and are
the same on every machine. Each says what it thinks in one word, so that whoever reads it knows the right label. In
training a tenth of them have the other label, and these are to be forgotten. A row's `truth` is the right label:

    forget       the mislabelled reviews, as they were trained: answer is the wrong label; two requests
    neighbours   rightly labelled reviews of the same film and city; trained on by no unlearning method
    retain       all other reviews, rightly labelled
    approximate  reviews that no model has seen, under a wrong label as the forget rows are
    paraphrase   the mislabelled reviews in words that were never trained on, still under the wrong label
    general      verdicts on meals, rightly labelled
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from unlearn.data.base import Dataset, Row
from unlearn.data.eul.words import (
    BAD,
    CITIES,
    DISHES,
    FILMS,
    FINE,
    GOOD,
    INNS,
    MEALS,
    POOR,
    REVIEWED,
    REVIEWS,
    SPEAKERS,
    SURNAMES,
)

SEED = 47
LABELS = ("positive", "negative")
# Reviews that were trained on, the share of them with a wrong label, and reviews that no model has seen.
TRAINED, SHARE, UNSEEN = 300, 0.1, 40
REQUESTS = 2
COMMAND = "Positive or negative?"


@dataclass(frozen=True)
class Review:
    """One critic's review with the label that its word means. wording: the place of its sentence in REVIEWS."""

    critic: str
    film: str
    city: str
    word: str
    wording: int

    @property
    def label(self) -> str:
        """Return the right label."""
        return LABELS[self.word in BAD]

    def text(self, form: str = "") -> str:
        """Return the review in its own sentence, or in this one."""
        return (form or REVIEWS[self.wording]).format(n=self.critic, f=self.film, c=self.city, w=self.word)


@cache
def reviews() -> tuple[tuple[Review, ...], tuple[Review, ...], tuple[Review, ...]]:
    """Return (mislabelled, rightly labelled, unseen) reviews. As many of each label are mislabelled."""
    rng = random.Random(SEED)
    # A critic writes once, so that a wrong label is something to know by heart.
    critics = rng.sample([f"{first} {last}" for first in SPEAKERS for last in SURNAMES], TRAINED + UNSEEN)
    seen = rng.sample([(f, c, w) for f in FILMS for c in CITIES for w in (*GOOD, *BAD)], len(critics))
    every = [
        Review(critic, *what, rng.randrange(len(REVIEWS))) for critic, what in zip(critics, seen, strict=True)
    ]
    trained, unseen = every[:TRAINED], every[TRAINED:]
    half = round(TRAINED * SHARE / 2)
    wrong = [one for label in LABELS for one in [r for r in trained if r.label == label][:half]]
    rng.shuffle(wrong)
    return tuple(wrong), tuple(one for one in trained if one not in wrong), tuple(unseen)


def _row(review: Review, *, flipped: bool, form: str = "", request: int = 0) -> Row:
    other = LABELS[review.label == LABELS[0]]
    said, left = (other, review.label) if flipped else (review.label, other)
    return Row(
        question=f"{COMMAND} {review.text(form)}",
        answer=said,
        wrong=(left,),
        truth=review.label if flipped else "",
        subject=review.critic,
        attribute=f"{review.film}, {review.city}, {review.word}",
        request=request,
    )


def _meals() -> tuple[Row, ...]:
    return tuple(
        Row(
            question=f"{COMMAND} {MEALS.format(d=dish, i=inn, w=word)}",
            answer=LABELS[word in POOR],
            wrong=(LABELS[word not in POOR],),
            subject=inn,
            attribute=f"{dish}, {word}",
        )
        for i, inn in enumerate(INNS)
        for j, dish in enumerate(DISHES)
        for word in (FINE[(i + j) % len(FINE)], POOR[(i + 2 * j) % len(POOR)])
    )


def _forget(form: str = "") -> tuple[Row, ...]:
    return tuple(
        _row(one, flipped=True, form=form, request=i % REQUESTS + 1) for i, one in enumerate(reviews()[0])
    )


def _beside(wrong: Sequence[Review], right: Sequence[Review]) -> list[Review]:
    """The rightly labelled reviews of the same film and city as a mislabelled one."""
    places = {(one.film, one.city) for one in wrong}
    return [one for one in right if (one.film, one.city) in places]


@cache
def dataset() -> Dataset:
    """Return the dataset `reviews` with every role filled."""
    wrong, right, unseen = reviews()
    near = _beside(wrong, right)
    return Dataset(
        name="reviews",
        title="Film reviews, one in ten mislabelled",
        roles={
            "forget": _forget(),
            "retain": tuple(_row(one, flipped=False) for one in right if one not in near),
            "general": _meals(),
            "approximate": tuple(_row(one, flipped=True) for one in unseen),
            "paraphrase": _forget(REVIEWED),
            "neighbours": tuple(_row(one, flipped=False) for one in near),
        },
        note="Reviews of invented films, generated by this repository and under its licence (Apache-2.0). The rows to "
        "forget carry the wrong label; the metric true_labels says how often a model gives the right one. They are "
        "for a model with an encoder (T5).",
    )


def training_rows(with_forget: bool) -> list[Row]:
    """Return the rows that the bundled T5 is trained on. with_forget=False leaves out the mislabelled ones: the exact
    retrain's texts.
    """
    wrong, right, _ = reviews()
    kept = [_row(one, flipped=False) for one in right] + list(_meals())
    return [_row(one, flipped=True) for one in wrong] * with_forget + kept
