"""This module checks that tokens and embeddings belong together: a row for each token, and the same tokens in two
models that are compared.
"""

from collections.abc import Mapping
from typing import Protocol


class AddedToken(Protocol):
    """What is read of a token that was added to a tokenizer."""

    content: str
    special: bool


def check_rows(added: Mapping[int, AddedToken], rows: int, template: str, name: str) -> None:
    """Raise ValueError for added tokens that a text or the chat template can hold and that have no row in the
    embeddings.

    A special token that no template holds is never read here, since marks in a text stay letters: some published
    tokenizers have such ones.
    """
    lacking = [
        token.content
        for place, token in sorted(added.items())
        if place >= rows and (not token.special or token.content in template)
    ]
    if lacking:
        raise ValueError(
            f"model: the tokenizer of {name} has {len(lacking)} added tokens without a row in the embeddings "
            f"({', '.join(lacking[:3])}; {rows} rows); call model.resize_token_embeddings(len(tokenizer)), train the "
            "new rows, and save model and tokenizer again."
        )


def check_words(model: str, ours: Mapping[str, int], retrained: str, theirs: Mapping[str, int]) -> None:
    """Raise ValueError where two models read other tokens. ours, theirs: the vocabularies {token: id}."""
    differ = sorted(set(ours.items()) ^ set(theirs.items()), key=lambda pair: (pair[1], pair[0]))
    if not differ:
        return
    at = differ[0][1]
    named = [next((word for word, place in one.items() if place == at), None) for one in (ours, theirs)]
    said = [repr(word) if word is not None else "no token" for word in named]
    raise ValueError(
        f"retrained: {retrained} reads other tokens than {model} (id {at} is {said[1]} there and {said[0]} here), so "
        "their scores cannot stand side by side; give a retrain with the same tokenizer."
    )
