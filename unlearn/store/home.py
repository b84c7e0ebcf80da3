"""This module finds the files that come with the product: app, assets and server settings. It works in a
checkout and in an installed wheel.

A wheel must not put names such as `ui`, `pages` or `assets` beside the packages of others, so it holds them inside
this package, in unlearn/studio; a checkout has them at its top. Everything that reads one of them asks HOME.
"""

from pathlib import Path

from unlearn.store import environment

PACKAGE = Path(__file__).resolve().parents[1]
# The folder exists only in an installed wheel. pyproject.toml states its content.
PACKED = PACKAGE / "studio"
INSTALLED = PACKED.is_dir()
HOME = PACKED if INSTALLED else PACKAGE.parent
ASSETS = HOME / "assets"


def runs_folder() -> Path:
    """Return the folder of the runs: UNLEARN_RUNS, or ./runs of the working directory without it."""
    return environment.RUNS.path(Path("runs"))
