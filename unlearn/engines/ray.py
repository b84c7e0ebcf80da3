"""Carries records out on a Ray cluster that shares no disk with this machine.

The cluster has carriers, as many as there is room for: detached actors that outlive the process that made them. Each
takes one record after the other, so that torch is imported once. This side keeps the queue, copies what the carriers
write (unlearn.engines.mirror) and gives a record whose carrier is gone to another one, from the last checkpoint that
came here. A process that was killed finds its carriers by their names when the record is resumed.
"""

import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from unlearn.engines.carrier import differing, name_of, versions
from unlearn.engines.folders import Stamp
from unlearn.engines.luggage import batches, digest_of, files_of, models_of, packed, place_of
from unlearn.engines.mirror import PIECE, Mirror
from unlearn.engines.place import Place
from unlearn.engines.remote import Remote
from unlearn.engines.seats import Cluster, Seat, first_line
from unlearn.store.engine import Where
from unlearn.store.runs import Record, Run, RunStore
from unlearn.store.shapes import JsonObject

# Seconds that a carrier may wait for something new before it answers, that this side waits for the first answer, and
# between two looks where none is awaited.
LISTEN, WAIT, PAUSE = 1.0, 0.5, 0.05
# A record whose machines are lost so often without a new checkpoint in between is what loses them.
MOST_LOSSES = 3
# Seconds between two looks at the cluster's first machine, and for which it may be silent. Ray ends this process, and
# the app's server with it, when that machine was gone for 60.
LOOK, SILENT = 2.0, 20.0
# Seconds for leaving a cluster that does not answer.
ABANDON = 60.0


class Ray(Remote):
    """The engine `ray`. ValueError where Ray is missing, is not reached, or has no machine as large as asked for."""

    name = "ray"

    def __init__(self, place: Place, store: RunStore, roots: Sequence[Path] | None = None) -> None:
        super().__init__(place, store, roots)
        self._seats: list[Seat] = []
        self._losses: dict[Record, tuple[int, int]] = {}
        self._cluster = Cluster(place.address, store.root, place.cpus or 1, place.gpus_per_run)
        self._found = self._cluster.found()
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="unlearn-ray-watch", daemon=True)
        self._watcher.start()

    # -- one round -------------------------------------------------------------------------------------------

    def _round(self) -> None:
        import ray

        if self.lost:
            time.sleep(PAUSE)
            return
        self._seat_records()
        asked = {seat.asked: seat for seat in self._seats if seat.asked is not None}
        if not asked:
            time.sleep(PAUSE)
            return
        ready, _ = ray.wait(list(asked), num_returns=1, timeout=WAIT)
        # All that answered meanwhile are taken in one round.
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=0) if ready else ([], [])
        for ref in ready:
            self._answered(asked[ref], ref)

    def _seat_records(self) -> None:
        """Give waiting records to free carriers, and ask for more of these. One that is free for long ends itself."""
        with self._wake:
            # A place is read from the disk, and mostly nothing was found.
            waiting = list(self._waiting) if self._found else []
        for record in waiting:
            if seat := self._found.pop(place_of(record), None):
                self._seats.append(seat)
                record.append("state", state="running")
                self._follow(seat, record, "found again")
        free = [seat for seat in self._seats if seat.about and seat.record is None and seat.asked is None]
        with self._wake:
            waiting = list(self._waiting)
        for record, seat in zip(waiting, free, strict=False):
            self._guarded(record, partial(self._begin, seat, record))
        coming = sum(seat.about is None for seat in self._seats)
        most = self.place.at_once or self._cluster.room()
        with self._wake:
            missing = min(most - len(self._seats), len(self._waiting) - coming)
        self._seats += [self._cluster.seat() for _ in range(missing)]

    def _begin(self, seat: Seat, record: Record) -> None:
        """Send what the record needs, and let the carrier begin."""
        import ray

        with self._wake:
            if record not in self._waiting:
                return
        kind, perform = name_of(type(record)), name_of(self._performs[record])
        models: dict[str, str] = {}
        try:
            for name, folder in models_of(record).items():
                models[name] = self._send_model(seat, folder)
            last: dict[str, bytes] = {}
            for batch in batches(packed(record, self.roots), PIECE):
                if last:
                    ray.get(seat.actor.put.remote(last))
                last = batch
            ray.get(
                seat.actor.begin.remote(place_of(record), kind, perform, last, self._options(record), models)
            )
        except (ValueError, OSError):
            ray.get(seat.actor.end.remote())
            raise
        # It has ended itself or was lost before it had the record, which another one takes.
        except ray.exceptions.RayActorError:
            self._drop(seat)
            return
        assert seat.about is not None, "it has answered before"
        seat.about["models"] = models
        self._follow(seat, record, "carried out")

    def _send_model(self, seat: Seat, folder: Path) -> str:
        """Return where a model's folder lies on the carrier's machine. It goes there once."""
        import ray

        digest = digest_of(folder)
        if not (there := str(ray.get(seat.actor.folder.remote(digest)))):
            files = [(path.relative_to(folder).as_posix(), path) for path in files_of(folder)]
            for batch in batches(files, PIECE):
                ray.get(seat.actor.put_folder.remote(digest, batch, False))
            ray.get(seat.actor.put_folder.remote(digest, {}, True))
            there = str(ray.get(seat.actor.folder.remote(digest)))
        return there

    def _follow(self, seat: Seat, record: Record, how: str) -> None:
        with self._wake:
            # Somebody may have taken it out of the queue meanwhile.
            if not self._waiting.take(record):
                self._drop(seat)
                return
            self._at_work[record] = Where(0, seat.node)
        record.append("note", text=f"It is {how} on {seat.node} by Ray.", node=seat.node)
        seat.record, seat.mirror = (
            record,
            Mirror(
                self.store.root,
                weights=not record.meta.get("scores_only"),
                models=seat.about["models"] if seat.about else None,
            ),
        )
        self._ask(seat)

    def _ask(self, seat: Seat) -> None:
        assert seat.mirror is not None, "a carrier with a record has a copy of its files"
        seat.asked = seat.actor.news.remote(seat.mirror.cursors, LISTEN)

    def _answered(self, seat: Seat, ref: Any) -> None:
        import ray

        seat.asked = None
        try:
            told = ray.get(ref)
            if seat.about is None:
                seat.about = told
                self._compare(seat)
            # What cannot be written here ends the record there too.
            elif seat.record is not None and not self._guarded(seat.record, lambda: self._take(seat, told)):
                self._drop(seat)
        except ray.exceptions.RayActorError as error:
            self._lost(seat, error)
        except ray.exceptions.RayError as error:
            self._refuse(f"ray: a machine of the cluster cannot carry out runs ({first_line(error)})")

    def _take(self, seat: Seat, news: JsonObject) -> None:
        import ray

        record, mirror = seat.record, seat.mirror
        assert record is not None, "only a carrier with a record is asked for news"
        assert mirror is not None, "it has a copy of its files too"

        def read(name: str, offset: int, size: int) -> tuple[Stamp, bytes] | None:
            found: tuple[Stamp, bytes] | None = ray.get(seat.actor.read.remote(name, offset, size))
            return found

        try:
            over = mirror.take(news, read)
        except ray.exceptions.RayActorError as error:
            self._lost(seat, error)
            return
        phase, fraction = news["progress"]
        with self._wake:
            self._at_work[record] = Where(0, seat.node, phase, fraction)
        if not over:
            self._ask(seat)
            return
        mirror.close()
        seat.record = seat.mirror = None
        self._losses.pop(record, None)
        self._finish(record)
        # It is free when it has answered; others are looked after meanwhile.
        seat.asked = seat.actor.end.remote()

    # -- what goes wrong -------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Look after the first machine of the cluster. Where it is lost, all ends before Ray ends this process."""
        silent: float | None = None
        while not self._over.wait(LOOK):
            if self._cluster.answers():
                silent = None
            elif silent is None:
                silent = time.monotonic()
            elif time.monotonic() - silent > SILENT:
                self._let_go(
                    f"the first machine of the Ray cluster ({self._cluster.first}) is lost, and the cluster with it; "
                    "start one again, and `unlearn resume` goes on from the last checkpoint that had arrived"
                )
                self._cluster.abandon()
                return

    def _lost(self, seat: Seat, error: Exception) -> None:
        """A carrier is gone: its record goes on elsewhere."""
        record, mirror = seat.record, seat.mirror
        if self.lost:
            return
        self._drop(seat)
        if record is None:
            return
        if mirror is not None:
            mirror.close()
        node = seat.node or "a machine"
        if record in self._stops:
            self._finish(record, state="stopped", reason=f"stopped by hand when {node} was lost")
            return
        step = record.checkpoint_step() if isinstance(record, Run) else 0
        at, times = self._losses.get(record, (0, 0))
        self._losses[record] = (step, 1 if step > at else times + 1)
        if times == MOST_LOSSES and step <= at:
            said = f"its machine was lost {times + 1} times in a row, at last {node} ({first_line(error)})"
            self._finish(record, state="failed", reason=said)
            return
        begin = f"step {step}, whose checkpoint had arrived"
        begin = begin if step else "its start, since no checkpoint had arrived"
        record.append("note", text=f"{node} was lost. The run goes on elsewhere from {begin}.", lost=node)
        record.append("state", state="queued")
        with self._wake:
            self._at_work.pop(record, None)
            self._waiting.put_first(record)

    def _compare(self, seat: Seat) -> None:
        """Refuse a cluster on which something else is installed than here."""
        assert seat.about is not None
        if found := differing(versions(), seat.about["versions"]):
            self._refuse(
                f"ray: {seat.node} has {found}; install the same versions on all machines "
                "(pip install -r requirements.txt)."
            )

    def _refuse(self, reason: str) -> None:
        """End all records: what is wrong with the cluster is wrong for each."""
        for record in self.active():
            self._finish(record, state="failed", reason=reason)
        for seat in list(self._seats):
            self._drop(seat)

    def _drop(self, seat: Seat) -> None:
        self._seats.remove(seat)
        self._cluster.end(seat)

    def _ask_to_stop(self, record: Record) -> None:
        for seat in self._seats:
            if seat.record == record:
                seat.actor.stop.remote()

    def _waits_for(self) -> str:
        gpus = f" and {self.place.gpus_per_run:g} GPU" if self.place.gpus_per_run else ""
        return f"it waits for {self.place.cpus or 1} CPU{gpus} of the cluster"

    def close(self) -> None:
        """Let go of everything. What a cluster carries out goes on; Ray that was started here ends with all it has."""
        self._over.set()
        super().close()
        if self.lost:
            # Who is gone cannot be told anything; only Ray itself is left, and two threads must not end it at once.
            self._watcher.join(ABANDON)
            return
        for seat in list(self._seats):
            if seat.record is None:
                self._drop(seat)
        self._seats.clear()
        self._cluster.leave()
