"""Threads around the device: order, bounds, errors, interruptions."""

from __future__ import annotations

import threading
import time

import pytest

from augment.jobs.overlap import Writer, ahead


@pytest.mark.parametrize("waiting", [0, 1, 3])
def test_items_come_in_order_and_all_of_them(waiting):
    with ahead((i * i for i in range(20)), waiting) as items:
        assert list(items) == [i * i for i in range(20)]


def test_no_more_is_made_ahead_than_may_wait():
    made = []

    def make():
        for i in range(10):
            made.append(i)
            yield i

    with ahead(make(), 2) as items:
        next(items)
        time.sleep(0.1)
        assert made == [0, 1, 2, 3]  # one taken, two waiting, one in hand
    time.sleep(0.05)
    assert len(made) <= 5 and not [t for t in threading.enumerate() if t.name == "augment-ahead"]


@pytest.mark.parametrize("waiting", [0, 2])
def test_an_error_in_the_making_is_raised_in_its_place(waiting):
    def make():
        yield 1
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"), ahead(make(), waiting) as items:
        for item in items:
            seen.append(item)
    assert seen == [1]


@pytest.mark.parametrize("waiting", [0, 1, 3])
def test_calls_are_made_in_order_and_all_are_done_at_the_end(waiting):
    done = []
    with Writer(waiting) as writer:
        for i in range(20):
            writer.put(done.append, i)
        writer.flush()
        assert done == list(range(20))
        writer.put(done.append, 20)
    assert done == list(range(21))


def test_it_works_while_the_caller_does_and_waits_when_it_is_behind():
    gate, done = threading.Event(), []
    with Writer(1) as writer:
        writer.put(gate.wait)
        writer.put(done.append, 1)
        assert done == []  # the caller goes on
        late = threading.Timer(0.1, gate.set)
        late.start()
        started = time.monotonic()
        writer.put(done.append, 2)  # no room until the first is done
        assert time.monotonic() - started > 0.05
    assert done == [1, 2]


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
@pytest.mark.parametrize("waiting", [0, 2])
def test_an_error_reaches_the_caller_and_nothing_is_called_after_it(waiting, error):
    done = []

    def fail():
        raise error

    with pytest.raises(type(error)), Writer(waiting) as writer:
        writer.put(done.append, 1)
        writer.put(fail)
        writer.put(done.append, 2)
        writer.flush()
    assert done == [1]


def test_an_error_of_the_last_call_is_not_lost():
    with pytest.raises(ZeroDivisionError), Writer(2) as writer:
        writer.put(lambda: 1 / 0)


def test_an_interrupted_caller_loses_nothing_it_has_put():
    done = []

    def slowly(i):
        time.sleep(0.02)
        done.append(i)

    with pytest.raises(KeyboardInterrupt), Writer(3) as writer:
        for i in range(4):
            writer.put(slowly, i)
        raise KeyboardInterrupt
    assert done == [0, 1, 2, 3]
