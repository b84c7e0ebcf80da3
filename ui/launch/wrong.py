"""Says what is wrong with a setting in the words of its field, which are not those of the command line."""

import re

from unlearn.methods import METHODS
from unlearn.store.config import RunConfig

SETTING = re.compile(r"(?P<owner>[^:\n]{1,80}): (?P<name>\w+) must ")


def in_words(error: Exception) -> str:
    """Return the error, with a field's label in place of the name that it begins with: "Learning rate must lie …"."""
    text = str(error)
    found = SETTING.match(text)
    if found is None:
        return text
    knobs = [*RunConfig.settings(), *(knob for method in METHODS.values() for knob in method.knobs())]
    label = next((knob.label for knob in knobs if knob.name == found["name"]), "")
    owner = "" if found["owner"] == "run" else f"{found['owner']}: "
    return f"{owner}{label} must {text[found.end() :]}" if label else text
