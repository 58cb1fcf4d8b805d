"""The one thread on which a model lives, and the ones that encode its pictures."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class ModelThread:
    """Calls in the order in which they are made, one after another; their results come back in that order too."""

    def __init__(self):
        self._thread = ThreadPoolExecutor(1, "model")
        self._encoders = ThreadPoolExecutor(2, "encoder")
        self._since: float | None = None

    def open(self, factory: Callable[[], T]) -> T:
        """What the factory makes there, waited for."""
        return self._thread.submit(factory).result()

    async def call(self, function: Callable[..., T], *arguments: object) -> T:
        """The function's result. Cancelling gives up waiting for it, not the call."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._timed, function, *arguments)

    async def encode(self, function: Callable[..., T], *arguments: object) -> T:
        """The function's result, from a thread beside the model's."""
        return await asyncio.get_running_loop().run_in_executor(self._encoders, function, *arguments)

    @property
    def busy_s(self) -> float:
        """For how long the call under way has been at it; 0 while there is none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def close(self) -> None:
        """Let the threads go; a call under way finishes unseen."""
        for threads in (self._thread, self._encoders):
            threads.shutdown(wait=False, cancel_futures=True)

    def _timed(self, function: Callable[..., T], *arguments: object) -> T:
        self._since = time.monotonic()
        try:
            return function(*arguments)
        finally:
            self._since = None
