"""Other formats ask the same questions in chat, as a plain question, and as a sentence to complete.

    value = share of questions answered rightly in that format

What is forgotten in one format may be left in another, since a method sees only the formats that it is trained in
(Lynch et al. 2024, arXiv 2402.16835). A format that the tokenizer's template lacks is left out.
"""

from collections.abc import Callable

from unlearn.attacks.base import Subject
from unlearn.attacks.swept.asking import Reshape, cell
from unlearn.data.prompts import in_format
from unlearn.store.config import FORMATS

WORDS = {"chat": "in chat", "plain": "as a plain question", "completion": "as a sentence to complete"}
HELP = "Share of right answers when the questions are asked in another prompt format."
PAPER = "Lynch et al. 2024, arXiv 2402.16835"


def _reshape(name: str) -> Callable[[Subject], Reshape]:
    return lambda subject: lambda rows: in_format(rows, name, rows[0].system if rows else "")


CELLS = tuple(
    cell(f"format-{name}", "Other format", WORDS[name], HELP, PAPER, _reshape(name)) for name in FORMATS
)
