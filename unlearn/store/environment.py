"""Every environment variable of the product, with its name, default, help sentence and reader.

A variable says what a machine is like or where its folders lie; what a run is asked for is a setting, never a
variable. docs/settings.md has the table.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

# Bytes of a unit: kB is 1000 bytes, KiB is 1024.
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
UNITS |= {"Ki": 2**10, "ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


@dataclass(frozen=True)
class Variable:
    """One environment variable with its help sentence. default: in words, for the table."""

    name: str
    default: str
    help: str

    def text(self) -> str:
        """Return the value as text, or "" where the variable is not set."""
        return os.environ.get(self.name, "")

    def path(self, otherwise: Path) -> Path:
        """Return the folder that the variable names, or `otherwise` where it is not set."""
        return Path(self.text()).expanduser() if self.text() else otherwise

    def paths(self) -> list[Path]:
        """Return the folders that the variable names, separated as in PATH."""
        return [Path(part) for part in self.text().split(os.pathsep) if part]

    def bytes(self) -> int | None:
        """Return the value as a number of bytes, for a text such as 6GiB or 800MB. The result is None where
        it is not set. ValueError for the rest.
        """
        if not (text := self.text()):
            return None
        found = re.fullmatch(r"(\d+\.?\d*|\.\d+) ?(Ki|[kMGT]i?|)B?", text)
        if not found:
            raise ValueError(f"{self.name}: must be a number of bytes such as 6GiB or 800MB, got {text!r}.")
        return int(float(found[1]) * UNITS[found[2]])

    def add_path(self, folder: Path) -> None:
        """Add one folder to the variable, for this process and for those that it starts."""
        if folder not in self.paths():
            os.environ[self.name] = os.pathsep.join([*map(str, self.paths()), str(folder)])


RUNS = Variable("UNLEARN_RUNS", "runs", "Folder of the runs; `--runs` says the same for one command.")
ROOTS = Variable(
    "UNLEARN_ROOTS", "", "More folders that the app may read rows and models from, separated as in PATH."
)
CACHE = Variable("UNLEARN_CACHE", "~/.cache/unlearn-studio", "Folder of the models that were brought here.")
DEVICE = Variable(
    "UNLEARN_DEVICE", "the best one here", "What to compute on: cpu, cuda, a certain cuda:1, or mps."
)
DEVICE_MEMORY = Variable(
    "UNLEARN_DEVICE_MEMORY",
    "80 % of what is free",
    "Bytes of weights that the device may hold, such as 6GiB; the rest lies in memory or in files.",
)
REFERENCE_MEMORY = Variable(
    "UNLEARN_REFERENCE_MEMORY",
    "1GiB",
    "Bytes of the reference's states that are kept in memory; the rest lies in a file.",
)
# unlearn.compute.products reads it there, because that room cannot import this one.
PRODUCTS = Variable(
    "UNLEARN_PRODUCTS", "the faster one here", "Library that multiplies matrices on a CPU: blas or onednn."
)
CLASS = Variable(
    "UNLEARN_CLASS",
    "a new one in each session",
    "Code of the class that votes on the page Lesson; `unlearn-studio --host` makes one and shows it.",
)
DEMO = Variable(
    "UNLEARN_DEMO",
    "no demo",
    "1: every browser is a visitor, with bundled models alone and the caps of docs/demo.md; `unlearn-studio --host` "
    "sets it to class, where the browsers of this machine are none.",
)
CAPS = Variable(
    "UNLEARN_CAPS",
    "those of docs/demo.md",
    "Caps of visitors that differ from their defaults, such as run_minutes=10,queue=20; `--cap` says the same.",
)
NAMES = Variable(
    "UNLEARN_NAMES",
    "",
    "Names, separated by commas, by which browsers call the server that `unlearn-studio --host` starts behind a proxy.",
)
VARIABLES = (CLASS, DEMO, CAPS, NAMES, RUNS, ROOTS, CACHE, DEVICE, DEVICE_MEMORY, REFERENCE_MEMORY, PRODUCTS)
