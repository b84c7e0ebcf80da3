"""This module decides which folders a run may read data and models from.

Configs may come from an imported run or from a browser, so a path must lie inside an allowed folder; the command
line, whose user owns the machine, passes other roots.
"""

from collections.abc import Sequence
from pathlib import Path

from unlearn.store import environment
from unlearn.store.disk import cache_dir


def allowed_path(path: str | Path, roots: Sequence[Path] | None = None, place: str = "data") -> Path:
    """Return the path with links resolved, if it is inside one of the roots. roots=None means
    default_roots().

    place: the setting that the path was given for, with which a message begins.

    Raises ValueError for any other path, without telling whether it exists.
    """
    allowed = [root.expanduser().resolve() for root in (default_roots() if roots is None else roots)]
    try:
        found = Path(path).expanduser().resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"{place}: {str(path)!r} is not a path ({error}). Check it.") from None
    if not any(found.is_relative_to(root) for root in allowed):
        raise ValueError(
            f"{place}: {path} must lie inside "
            f"{', '.join(map(str, allowed)) or 'an allowed folder, and there is none'}. "
            "Move the file there, upload it, or add its folder to UNLEARN_ROOTS."
        )
    if not found.exists():
        raise ValueError(f"{place}: {path} does not exist. Check the path.")
    return found


def default_roots() -> list[Path]:
    """Return the working directory, the cache (UNLEARN_CACHE) and the folders that UNLEARN_ROOTS names."""
    return [Path.cwd(), cache_dir(), *environment.ROOTS.paths()]
