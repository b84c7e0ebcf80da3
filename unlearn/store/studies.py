"""Studies: what is carried out beside or over single runs, such as a sequence, a sweep or a stress test.

A study is a folder like a run: what was asked (one JSON file), events, a lock, a state derived from both. Here is
what all kinds share: to make one, to list them, to say how one ended. What each does is its own module's affair.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from unlearn.store.disk import new_folder, read_json, write_json
from unlearn.store.runs import Record
from unlearn.store.shapes import JsonObject, JsonView


class Stopped(Exception):
    """The person asked to stop."""


class Study(Record):
    """FILE: where it is written what was asked; FOLDER: where studies of the kind lie; read(): the file's meaning."""

    FILE: ClassVar[str]
    FOLDER: ClassVar[str]

    @classmethod
    def read(cls, value: JsonView) -> Any:
        return value

    @property
    def config(self) -> Any:
        return self.read(read_json(self.path / self.FILE))

    @classmethod
    def create(cls, root: Path, name: str, asked: JsonView, *, owner: str = "", title: str = "") -> Any:
        """A new, queued one under root/FOLDER, its folder named after the time and name."""
        path = new_folder(root / cls.FOLDER, name)
        write_json(path / cls.FILE, asked)
        made = cls(path)
        made.set_meta(owner=owner, title=title)
        made.append("state", state="queued")
        return made

    @classmethod
    def every(cls, root: Path) -> list[Any]:
        """All under root/FOLDER, newest first. A folder whose settings cannot be read is passed over."""
        found = []
        for path in sorted((root / cls.FOLDER).glob(f"*/{cls.FILE}"), reverse=True):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                if (made := cls(path.parent)).config:
                    found.append(made)
        return found


def conduct(record: Study, work: Callable[[], None]) -> None:
    """Never raises: leaves done, stopped (work raised Stopped, maybe with a reason) or failed with a reason."""
    try:
        record.append("state", state="running")
        work()
        outcome: JsonObject = {"state": "done"}
    except Stopped as stopped:
        outcome = {"state": "stopped", "reason": str(stopped) or "stopped by hand"}
    except Exception as error:
        outcome = {"state": "failed", "reason": str(error) or type(error).__name__}
    with contextlib.suppress(OSError):
        record.append("state", **outcome)


def checking(should_stop: Callable[[], bool], reason: str = "") -> Callable[[], None]:
    """A check that raises Stopped once it should."""

    def check() -> None:
        if should_stop():
            raise Stopped(reason)

    return check
