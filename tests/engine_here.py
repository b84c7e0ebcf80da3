"""An engine for tests that carries each record out in a thread of this process, at once."""

import threading

from unlearn.store.engine import Where
from unlearn.work.execute import execute


class EngineHere:
    """submitted: the records in their order. most: how many were at work at the same time at most."""

    name = "here"

    def __init__(self, at_once=0):
        self.at_once, self.submitted, self.most = at_once, [], 0
        self._at_work, self._stops, self._lock = {}, {}, threading.Lock()

    def submit(self, *records, perform=execute):
        for record in records:
            stop = self._stops[record.path] = threading.Event()
            held = record.hold()
            record.append("state", state="queued")
            work = threading.Thread(target=self._work, args=(record, perform, stop, held), daemon=True)
            with self._lock:
                self.submitted.append(record)
                self._at_work[record.path] = work
                self.most = max(self.most, len(self._at_work))
            work.start()

    def _work(self, record, perform, stop, held):
        try:
            perform(record, should_stop=stop.is_set, on_progress=lambda phase, fraction: None, roots=None)
        finally:
            held.release()
            with self._lock:
                del self._at_work[record.path]

    def stop(self, record):
        self._stops[record.path].set()

    def where(self, record):
        with self._lock:
            return Where(0, "here", "working") if record.path in self._at_work else None

    def close(self):
        pass
