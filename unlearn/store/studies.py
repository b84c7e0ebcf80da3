"""A study is work over or beside single runs, such as a sequence, a sweep or a stress test.

A study is a folder like a run: what was asked (one JSON file), events, a lock, a state derived from both. Here is
what all kinds share: to make one, to list them, to say how one ended. What each does is its own module's affair.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypedDict, TypeVar, cast

from unlearn.store.disk import is_run_id, new_folder, read_json, write_json
from unlearn.store.runs import Record
from unlearn.store.shapes import JsonObject, JsonView

# What was asked of a study of the kind.
Asked = TypeVar("Asked")


Kind = TypeVar("Kind", bound="Study[Any]")


class Stopped(Exception):
    """Signals that the person asked the study to stop."""


class Study(Record, Generic[Asked]):
    """A study of one kind, stored in a folder of its own. FILE is the file that holds its settings, FOLDER is
    the folder for studies of this kind, and read() gives the meaning of the file. ALONG: folders of the store
    whose own files a study of this kind reads and adds to. FOR_VISITORS: whether visitors of a demo or a class may
    begin one.
    """

    FILE: ClassVar[str]
    FOLDER: ClassVar[str]
    ALONG: ClassVar[tuple[str, ...]] = ()
    FOR_VISITORS: ClassVar[bool] = True

    @classmethod
    def read(cls, value: JsonView) -> Asked:
        """Return the settings in the form that this kind of study uses."""
        return cast(Asked, value)

    @property
    def config(self) -> Asked:
        """Return the settings of the study as read() gives them."""
        return self.read(read_json(self.path / self.FILE))

    @classmethod
    def create(cls, root: Path, name: str, asked: JsonView, *, owner: str = "", title: str = "") -> Self:
        """Make and return a new, queued study under root/FOLDER. Its folder is named after the time and
        `name`.
        """

        def fill(folder: Path) -> None:
            write_json(folder / cls.FILE, asked)
            made = cls(folder)
            made.set_meta(owner=owner, title=title)
            made.append("state", state="queued")

        return cls(new_folder(root / cls.FOLDER, name, fill))

    @classmethod
    def every(cls, root: Path) -> list[Self]:
        """Return all studies of this kind under root/FOLDER, newest first. A folder whose settings cannot be
        read is passed over.
        """
        found = []
        for path in sorted((root / cls.FOLDER).glob(f"*/{cls.FILE}"), reverse=True):
            # One that is being made has no name yet.
            if not is_run_id(path.parent.name):
                continue
            with contextlib.suppress(ValueError, KeyError, TypeError):
                if (made := cls(path.parent)).config:
                    found.append(made)
        return found


def conduct(record: Study, work: Callable[[], None]) -> None:
    """Carry out the work of a study and record how it ended. It never raises: the state becomes done, stopped
    (work raised Stopped, with or without a reason) or failed with a reason.
    """
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


class How(TypedDict, total=False):
    """How a study is carried out: whether to stop, whom to tell (phase, fraction), where data and model may lie."""

    should_stop: Callable[[], bool]
    on_progress: Callable[[str, float], None]
    roots: Sequence[Path] | None


@dataclass
class StudyWork(Generic[Kind]):
    """The work on a study of one kind, as carry_out() of a subclass does it. The fields are those of How."""

    record: Kind
    should_stop: Callable[[], bool] = lambda: False
    on_progress: Callable[[str, float], None] = lambda phase, fraction: None
    roots: Sequence[Path] | None = None

    def carry_out(self) -> None:
        """Do what was asked for, from where the study is."""
        raise NotImplementedError

    def conduct(self) -> None:
        """Carry the study out as conduct() says. It also ends when somebody asks the record to stop."""
        self.should_stop = self.record.stopping(self.should_stop)
        conduct(self.record, self.carry_out)


def checking(should_stop: Callable[[], bool], reason: str = "") -> Callable[[], None]:
    """Return a function that raises Stopped as soon as should_stop() is true."""

    def check() -> None:
        if should_stop():
            raise Stopped(reason)

    return check
