"""Driving over gRPC."""

import asyncio
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("grpc", reason="the extra 'rpc' is not installed")

from grpc import StatusCode, aio

from roadcast.extras.grpc_server import METHOD, SERVICE, door
from roadcast.serving.mock import MockBackend
from roadcast.web.auth import Tokens
from roadcast.web.messages import (
    Close,
    Controls,
    Create,
    Credit,
    Error,
    Keep,
    Kept,
    Migrate,
    Opened,
    Pace,
    Resume,
    dump,
    parse_reply,
)
from roadcast.web.protocol import Frame
from roadcast.web.server import Server

TOKEN = "a-token-of-sixteen-or-more"


@asynccontextmanager
async def serving(tokens: dict[str, str] | None = None):
    """A server, and what begins a call to it."""
    server = Server({"toyroad": lambda: MockBackend(2, 32, 64, fps=50.0)}, tokens=Tokens(tokens or {}))
    server.start()
    async with (
        door(server, "127.0.0.1", 0) as port,
        aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield server, channel.stream_stream(f"/{SERVICE}/{METHOD}")
        await server.stop()


async def tell(call, *messages) -> None:
    for message in messages:
        await call.write(dump(message).encode())


async def following(call, kind: type):
    """The next message of this kind; those before it are dropped."""
    while (message := await asyncio.wait_for(call.read(), 20)) is not aio.EOF:
        message = Frame.unpack(message) if message.startswith(b"RC") else parse_reply(message.decode())
        if isinstance(message, kind):
            return message
    raise AssertionError(await call.code())


def test_a_session_is_driven_and_ended():
    async def drive() -> None:
        async with serving() as (server, begin):
            call = begin()
            await tell(call, Create(seed=3))
            assert (await following(call, Opened)).model == "toyroad"
            await tell(call, Controls(4, steer=0.5), Credit(1))
            assert (await following(call, Frame)).first
            await tell(call, Credit(1))
            frame = await following(call, Frame)
            assert frame.action_id == 4 and frame.picture[:2] == b"\xff\xd8"
            await call.write(b"\xff\x00")
            assert (await following(call, Error)).code == "bad_message"
            await tell(call, Keep())
            assert (await following(call, Kept)).step >= 1
            await tell(call, Close())
            assert await call.read() is aio.EOF and await call.code() == StatusCode.OK
            assert not any(one.sessions for one in server.models.values())

    asyncio.run(drive())


def test_a_call_that_breaks_or_whose_stream_ends_leaves_its_session_to_be_resumed():
    async def drive() -> None:
        async with serving() as (server, begin):
            call = begin()
            await tell(call, Create(seed=3), Credit(1))
            session = (await following(call, Opened)).session
            await following(call, Frame)
            call.cancel()
            while server.connections:
                await asyncio.sleep(0.01)
            again = begin()
            await tell(again, Resume(session), Credit(1))
            assert (await following(again, Frame)).seed == 3
            await again.done_writing()
            assert await again.code() == StatusCode.OK
            last = begin()
            await tell(last, Resume(session), Credit(1))
            assert (await following(last, Frame)).seed == 3
            await tell(last, Close())
            assert await last.code() == StatusCode.OK
            assert not any(one.sessions for one in server.models.values())

    asyncio.run(drive())


def test_a_server_that_leaves_gives_the_log_even_among_frames():
    async def drive() -> None:
        async with serving() as (server, begin):
            call = begin()
            await tell(call, Create(seed=8), Pace(True), Credit(2))
            for _ in range(20):
                await following(call, Frame)
                await tell(call, Credit(2), Keep())
            await server.drain()
            assert (await following(call, Migrate)).seed == 8
            with pytest.raises(aio.AioRpcError) as told:  # after what was still on its way
                await following(call, Frame)
            assert told.value.code() == StatusCode.UNAVAILABLE

    asyncio.run(drive())


def test_a_token_is_asked_for_where_the_server_has_tokens():
    async def drive() -> None:
        async with serving({"ann": TOKEN}) as (_, begin):
            assert await begin().code() == StatusCode.UNAUTHENTICATED
            call = begin(metadata=(("authorization", f"Bearer {TOKEN}"),))
            await tell(call, Create())
            await following(call, Opened)

    asyncio.run(drive())
