"""This module turns a row into text for a model, in one of three formats.

    chat        the tokenizer's own template: system, earlier turns, question | the answer and the template's own end
    plain       "Question: …\\nAnswer:" | " answer"
    completion  the row's lead sentence where it has one, else the question and a line break | the answer

A text row is the same in every format. The template's date is fixed, so that a run reads the same text on any day.
Sentences of the data never become control tokens: where one spells such a token, the parts are tokenised apart.
"""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from unlearn.compute.lazy import Tokenizer
from unlearn.data.base import Dataset, Row
from unlearn.store.config import formats_of

DATE = datetime.date(2026, 1, 1)
# The parts of a date that a template may ask strftime_now for.
DIRECTIVES = "aAbBdHIjmMpSyY"
# What every template is told: some ask for the date under this name.
FIXED = {"date_string": DATE.strftime("%d %b %Y"), "enable_thinking": False}
# Marks that replace a content while a template is rendered. They are private-use characters, which no
# template changes.
OPEN, CLOSE = "\ue000", "\ue001"
# How a template marks what the assistant says, where it does.
GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True)
class Rendered:
    """One row as text for a model: prompt is what the model is given, target its answer, tail what ends the
    answer.

    own: whether the text brings its own beginning and end (a template's), so that the tokenizer must add none.
    pieces: (text, whether control tokens in it count), which make up prompt + target + tail in order.
    """

    prompt: str
    target: str
    tail: str = ""
    own: bool = False
    pieces: tuple[tuple[str, bool], ...] = ()


def asked_in(data: Dataset, prompt: str, system: str = "") -> Dataset:
    """Return the same rows, asked in the first format of `prompt`. system: the words above a chat where a row
    has none.
    """
    first = formats_of(prompt)[0]
    return replace(data, roles={role: in_format(rows, first, system) for role, rows in data.roles.items()})


def in_format(rows: Sequence[Row], name: str, system: str = "") -> tuple[Row, ...]:
    """Return the rows asked in this format. Plain texts stay as they are. system: the words above a chat,
    where a row has none.
    """

    def asked(row: Row) -> Row:
        own = "" if row.system == system else row.system
        return replace(row, format=name, system=own or (system if name == "chat" else ""))

    return tuple(asked(row) if row.question else row for row in rows)


def in_formats(rows: Sequence[Row], prompt: str, system: str = "") -> tuple[Row, ...]:
    """Return each row once in each format of `prompt`, in the order of the formats. A plain text occurs once."""
    first, *more = formats_of(prompt)
    found = in_format(rows, first, system)
    for name in more:
        found += in_format([row for row in rows if row.question], name, system)
    return found


def render(row: Row, tokenizer: Tokenizer) -> Rendered:
    """Return the row as text in its own format. ValueError without a chat template, or where the template
    changes the row's text.
    """
    if not row.question or row.format == "plain":
        return Rendered(row.prompt, row.target)
    if row.format == "completion":
        if row.lead:
            return Rendered(row.lead, f" {row.answer}")
        return Rendered(f"{row.question}\n", row.answer)
    return _chat(row, tokenizer)


def has_template(tokenizer: Tokenizer) -> bool:
    """Return whether the tokenizer has a chat template."""
    return bool(getattr(tokenizer, "chat_template", None))


def system_of(tokenizer: Tokenizer, system: str = "") -> str:
    """Return the rendered text above the first question: the template's own system prompt, or the given one."""
    row = Row(question="?", answer="!", format="chat", system=system)
    return _chat(row, tokenizer).prompt.partition("?")[0]


def instructed(tokenizer: Tokenizer, instruction: str, lead: str = "") -> str:
    """Return an instruction in the tokenizer's own chat, opened for an answer that begins with `lead`.

    The template may trim the instruction. Where there is no template, the words stand as they are.
    """
    if not has_template(tokenizer):
        return instruction + lead
    return _template(tokenizer, [("user", instruction)], add_generation_prompt=True) + lead


def _chat(row: Row, tokenizer: Tokenizer) -> Rendered:
    if not has_template(tokenizer):
        raise ValueError(
            "prompt: this tokenizer has no chat template; choose --prompt plain or --prompt completion, or give the "
            "instruct version of the model."
        )
    said = f"{row.lead} {row.answer}" if row.lead else row.answer
    turns = [("system", row.system)] if row.system else []
    turns += [*row.messages, ("user", row.question), ("assistant", said)]
    contents = [text for _, text in turns]
    marked = _template(tokenizer, [(role, _mark(i)) for i, (role, _) in enumerate(turns)])
    pieces = _split(marked, contents)
    whole = "".join(text for text, _ in pieces)
    # A template that trims, folds or escapes its input would give the model other words than the row's.
    if whole != _template(tokenizer, turns):
        shown = next((text for text in contents if text != text.strip()), row.question)
        raise ValueError(
            f"prompt: the chat template changes the text of the row {shown[:60]!r} (white space at an end, or signs "
            "that it treats as its own); clean the row, or choose --prompt plain."
        )
    start = sum(len(text) for text, _ in pieces[:-2])
    opening = _template(tokenizer, turns[:-1], add_generation_prompt=True)
    if not whole.startswith(opening):
        raise ValueError(
            "prompt: the chat template asks otherwise than it records an answer (its generation prompt is no beginning "
            "of the conversation); choose --prompt plain."
        )
    tail = pieces[-1][0]
    if span := _marked(tokenizer, turns):
        if not span[0] <= start < start + len(said) <= span[1]:
            raise ValueError(
                "prompt: the chat template's generation marks leave a part of the answer out; choose --prompt plain."
            )
        if not row.lead:
            # What it marks before the words is the model's to say, but for what the generation prompt has said already.
            start = max(span[0], len(opening))
    start += len(row.lead)
    return Rendered(whole[:start], whole[start : len(whole) - len(tail)], tail, True, tuple(pieces))


def _mark(number: int) -> str:
    return f"{OPEN}{number}{CLOSE}"


def _split(marked: str, contents: Sequence[str]) -> list[tuple[str, bool]]:
    """The rendering in pieces: the template's own (control tokens count) and the contents (they do not), by turns."""
    pieces: list[tuple[str, bool]] = []
    rest = marked
    for number, content in enumerate(contents):
        before, found, rest = rest.partition(_mark(number))
        if not found:
            raise ValueError(
                "prompt: the chat template leaves out a turn of the row (some have no system turn, or want user and "
                "assistant by turns); leave it out of the row, or choose --prompt plain."
            )
        pieces += [(before, True), (content, False)]
    return [*pieces, (rest, True)]


def _marked(tokenizer: Tokenizer, turns: Sequence[tuple[str, str]]) -> tuple[int, int] | None:
    """Where the template itself marks the last answer, in characters of the whole; None without such marks."""
    template = tokenizer.get_chat_template()
    if not GENERATION.search(template):
        return None
    from transformers.utils.chat_template_utils import render_jinja_template

    given = {"chat_template": _dated(template), **FIXED, **tokenizer.special_tokens_map}
    # Its declared type is that of the text alone.
    found: Any = render_jinja_template([_messages(turns)], return_assistant_tokens_mask=True, **given)
    (spans,) = found[1]
    start, stop = spans[-1] if spans else (0, 0)
    return start, stop


def _messages(turns: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in turns]


def _template(tokenizer: Tokenizer, turns: Sequence[tuple[str, str]], **more: object) -> str:
    import jinja2

    template = _dated(tokenizer.get_chat_template())
    try:
        return tokenizer.apply_chat_template(
            _messages(turns), tokenize=False, chat_template=template, **FIXED, **more
        )
    except jinja2.exceptions.TemplateError as error:
        raise ValueError(
            f"prompt: the chat template refuses the row ({error}); choose --prompt plain."
        ) from None


def _dated(template: str) -> str:
    """The template with a fixed date: a macro of its own answers where it asks for today's.

    transformers hands plain values alone to a template, so that a function cannot be passed in.
    """
    if "strftime_now" not in template:
        return template
    filled = "".join(f".replace('%{code}', '{DATE.strftime('%' + code)}')" for code in DIRECTIVES)
    return f"{{% macro strftime_now(form) %}}{{{{ form{filled} }}}}{{% endmacro %}}{template}"
