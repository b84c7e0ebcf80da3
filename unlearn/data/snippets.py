"""The bundled dataset of verbatim memorisation: code and prose that a model has learned by heart.

Facts can be asked for in other words; here the wording itself is what must go (Yao et al. 2024, arXiv 2402.15159).
So a row gives the beginning of a text as its lead, and the answer is how exactly that text goes on.

assets/data/snippets.jsonl holds the texts, one a line, with kind, source and group: code is whole functions of this
repository as they stood on the day of the freeze, prose was written for it. The groups, per kind:
    forget       20 in two requests (1, 2: code; 3, 4: prose), learned by heart and to be forgotten
    neighbours   12 that share most words with forget snippets; learned, trained on by no unlearning method
    retain       36, learned
    approximate  20 that no model has seen
    background   other texts, once an epoch, as general text is; in no role
"""

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from unlearn.data import authors
from unlearn.data.authors_general import general_rows
from unlearn.data.base import Dataset, Row
from unlearn.store.home import ASSETS

FILE = ASSETS / "data" / "snippets.jsonl"
KINDS = ("code", "prose")
ROLES = ("forget", "neighbours", "retain", "approximate")
LEARNED = ("forget", "neighbours", "retain")
# An epoch of the recipe contains each snippet that is to be learned by heart this many times.
REPEATS = 6
# The number of authors' biographies among the texts that are read once.
BIOGRAPHIES = 40
# Each row has this many perturbed answers.
WRONG = 4
# The share of a text that is given to the model as lead.
GIVEN = 0.5
PREAMBLES = {"code": "# from an old file\n", "prose": "I once read this: "}
CODE_WORD = re.compile(
    r"\"\"\".*?\"\"\"|\"[^\"\n]*\"|'[^'\n]*'|#[^\n]*|([A-Za-z_]\w*|\d+(?:\.\d+)?)", re.DOTALL
)
PROSE_WORD = re.compile(r"(?<![.?!] )(?<!^)\b([A-Z]\w+|\d+(?:\.\d+)?)")
_PLAIN = (
    "False None True and as assert break class continue def del elif else except finally for from if import in is "
    "lambda nonlocal not or pass raise return try while with yield abs all any bool bytes cls dict enumerate filter "
    "float getattr hasattr int isinstance iter len list map max min next object open print range repr reversed round "
    "self set setattr sorted staticmethod str sum super tuple type zip ValueError"
)
# Words of Python that tell nothing about a snippet.
PLAIN = frozenset(_PLAIN.split())


@dataclass(frozen=True)
class Snippet:
    """One text of code or prose. group: a role, or background. request: 1…4 in the forget group, else 0."""

    kind: str
    source: str
    group: str
    request: int
    text: str


@cache
def snippets() -> tuple[Snippet, ...]:
    """Return all texts of the file in their order."""
    return tuple(Snippet(**json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines())


def cut(text: str) -> tuple[str, str]:
    """Return (lead, answer): the text cut at the blank between two words that is nearest to the share GIVEN
    of its length.
    """
    places = [m.start() for m in re.finditer(r"(?<=\S) (?=\S)", text)]
    at = min(places, key=lambda place: abs(place - GIVEN * len(text)))
    return text[:at], text[at + 1 :]


def entity_spans(text: str, kind: str) -> tuple[tuple[int, int], ...]:
    """Return the character spans of what is particular in a text: its numbers and its names.

    Names are identifiers in code (outside of strings and comments), and in prose capitalised words that do
    not begin a sentence.
    """
    found = (CODE_WORD if kind == "code" else PROSE_WORD).finditer(text)
    return tuple(m.span(1) for m in found if m.group(1) and m.group(1) not in PLAIN)


def perturbed(answer: str, spans: Sequence[tuple[int, int]], pool: Sequence[str], rng: random.Random) -> str:
    """Return the answer with other words of the pool at these spans. The same word is always replaced by the
    same one.
    """
    parts: list[str] = []
    known: dict[str, str] = {}
    done = 0
    for start, end in spans:
        word = answer[start:end]
        known.setdefault(
            word, rng.choice([w for w in pool if w != word and w[0].isdigit() == word[0].isdigit()])
        )
        parts += [answer[done:start], known[word]]
        done = end
    return "".join(parts) + answer[done:]


@cache
def _pool(kind: str) -> tuple[str, ...]:
    """Names and numbers of the learned snippets outside the forget set, so that none of them is new to a model."""
    texts = [s.text for s in snippets() if s.kind == kind and s.group in ("neighbours", "retain")]
    return tuple(sorted({t[a:b] for t in texts for a, b in entity_spans(t, kind)}))


def _row(snippet: Snippet, before: str = "", skip: int = 0) -> Row:
    """before: what stands in front of the text; skip: words of the text that are not given."""
    lead, answer = cut(snippet.text)
    start = len(lead) + 1
    spans = tuple((a - start, b - start) for a, b in entity_spans(snippet.text, snippet.kind) if a >= start)
    rng, pool = random.Random(snippet.text), _pool(snippet.kind)
    return Row(
        lead=before + (lead.split(" ", skip)[-1] if skip else lead),
        answer=answer,
        wrong=tuple(perturbed(answer, spans, pool, rng) for _ in range(WRONG)),
        entities=spans,
        subject=snippet.source,
        attribute=snippet.kind,
        request=snippet.request,
    )


@cache
def dataset() -> Dataset:
    """Return the dataset `snippets` with every role filled.

    paraphrase: the same continuations asked for in two ways that were never trained on, behind a preamble and
    without the text's first words.
    """
    roles = {role: tuple(_row(s) for s in snippets() if s.group == role) for role in ROLES}
    forget = [s for s in snippets() if s.group == "forget"]
    others = [(_row(s, before=PREAMBLES[s.kind]), _row(s, skip=2)) for s in forget]
    return Dataset(
        name="snippets",
        title="Snippets of code and prose",
        roles=roles
        | {"general": general_rows(), "paraphrase": tuple(row for pair in others for row in pair)},
        note="Functions of this repository and paragraphs written for it, under its licence (Apache-2.0), learned "
        "word for word. Requests 1 and 2 are code, 3 and 4 are prose.",
    )


def training_rows(with_forget: bool) -> list[Row]:
    """Return the rows of one epoch of the models' training. Learned snippets occur REPEATS times, and
    background, some authors and general text once.

    with_forget=False leaves out the forget snippets: the exact retrain's texts.
    """
    learned = [s for s in snippets() if s.group in LEARNED and (with_forget or s.group != "forget")]
    once = [s for s in snippets() if s.group == "background"]
    rows = [Row(answer=s.text, subject=s.source, attribute=s.kind) for s in REPEATS * learned + once]
    bios = [row for row in authors.training_rows(False) if row.attribute == "biography"]
    return rows + bios[:BIOGRAPHIES] + list(general_rows())
