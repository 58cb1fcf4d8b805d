"""Work that takes long, apart from the event loop and from the process's end."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def apart(function: Callable[..., T], *arguments: object) -> "asyncio.Future[T]":
    """The function's result, from a thread that the process does not wait for when it ends (as it would for an executor's)."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(put: Callable[[Any], None], what: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(lambda: None if future.done() else put(what))

    def run() -> None:
        try:
            deliver(future.set_result, function(*arguments))
        except BaseException as error:
            deliver(future.set_exception, error)

    threading.Thread(target=run, daemon=True, name=getattr(function, "__name__", "apart")).start()
    return future
