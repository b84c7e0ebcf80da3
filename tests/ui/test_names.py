"""Names of the modules under ui/: streamlit puts that folder before all others while a page runs."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UI = ROOT / "ui"


def installed(name: str) -> bool:
    """Whether a module of this name lies elsewhere, an environment in the checkout included."""
    spec = importlib.util.find_spec(name)
    # A mere folder on the path has no origin.
    return spec is not None and spec.origin is not None and not Path(spec.origin).is_relative_to(UI)


def test_no_module_hides_an_installed_one():
    names = [path.stem for path in UI.iterdir() if path.suffix == ".py" or path.is_dir()]
    assert len(names) > 20
    assert installed("datasets")
    assert not [name for name in names if not name.startswith("_") and installed(name)]
