"""This module measures how similar texts are in their words and letters, by TF-IDF and cosine.

No model is asked: closeness here is of wording, which is what training on one text moves in another first, and it
costs milliseconds. scikit-learn is imported when the first index is made, since that takes a second.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from unlearn.data.base import Dataset, Row
from unlearn.data.search import Item, items

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

# The number of first characters of a text that are compared.
READ = 1000
# So many texts are compared with all others together, which bounds the memory.
AT_ONCE = 256
DEFINITION = (
    "How close two texts (question and answer) are in wording, from 0 (nothing in common) to 1 (the same): the mean of "
    "two cosines of TF-IDF vectors, one over words and pairs of words, one over runs of 3 to 5 letters. What is rare "
    f"in this data set counts more. The first {READ:,} characters are compared. No model is asked."
)


class Near(NamedTuple):
    """A row of a dataset with its similarity in [0, 1]."""

    item: Item
    similarity: float


def whole(row: Row) -> str:
    """Return the text of a row that is compared: the question (or the lead without one) and the answer."""
    return f"{row.question or row.lead} {row.answer}"[:READ].casefold()


class Similar:
    """An index of a dataset's rows by their wording, fitted on all of them."""

    def __init__(self, dataset: Dataset) -> None:
        from scipy.sparse import hstack
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.items = items(dataset)
        self.place = {item: i for i, item in enumerate(self.items)}
        texts = [whole(item.row(dataset)) for item in self.items]
        by_word = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2), lowercase=False)
        by_letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), lowercase=False)
        blocks = [_vectors(maker, texts) for maker in (by_word, by_letters)]
        # The factor makes the product of two rows the mean of their two cosines.
        self.vectors = hstack(blocks).tocsr() * 0.5**0.5

    def nearest(self, wanted: Sequence[Item], among: Sequence[Item], k: int) -> list[list[Near]]:
        """Return for each wanted item its k nearest among these, nearest first. Ties keep the given order,
        and an item is never near itself. Never itself.
        """
        import numpy as np

        others = self.vectors[[self.place[item] for item in among]].T.tocsc()
        found = []
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            cosines = (self.vectors[[self.place[item] for item in some]] @ others).toarray()
            for item, row in zip(some, cosines, strict=True):
                order = [i for i in np.argsort(-row, kind="stable")[: k + 1] if among[i] != item][:k]
                found.append([Near(among[i], float(min(row[i], 1.0))) for i in order])
        return found


def _vectors(maker: "TfidfVectorizer", texts: Sequence[str]) -> "csr_matrix":
    """TF-IDF vectors of length 1; no columns at all where no text has a word."""
    from scipy.sparse import csr_matrix

    # Texts of punctuation only raise ValueError ("empty vocabulary").
    try:
        return maker.fit_transform(texts)
    except ValueError:
        return csr_matrix((len(texts), 0))
