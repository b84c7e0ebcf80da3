"""Answers that say "I don't know", written for this project. IdkDPO prefers them to the text to forget.

Varied in wording and length, and free of any topic, so that no single refusal is learnt by heart.
"""

from random import Random

from unlearn.compute.lazy import Tokenizer
from unlearn.compute.tokens import Example
from unlearn.training.answers import with_answer

IDK: tuple[str, ...] = (
    "I don't know.",
    "I do not know the answer to that.",
    "I'm not sure.",
    "I am not sure about that.",
    "I have no idea.",
    "I'm afraid I don't know.",
    "Sorry, I don't know that.",
    "Sorry, I can't answer that.",
    "I cannot say.",
    "I couldn't tell you.",
    "That is not something I know.",
    "That is something I know nothing about.",
    "I have no information about that.",
    "I don't have any information on this.",
    "I was never told about that.",
    "I haven't learned about that.",
    "I am not aware of that.",
    "I'm not familiar with that.",
    "This is unknown to me.",
    "The answer is not known to me.",
    "I don't have an answer to this question.",
    "I have no answer to give here.",
    "I can't help with that question.",
    "I would only be guessing.",
    "I would have to guess, and I'd rather not.",
    "My knowledge does not reach that far.",
    "That lies outside what I know.",
    "That goes beyond what I can tell.",
    "I can't recall anything about it.",
    "Nothing comes to mind about that.",
    "I don't have details on that.",
    "I lack the facts to answer.",
    "I can't say anything reliable about this.",
    "I have nothing to say about that.",
    "Unfortunately, I don't know.",
    "Regrettably, I have no knowledge of this.",
    "It's not clear to me.",
    "I'm unable to answer that.",
    "I really couldn't say.",
    "Your guess is as good as mine.",
    "I wish I knew, but I don't.",
    "You would have to ask someone else.",
)


def idk_examples(tokenizer: Tokenizer, examples: tuple[Example, ...], seed: int) -> dict[int, Example]:
    """Return {key: the same prompt with a refusal in place of its answer}.

    The new example's own key is -1 - key, so that both fit into one reference. The choice of the refusal
    depends on seed and key alone.
    """
    chosen = {e.key: Random(f"{seed} {e.key}").choice(IDK) for e in examples}
    return {e.key: with_answer(tokenizer, e, chosen[e.key], key=-1 - e.key) for e in examples}
