"""A web application on a loopback port, served by a thread of the test's own process."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI


@contextmanager
def listening(app: FastAPI, port: int = 0, **options) -> Iterator[tuple[str, Callable[[], None]]]:
    """Its address, and what ends it before the context does; `options` are those of uvicorn."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(app, **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})

        def end() -> None:
            server.should_exit = True
            thread.join(20)

        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", end
        finally:
            end()
