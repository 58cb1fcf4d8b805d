"""A loader that is stuck is told, and waited for or given up."""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, wait
from queue import SimpleQueue
from threading import Thread

from roadcast.data.clip import Clip
from roadcast.errors import UserError

Asked = SimpleQueue["Future[Clip | None] | None"]


def watched(batches: Iterator[Clip], seconds: float, action: str, report: Callable[[str], None]) -> Generator[Clip]:
    """The batches as they are, each drawn by another thread when it is asked for, and no sooner.

    seconds  that a batch may take before it is `report`ed, once; 0: all the time in the world
    action   then: log, wait on; or stop, raise `UserError`

    What `batches` raises is raised here. When this is closed, so are `batches`, and the thread ends; one that is stuck ends with
    the process, and holds it up no longer.
    """
    if seconds <= 0:
        yield from batches
        return
    asked: Asked = SimpleQueue()
    thread = Thread(target=draw, args=(batches, asked), name="watched loader", daemon=True)
    thread.start()
    future: Future[Clip | None] | None = None
    try:
        while True:
            future = Future()
            asked.put(future)
            if not wait([future], timeout=seconds).done:
                told = f"the loader has brought no batch for {seconds:g} s"
                if action == "stop":
                    raise UserError(
                        f"{told}; look at the disk or network that the reel is on, set data.workers = 0, or raise guard.stall_seconds"
                    )
                report(f"{told}; waiting on")
            if (clip := future.result()) is None:
                return
            yield clip
    finally:
        asked.put(None)
        if future is not None and future.done():
            thread.join()


def draw(batches: Iterator[Clip], asked: Asked) -> None:
    """Fulfil each future with the next batch, None after the last, until None is asked for; then close `batches`."""
    while (future := asked.get()) is not None:
        try:
            future.set_result(next(batches, None))
        except BaseException as error:
            future.set_exception(error)
    if (close := getattr(batches, "close", None)) is not None:
        close()
