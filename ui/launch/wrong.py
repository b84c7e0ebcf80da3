"""Says what is wrong with a setting in the words of its field, which are not those of the command line."""

import re

from unlearn.methods import METHODS
from unlearn.store.config import RunConfig

SETTING = re.compile(r"(?P<owner>[^:\n]{1,80}): (?P<name>\w+) must ")


# What a sentence names of the command line, and what stands for it on the pages.
ON_PAGES = {
    "unless --long skip leaves it out": "unless “Rows longer than the model reads” leaves it out",
    "with --long skip": "with “Rows longer than the model reads”",
    "with --long windows": "with the same choice",
    "--leaks lists them": "the page Data lists them",
    "set retain_weight to 0": "set Retain weight to 0",
}


def on_pages(text: str) -> str:
    """Return the sentence, with a page's own words in place of the flags of the command line."""
    for flag, words in ON_PAGES.items():
        text = text.replace(flag, words)
    return text


def in_words(error: Exception) -> str:
    """Return the error, with a field's label in place of the name that it begins with: "Learning rate must lie …"."""
    text = on_pages(str(error))
    found = SETTING.match(text)
    if found is None:
        return text
    knobs = [*RunConfig.settings(), *(knob for method in METHODS.values() for knob in method.knobs())]
    label = next((knob.label for knob in knobs if knob.name == found["name"]), "")
    owner = "" if found["owner"] == "run" else f"{found['owner']}: "
    return f"{owner}{label} must {text[found.end() :]}" if label else text
