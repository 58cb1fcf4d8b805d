"""Things that are made or read one after another, asked for by number."""

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Forward(Generic[Item]):
    """Item number n of an iterator, which is gone on with, and begun anew only when an earlier item is asked for.

    begin   gives the iterator from item 0 on
    """

    def __init__(self, begin: Callable[[], Iterator[Item]]):
        self._begin, self._lock = begin, threading.Lock()
        self._iterator: Iterator[Item] | None = None
        self._last = -1

    def __call__(self, n: int) -> Item:
        with self._lock:
            if self._iterator is None or n < self._last:
                self._iterator, self._last = self._begin(), -1
            try:
                while self._last < n:
                    self._item = next(self._iterator)
                    self._last += 1
            except BaseException:
                self._iterator = None
                raise
            return self._item
