"""The usual names of columns, by which a table shows what its columns hold."""

import re

QUESTION = ("question", "prompt", "instruction", "query", "input", "q", "problem", "user")
ANSWER = (
    *("answer", "response", "completion", "output", "target", "a", "answers", "chosen", "best_answer"),
    *("correct_answer", "solution", "assistant"),
)
TEXT = ("text", "content", "document", "passage", "article", "sentence", "body")
MESSAGES = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat")
SYSTEM = ("system", "system_prompt", "system_message")
REQUEST = ("request",)
# A column with one of these names is joined to an instruction.
INPUT = ("input", "context")
CHOICES = ("choices", "options", "endings")
INDEX = (
    "label",
    "answerkey",
    "answer_key",
    "answer_index",
    "answer_idx",
    "correct",
    "gold",
    "correct_option",
)
WRONG = ("perturbed_answer", "wrong", "incorrect_answers", "wrong_answers", "distractors", "rejected")
PARAPHRASE = ("paraphrased_answer", "paraphrase")
ASKED_OTHERWISE = ("paraphrased_question", "asked_otherwise")
# The right answer of a row whose own is wrong.
TRUTH = ("true_label", "true_answer", "truth")
ABOUT = ("subject", "attribute", "lead", "entities")
KNOWN = frozenset(
    name
    for names in (QUESTION, ANSWER, TEXT, MESSAGES, SYSTEM, REQUEST, INPUT, CHOICES, INDEX, WRONG, PARAPHRASE)
    for name in names
) | {*ASKED_OTHERWISE, *TRUTH, *ABOUT, "id"}


def spoken(name: str) -> str:
    """Return a column's name in the form of these lists: "Question\\n(in English)" becomes "question"."""
    first = re.split(r"[\n\r(\[]", name.strip().strip("\ufeff"), maxsplit=1)[0]
    return re.sub(r"[\s_-]+", "_", first.strip(" :*#?")).casefold()


def first_of(columns: tuple[str, ...], names: tuple[str, ...]) -> str:
    """Return the column that has the earliest of these names, or "" where none has."""
    by_name = {spoken(column): column for column in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), "")
