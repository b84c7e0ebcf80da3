"""This module makes masked-language-model examples for an encoder-decoder. It masks the entities of the
source, and sentinels ask for them.

    encoder: "Seen with <extra_id_0> in <extra_id_1>"   decoder: "<extra_id_0> Velmar <extra_id_1> Oslo <extra_id_2>"

T5's own pre-training format (Raffel et al. 2020, arXiv 1910.10683, §3.1.4), with the entities masked instead of words
at random, as EUL does (arXiv 2310.20150, §3.2). Only the masked words are labelled: the sentinels are form.
"""

from collections.abc import Sequence

from unlearn.compute.lazy import Tokenizer
from unlearn.compute.tokens import IGNORE, Example
from unlearn.training.focus import spans

SENTINEL = "<extra_id_{}>"


def sentinels_of(tokenizer: Tokenizer) -> list[int]:
    """Return the ids of <extra_id_0>, <extra_id_1>, … as far as the tokenizer has them."""
    known: dict[str, int] = tokenizer.get_vocab()
    found: list[int] = []
    while (name := SENTINEL.format(len(found))) in known:
        found.append(known[name])
    return found


def masked(tokenizer: Tokenizer, example: Example) -> Example | None:
    """Return the example with the entities of its source masked, under the same key. The result is None where
    no entity can be masked.

    A source of more entities than there are sentinels keeps the last ones readable.
    """
    sentinels = sentinels_of(tokenizer)
    text = tokenizer.decode(example.source, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    hidden = spans(text, "entity")
    inside = [any(a < end and b > at for at, end in hidden) for a, b in coded["offset_mapping"]]
    runs = _runs(inside)[: max(0, len(sentinels) - 1)]
    if not runs:
        return None
    return mask_runs(example, coded["input_ids"], runs, sentinels, tokenizer.eos_token_id)


def mask_runs(
    example: Example, ids: Sequence[int], runs: Sequence[tuple[int, int]], sentinels: Sequence[int], eos: int
) -> Example:
    """Return an example that asks for the tokens ids[a:b] of each run (a, b) by its sentinel. example gives
    key and start token.
    """
    source, asked, labels, at = [], [example.input_ids[0]], [IGNORE], 0
    for (a, b), sentinel in zip(runs, sentinels, strict=False):
        source += [*ids[at:a], sentinel]
        asked += [sentinel, *ids[a:b]]
        labels += [IGNORE, *ids[a:b]]
        at = b
    return Example(
        input_ids=(*asked, sentinels[len(runs)]),
        labels=(*labels, IGNORE),
        key=example.key,
        source=(*source, *ids[at:], eos),
    )


def _runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """[(start, end)] of the stretches of True."""
    found, start = [], None
    for i, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = i
        if not flag and start is not None:
            found.append((start, i))
            start = None
    return found
