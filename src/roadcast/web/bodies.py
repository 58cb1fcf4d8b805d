"""How large the body of a request may be and how long it may take to come, whoever sends it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastapi import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = 60.0
TOO_SLOW, TOO_LARGE = 408, 413


class Bodies:
    """An ASGI application around another, to which a body that breaks its bounds is an `HTTPException` as soon as it is read.

    most     bytes, by the path of the request
    seconds  for the whole body
    """

    def __init__(self, app: "ASGIApp", most: Callable[[str], int], seconds: float = SECONDS):
        self._app, self._most, self._seconds = app, most, seconds

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        left, whole = (most := self._most(scope["path"])), False
        deadline = asyncio.get_running_loop().time() + self._seconds

        async def measured() -> "Message":
            nonlocal left, whole
            if whole:  # what is waited for now is that the client leaves
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    TOO_SLOW, f"the body did not come within {self._seconds:g} s", {"Connection": "close"}
                ) from None
            left -= len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if left < 0:
                raise HTTPException(TOO_LARGE, f"the body has more than {most} bytes; send a shorter or smaller one")
            return message

        await self._app(scope, measured, send)
