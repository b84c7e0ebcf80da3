"""The queue of an engine keeps its order, and looking at places stays cheap with thousands of records."""

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


class Counted(Record):
    """A record that counts how often any of them is looked up: the work of a queue, without a clock."""

    looked_up = 0

    def __hash__(self):
        Counted.looked_up += 1
        return super().__hash__()


def test_asking_for_every_place_costs_no_more_for_each_of_many():
    def looked_up(count):
        queue, every = Waiting(), [Counted(Path(f"/runs/{at}")) for at in range(count)]
        for record in every:
            queue.add(record)
        Counted.looked_up = 0
        assert sum(queue.place(record) for record in every) == count * (count + 1) // 2
        return Counted.looked_up / count

    assert looked_up(1000) == looked_up(100) <= 3
