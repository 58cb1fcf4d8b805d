import threading
import time
from itertools import count, islice

import pytest

from roadcast.errors import UserError
from roadcast.training.watch import watched


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "watched loader"]


def stalling(seconds: float, closed: list[bool]):
    try:
        yield 0
        time.sleep(seconds)
        yield 1
    finally:
        closed.append(True)


def gone(seconds: float = 5.0) -> bool:
    """Whether all watchers end before long."""
    for thread in watchers():
        thread.join(seconds)
    return not watchers()


@pytest.mark.parametrize("seconds", [0.0, 5.0])
def test_batches_come_as_they_are_and_the_last_ends_it(seconds):
    assert list(watched(iter(range(5)), seconds, "stop", pytest.fail)) == list(range(5))
    assert not watchers()


def test_no_batch_is_drawn_before_it_is_asked_for():
    drawn = []
    batches = watched((drawn.append(n) or n for n in count()), 5.0, "stop", pytest.fail)
    assert list(islice(batches, 3)) == drawn == [0, 1, 2]
    batches.close()
    assert not watchers()


def test_a_stall_is_told_once_and_waited_for():
    told, closed = [], []
    assert list(watched(stalling(0.5, closed), 0.1, "log", told.append)) == [0, 1]
    assert told == ["the loader has brought no batch for 0.1 s; waiting on"] and closed and not watchers()


def test_a_stall_can_end_the_run_without_waiting_for_its_end():
    closed, began = [], time.perf_counter()
    with pytest.raises(UserError, match=r"no batch for 0\.1 s; .* raise guard\.stall_seconds"):
        list(watched(stalling(1.5, closed), 0.1, "stop", pytest.fail))
    assert time.perf_counter() - began < 1.2 and all(thread.daemon for thread in watchers())
    assert gone() and closed  # once it is stuck no longer


def test_what_goes_wrong_in_the_loader_is_raised_here():
    def broken():
        yield 0
        raise OSError("no such disk")

    with pytest.raises(OSError, match="no such disk"):
        list(watched(broken(), 5.0, "stop", pytest.fail))
    assert not watchers()


def test_closing_closes_the_loader_and_leaves_no_thread():
    closed = []
    batches = watched(stalling(0.0, closed), 5.0, "stop", pytest.fail)
    next(batches)
    batches.close()
    assert closed and not watchers()
