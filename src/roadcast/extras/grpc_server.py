"""Driving over gRPC: one call a session, whose messages are those of protocol.py as bytes, in both directions.

    service roadcast.v2.Roadcast { rpc Drive(stream bytes) returns (stream bytes); }

There is no .proto and no generated code: a message is the UTF-8 of a JSON object, or, from the server, a frame, which alone begins
with "RC". A token goes into the metadata as `authorization: Bearer TOKEN`. The message `Close` ends the session; a client whose stream ends
without, or whose call is cancelled or broken, which cannot be told apart here, leaves it waiting to be resumed. The call ends with the
status in STATUS for how the session did.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from grpc import StatusCode, aio

from roadcast.errors import UserError
from roadcast.web.auth import bearer
from roadcast.web.conversation import Conversation
from roadcast.web.line import Left, Line
from roadcast.web.protocol import MAX_MESSAGE_BYTES
from roadcast.web.server import Server

SERVICE, METHOD = "roadcast.v2.Roadcast", "Drive"
STATUS = {
    1000: StatusCode.OK, 1008: StatusCode.PERMISSION_DENIED, 1011: StatusCode.INTERNAL, 1012: StatusCode.UNAVAILABLE,
    1013: StatusCode.RESOURCE_EXHAUSTED, 4408: StatusCode.DEADLINE_EXCEEDED,
}  # fmt: skip
"""By the codes with which a WebSocket would be closed."""
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 5000), ("grpc.keepalive_timeout_ms", 5000), ("grpc.http2.max_pings_without_data", 0),
]  # fmt: skip
CALLS = 256
GRACE_S = 1.0


class Call(Line):
    """A `Line` over one call, which takes one message at a time."""

    def __init__(self, context: aio.ServicerContext):
        self._context, self._turn = context, asyncio.Lock()

    async def hear(self) -> str | bytes:
        """The next message; bytes where it is no text."""
        message = await self._context.read()
        if message is aio.EOF:  # pyright: ignore[reportAttributeAccessIssue]
            raise Left(meant=False)
        assert isinstance(message, bytes)
        try:
            return message.decode()
        except UnicodeDecodeError:
            return message

    async def say(self, message: str) -> None:
        """The text's UTF-8."""
        with contextlib.suppress(Left):
            await self.show(message.encode())

    async def show(self, frame: bytes) -> None:
        """The frame's bytes."""
        if not await asyncio.shield(asyncio.ensure_future(self._written(frame))):
            raise Left(meant=False)

    async def _written(self, message: bytes) -> bool:
        """Whether it could be sent. Not to be cancelled: gRPC ends no call that is still sending."""
        async with self._turn:
            try:
                await self._context.write(message)
            except (aio.UsageError, aio.BaseError):
                return False
            return True

    async def close(self, code: int, reason: str) -> None:
        """The status that the call is to end with."""
        self._context.set_code(STATUS[code])
        self._context.set_details(reason)

    async def sent(self) -> None:
        """What is being sent is through, or the client has not taken it for GRACE_S."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._turn.acquire(), GRACE_S)


@asynccontextmanager
async def door(server: Server, host: str, port: int) -> AsyncIterator[int]:
    """Take calls, without TLS, as long as the context is open: the port, which 0 lets the system choose."""

    async def drive(_: object, context: aio.ServicerContext) -> None:
        given = dict(context.invocation_metadata() or ())
        caller = server.tokens.holder(bearer(str(given.get("authorization", "")))) if server.tokens else ""
        if caller is None:
            await context.abort(StatusCode.UNAUTHENTICATED, "a token is needed that this server knows")
        elif server.leaving:
            await context.abort(StatusCode.UNAVAILABLE, "this server is leaving")
        else:
            call = Call(context)
            await Conversation(call, server, caller).run()
            await call.sent()

    calls = aio.server(options=OPTIONS, maximum_concurrent_rpcs=CALLS)
    handler = grpc.stream_stream_rpc_method_handler(drive)
    calls.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    try:
        port = calls.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError as error:
        raise UserError(f"cannot take gRPC on {host} port {port}: {error}; choose another with --grpc-port") from None
    await calls.start()
    print(f"gRPC: {SERVICE}/{METHOD} at {host} port {port}", flush=True)
    try:
        yield port
    finally:
        await calls.stop(GRACE_S)
