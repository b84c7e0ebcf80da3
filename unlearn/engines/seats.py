"""Holds the carriers of a Ray cluster: detached actors, each on as many cores and GPUs as one record takes.

They outlive the process that made them and are known by their names, which begin with that of the store; one that
nobody calls any more ends itself.
"""

import contextlib
import hashlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn.engines import afterwards
from unlearn.engines.carrier import Carrier
from unlearn.engines.folders import clear_dead
from unlearn.engines.mirror import Mirror
from unlearn.engines.place import environ_of
from unlearn.store.runs import Record
from unlearn.store.shapes import JsonObject

NAMESPACE = "unlearn"
# Seconds that a carrier without a record waits for a call before it ends itself, and one whose record nobody fetches.
ALONE, UNFETCHED = 120.0, 24 * 3600.0
# Seconds for an answer of a carrier that an earlier process made, and for one that should clear away what it has.
FIND, LEAVE = 30.0, 5.0
# Seconds for a connection to the first machine of the cluster.
ANSWER = 5.0
# Seconds for which the size of the cluster is taken as known.
KNOWN = 5.0
# Bytes for what is under way between the machines, where Ray is started here.
OBJECTS = 2**28
# Variables of this process that count there too.
HANDED_ON = ("UNLEARN_PRODUCTS", "UNLEARN_CACHE", "HF_HUB_OFFLINE", "HF_HOME", "TOKENIZERS_PARALLELISM")


class RayCarrier(Carrier):
    """A carrier that is an actor of Ray. environ: variables that are set before torch is loaded."""

    def __init__(self, environ: dict[str, str], session: str) -> None:
        os.environ.update(environ)
        super().__init__(session)
        clear_dead()
        afterwards.watch()
        threading.Thread(target=self._leave_alone, name="unlearn-alone", daemon=True).start()

    def about(self) -> JsonObject:
        """Return what Carrier.about() does. The node's name has a part of Ray's id for it."""
        import ray

        told = super().about()
        return told | {"node": f"{told['node']} ({ray.get_runtime_context().get_node_id()[:8]})"}

    def _leave_alone(self) -> None:
        """End this process when nobody has called for long: whoever made it was killed and did not come back."""
        while True:
            time.sleep(5.0)
            busy = self.key and not self._ended.is_set()
            if not busy and time.monotonic() - self.called > (UNFETCHED if self.key else ALONE):
                self.leave()
                os._exit(0)


@dataclass(eq=False)
class Seat:
    """A carrier as this side knows it. asked: the answer that is awaited. about: None before its first answer."""

    actor: Any
    asked: Any
    about: JsonObject | None = None
    record: Record | None = None
    mirror: Mirror | None = None

    @property
    def node(self) -> str:
        """Return the name of its machine, or "" before it has answered."""
        return str(self.about["node"]) if self.about else ""


class Cluster:
    """A cluster of Ray as a store's engine sees it: how large it is, and which carriers of this store it has.

    address: as in --on ray:ADDRESS; without one RAY_ADDRESS counts, else Ray is started here. ValueError where it is
    not reached, or where no machine is as large as one record needs.
    """

    def __init__(self, address: str, root: Path, cpus: int, gpus: float) -> None:
        self.cpus, self.gpus = cpus, gpus
        whose = f"{socket.gethostname()}:{root.absolute()}"
        # The names of this store's carriers begin with it, and by it those of one machine share what they keep.
        self.session = hashlib.sha256(whose.encode()).hexdigest()[:12]
        self._room: tuple[float, int] = (0.0, 0)
        self.started_here = _connect(address)
        self.first = first_machine()
        self._check_size()

    def _check_size(self) -> None:
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for flag, kind, wanted in (("--cpus", "CPU", self.cpus), ("--gpus-per-run", "GPU", self.gpus)):
            most = max((node.get(kind, 0.0) for node in nodes), default=0.0)
            if wanted > most:
                raise ValueError(
                    f"{flag}: no machine of the cluster has {wanted:g} {kind}s for one run, the largest has {most:g}; "
                    "ask for fewer."
                )

    def room(self) -> int:
        """Return how many records the cluster has room for at once."""
        at, room = self._room
        if not room or time.monotonic() - at > KNOWN:
            import ray

            has = ray.cluster_resources()
            room = int(has.get("CPU", 0.0) // self.cpus)
            if self.gpus:
                room = min(room, int(has.get("GPU", 0.0) / self.gpus))
            self._room = (time.monotonic(), max(1, room))
        return self._room[1]

    def found(self) -> dict[str, Seat]:
        """Return the carriers that an earlier process of this store made, by the record that each has."""
        import ray

        seats: dict[str, Seat] = {}
        for told in ray.util.list_named_actors(all_namespaces=True):
            if told["namespace"] != NAMESPACE or not told["name"].startswith(self.session):
                continue
            with contextlib.suppress(ValueError):
                actor = ray.get_actor(told["name"], namespace=NAMESPACE)
                try:
                    about = ray.get(actor.about.remote(), timeout=FIND)
                # One that does not answer must not carry a record out beside the next one.
                except ray.exceptions.RayError:
                    ray.kill(actor)
                    continue
                if about["key"]:
                    seats[about["key"]] = Seat(actor, None, about)
        return seats

    def seat(self) -> Seat:
        """Return a new carrier, which answers as soon as the cluster has room for it."""
        import ray

        environ = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
        environ |= environ_of(self.cpus)
        options = {
            "name": f"{self.session}-{secrets.token_hex(4)}",
            "namespace": NAMESPACE,
            "lifetime": "detached",
            "num_cpus": self.cpus,
            "num_gpus": self.gpus,
            # Looks and reads go on while a record is carried out, and while one of them waits.
            "max_concurrency": 4,
            "scheduling_strategy": "SPREAD",
        }
        actor = ray.remote(RayCarrier).options(**options).remote(environ, self.session)
        return Seat(actor, actor.about.remote())

    def end(self, seat: Seat) -> None:
        """End a carrier and whatever it does."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError, ValueError):
            # One that has not begun yet has nothing to clear away, and would be waited for.
            if seat.about is not None:
                ray.get(seat.actor.leave.remote(), timeout=LEAVE)
        with contextlib.suppress(ray.exceptions.RayError, ValueError):
            ray.kill(seat.actor)

    def answers(self) -> bool:
        """Return whether the cluster's first machine, which keeps what all know, lets anybody connect to it."""
        host, _, port = self.first.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=ANSWER).close()
        except OSError:
            return False
        return True

    def leave(self) -> None:
        """Leave the cluster. One that was started here ends with all it has."""
        if self.started_here:
            import ray

            ray.shutdown()

    def abandon(self) -> None:
        """Leave a cluster whose first machine is lost, unless this process has joined another one since."""
        import ray

        if ray.is_initialized() and first_machine() == self.first:
            ray.shutdown()


def first_machine() -> str:
    """Return HOST:PORT where the first machine of the cluster listens that this process has joined."""
    import ray

    return str(ray.get_runtime_context().gcs_address)


def first_line(error: Exception) -> str:
    """Return the last line of an error's text, where Ray says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).rstrip(".")


def check_listens(address: str) -> None:
    """Raise ValueError where nobody listens at HOST:PORT. Ray itself would try again for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"--on ray: nobody listens at {address} ({error}); start Ray there with `ray start --head`, and give the "
            "address that it prints, or leave the address out to start Ray here."
        ) from error


def _for_good(do: Callable[[], None]) -> None:
    """Do it in a thread that lives as long as this process, which the main one does.

    Linux ends what Ray starts together with the thread that started it, and a page's thread ends with the page.
    """
    if threading.current_thread() is threading.main_thread():
        do()
        return
    done = Future[None]()

    def work() -> None:
        try:
            do()
        except BaseException as error:
            done.set_exception(error)
            return
        done.set_result(None)
        threading.Event().wait()

    threading.Thread(target=work, name="unlearn-ray-begin", daemon=True).start()
    done.result()


def _connect(address: str) -> bool:
    """Connect this process to Ray, and return whether Ray was started for it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A call that comes too late, when a cluster was lost, must not start another one.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    import ray

    if ray.is_initialized():
        joined = first_machine()
        if address not in ("", "auto", "local", joined):
            raise ValueError(
                f"--on ray: this process is connected to {joined} already, and can not reach {address} beside it; "
                "start it again."
            )
        return False
    address = address or os.environ.get("RAY_ADDRESS", "") or "local"
    own = {"include_dashboard": False, "object_store_memory": OBJECTS} if address == "local" else {}
    check_listens(address)

    def begin() -> None:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR", **own)

    try:
        _for_good(begin)
    # Ray raises of many kinds for a cluster that is not there, or that has another version of Python or of itself.
    except Exception as error:
        raise ValueError(
            f"--on ray: {address} cannot be reached ({first_line(error)}); start it with `ray start --head`, and give "
            "the address that it prints, or leave the address out to start Ray here."
        ) from error
    return address == "local"
