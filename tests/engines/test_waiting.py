"""The queue of an engine keeps its order, and looking at places stays cheap with thousands of records."""

import time
from pathlib import Path

from unlearn.engines.waiting import Waiting
from unlearn.store.runs import Record


def records(count):
    return [Record(Path(f"/runs/{at}")) for at in range(count)]


def test_places_follow_who_comes_and_goes():
    a, b, c = records(3)
    queue = Waiting()
    for record in (a, b):
        queue.add(record)
    assert [queue.place(one) for one in (a, b, c)] == [1, 2, 0]
    queue.put_first(c)
    assert list(queue) == [c, a, b]
    assert [queue.place(one) for one in (a, b, c)] == [2, 3, 1]
    assert queue.take(a)
    assert not queue.take(a)
    assert a not in queue
    assert [queue.place(one) for one in (a, b, c)] == [0, 2, 1]
    queue.clear()
    assert (len(queue), queue.place(b)) == (0, 0)


def test_asking_for_every_place_costs_no_more_for_each_of_many():
    """The order of growth, which no slow machine changes: ten times as many may take thirty times as long, not 100."""

    def spent(count):
        queue, every = Waiting(), records(count)
        for record in every:
            queue.add(record)
        began = time.process_time()
        assert sum(queue.place(record) for record in every) == count * (count + 1) // 2
        return time.process_time() - began

    few = min(spent(1000) for _ in range(5))
    assert min(spent(10_000) for _ in range(3)) < 30 * few
