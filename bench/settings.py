"""Writes the tables of docs/settings.md and docs/demo.md from what the settings state of themselves."""

from unlearn.commands.options import data_keys, flag_of
from unlearn.data.catalogue import sentence
from unlearn.engines.place import Place
from unlearn.store import environment
from unlearn.store.caps import Caps
from unlearn.store.config import ASKED, RunConfig
from unlearn.store.knobs import MISSING, Knob, format_value


def run_table() -> str:
    """Return a table of every setting of a run: its name in a file, its flag, default, range and sentence."""
    rows = [
        (f"`{k.name}`", _flag(k), _default(k), k.reach().replace(", ", " · "), k.help)
        for k in RunConfig.settings()
    ]
    return _table(("Setting", "Flag", "Default", "Values", "Meaning"), rows)


def place_table() -> str:
    """Return a table of the options that say where records are carried out."""
    rows = [
        (f"`{flag_of(k.name)}`", _default(k), k.reach().replace(", ", " · "), k.help) for k in Place.knobs()
    ]
    return _table(("Flag", "Default", "Values", "Meaning"), rows)


def data_table() -> str:
    """Return a table of every key of a run's data: its name in a file, its flag and its sentence."""
    rows = [("`name`", "`--data`", sentence("name"))]
    rows += [(f"`{key}`", f"`{flag_of(key)}`", sentence(key)) for key in ("requests", *data_keys())]
    return _table(("Key", "Flag", "Meaning"), rows)


def environment_table() -> str:
    """Return a table of every environment variable: its name, default and sentence."""
    rows = [(f"`{v.name}`", v.default, v.help) for v in environment.VARIABLES]
    return _table(("Variable", "Default", "Meaning"), rows)


def caps_table() -> str:
    """Return a table of the caps of visitors: name, default, sentence."""
    return _table(("Cap", "Default", "Meaning"), [(f"`{k.name}`", _default(k), k.help) for k in Caps.knobs()])


def _flag(k: Knob) -> str:
    own = {"data": "those below", "knobs": "`--set KNOB=VALUE`"}
    return own[k.name] if k.name in ASKED and k.name in own else f"`{flag_of(k.name)}`"


def _default(k: Knob) -> str:
    if k.default is MISSING:
        return "must be given"
    if isinstance(k.default, (bool, str)):
        return str(k.default).lower() if isinstance(k.default, bool) else k.default
    return format_value(k.default) if isinstance(k.default, (int, float)) else ""


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
