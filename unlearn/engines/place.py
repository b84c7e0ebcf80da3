"""Says where records are carried out: in this process, on a Ray cluster, or by SLURM, and with how much of it."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, fields

from unlearn.compute.memory import passive_threads
from unlearn.store.away import place_of
from unlearn.store.knobs import Knob, check, knob, knobs_of
from unlearn.store.shapes import JsonView

# {engine: the package that it needs}. The extra of unlearn-studio has the engine's name.
PACKAGES = {"thread": "", "ray": "ray", "slurm": "submitit"}
# Another word for the thread, which says that nothing leaves this machine.
ALSO = {"local": "thread"}
FORMS = "thread, ray[:ADDRESS] or slurm[:PARTITION]"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where records are carried out, and what each may take there. It changes no result and is no setting of a run.

    slurm: options of sbatch by their long names. ValueError for what no engine has, naming the option.
    """

    on: str = knob("thread", help=f"Who carries it out: {FORMS}.")
    at_once: int = knob(
        0, 0, 10_000, "Runs that are carried out at the same time; 0 means as many as there is room for."
    )
    cpus: int = knob(
        0, 0, 1024, "CPU cores and threads of each run; 0 means one elsewhere, and here what suits the model."
    )
    gpus_per_run: float = knob(
        0.0, 0.0, 64.0, "GPUs of each run elsewhere; on Ray a fraction such as 0.25 lets runs share one."
    )
    store: str = knob("", help="Keep the weights of runs there, such as /nfs/weights or s3://bucket/weights.")
    slurm: Mapping[str, str] = knob(
        {}, kind="table", help="An option of sbatch, such as time=2:00:00 or account=lab (again for more)."
    )

    def __post_init__(self) -> None:
        for k in knobs_of(type(self)):
            object.__setattr__(self, k.name, check("where", k, getattr(self, k.name)))
        engine, colon, address = self.on.partition(":")
        engine = ALSO.get(engine, engine)
        if engine not in PACKAGES or (colon and (engine == "thread" or not address)):
            raise ValueError(f"--on: must be {FORMS}, got {self.on[:100]!r}.")
        object.__setattr__(self, "on", engine + colon + address)
        self._fits(engine)

    @property
    def engine(self) -> str:
        """Return the engine's name: thread, ray or slurm."""
        return self.on.partition(":")[0]

    @property
    def address(self) -> str:
        """Return what follows the engine's name: Ray's address or SLURM's partition, or "" for the usual one."""
        return self.on.partition(":")[2]

    @property
    def here(self) -> bool:
        """Return whether this process itself carries the records out."""
        return self.engine == "thread"

    def _fits(self, engine: str) -> None:
        """ValueError for an option that this engine cannot keep."""
        if engine == "thread" and self.at_once > 1:
            raise ValueError(
                f"--at-once: this process carries out one run after the other, got {self.at_once}; with --on ray "
                "several share this machine."
            )
        if engine == "thread" and self.gpus_per_run:
            raise ValueError(
                "--gpus-per-run: only an engine divides GPUs among runs; give --on ray or --on slurm with it."
            )
        if engine != "slurm" and self.slurm:
            raise ValueError("--slurm: these options are for sbatch; give --on slurm with them.")
        if engine == "slurm" and self.gpus_per_run != int(self.gpus_per_run):
            raise ValueError(
                f"--gpus-per-run: SLURM gives a run whole GPUs, got {self.gpus_per_run:g}; fractions are for --on ray."
            )

    def check(self) -> None:
        """Raise ValueError, with the remedy, where the engine's package is not installed."""
        if self.store:
            place_of(self.store)
        package = PACKAGES[self.engine]
        if package and importlib.util.find_spec(package) is None:
            remedy = f'pip install "unlearn-studio[{self.engine}]"'
            raise ValueError(f"--on {self.engine}: the package {package} is not installed; {remedy}")

    def to_json(self) -> dict[str, object]:
        """Return what differs from the defaults, for the events of a record."""
        told = {k.name: getattr(self, k.name) for k in self.knobs() if getattr(self, k.name) != k.default}
        return {"on": self.on} | told

    @classmethod
    def from_json(cls, told: JsonView) -> "Place":
        """Return the place that to_json() told. ValueError for what is none."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in told.items() if name in known})

    @classmethod
    def knobs(cls) -> tuple[Knob, ...]:
        """Return the options, each with its default, range and sentence."""
        return knobs_of(cls)


def environ_of(cpus: int) -> dict[str, str]:
    """Return the variables of a run's process elsewhere: so many threads, which wait as those of this process do."""
    return {"OMP_NUM_THREADS": str(cpus)} | passive_threads()
