"""Driving over WebRTC, between two peers of one process."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx", reason="fastapi's test client needs httpx")
pytest.importorskip("aiortc", reason="the extra 'rtc' is not installed")

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from fastapi.testclient import TestClient

from roadcast.extras.webrtc import Peers
from roadcast.serving.mock import MockBackend, MockSession
from roadcast.web.app import create_app
from roadcast.web.messages import Close, Controls, Create, Credit, Keep, Kept, Migrate, Opened, dump, parse_reply
from roadcast.web.protocol import Frame
from roadcast.web.server import Server
from roadcast.web.settings import Settings

HEIGHT, WIDTH = 64, 128


class Client:
    """A peer that has made an offer and been answered."""

    def __init__(self):
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channel = self.peer.createDataChannel("drive")
        self.heard: asyncio.Queue = asyncio.Queue()
        self.tracks: asyncio.Queue = asyncio.Queue()
        self.opened, self.closed = asyncio.Event(), asyncio.Event()
        self.peer.addTransceiver("video", direction="recvonly")
        self.peer.on("track", self.tracks.put_nowait)
        for event, what in (("message", self.heard.put_nowait), ("open", self.opened.set), ("close", self.closed.set)):
            self.channel.on(event, what)

    async def connect(self, peers: Peers) -> None:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        answer = await peers.answer(self.peer.localDescription.sdp, "")
        await self.peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await asyncio.wait_for(self.opened.wait(), 20)

    def tell(self, *messages) -> None:
        for message in messages:
            self.channel.send(dump(message))

    async def next(self, kind: type):
        """The next message of this kind; those before it are dropped, and every frame is answered by a credit."""
        while True:
            message = await asyncio.wait_for(self.heard.get(), 20)
            if isinstance(message, bytes):
                self.tell(Credit(1))
            if isinstance(
                message := Frame.unpack(message) if isinstance(message, bytes) else parse_reply(message), kind
            ):
                return message


@asynccontextmanager
async def driving(**create):
    """A server, and a client with a session at it."""
    server = Server({"toyroad": lambda: MockBackend(2, HEIGHT, WIDTH, fps=20.0)})
    server.start()
    client = Client()
    try:
        await client.connect(Peers(server))
        client.tell(Create(**create))
        assert isinstance(parse_reply(await client.heard.get()), Opened)
        client.tell(Credit(2))
        yield server, client
    finally:
        await client.peer.close()
        await server.stop()


def test_pictures_come_by_the_track_and_everything_else_by_the_channel():
    async def drive() -> None:
        async with driving(seed=5) as (server, client):
            track = await client.tracks.get()
            first = await client.next(Frame)
            assert first.first and first.picture == b"" and (first.width, first.height) == (WIDTH, HEIGHT)
            seen = asyncio.create_task(track.recv())
            while not seen.done():
                await client.next(Frame)
            frame_HWC = seen.result().to_ndarray(format="rgb24")
            drawn_HWC = MockSession(HEIGHT, WIDTH, 20.0).reset(0, seed=5)
            assert np.abs(frame_HWC.astype(int) - drawn_HWC).mean() < 20  # nobody drives as yet
            client.tell(Controls(7, steer=0.5, throttle=1.0))
            while (await client.next(Frame)).action_id < 7:
                pass
            client.tell(Keep())
            assert (await client.next(Kept)).step > 0
            client.tell(Close())
            await asyncio.wait_for(client.closed.wait(), 20)
            assert not any(one.sessions for one in server.models.values())

    asyncio.run(drive())


def test_a_server_that_leaves_gives_its_peers_the_log():
    async def drive() -> None:
        async with driving(seed=9, log=[[3, 0.5, 1.0, 0.0]]) as (server, client):
            await client.next(Frame)
            await server.drain()
            told = await client.next(Migrate)
            assert told.seed == 9 and told.log[0][1:] == [0.5, 1.0, 0.0]
            await asyncio.wait_for(client.closed.wait(), 20)

    asyncio.run(drive())


@pytest.mark.parametrize(
    "sdp", ["", "v=0\r\n", "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n", "\u2028", "m=video x y z\r\n" * 9]
)
def test_what_is_no_offer_is_refused(sdp):
    server = Server({"toyroad": lambda: MockBackend(1, HEIGHT, WIDTH)}, Settings(webrtc=True))
    with TestClient(create_app(server)) as client:
        assert client.post("/v1/webrtc", json={"type": "offer", "sdp": sdp}).status_code == 422


def test_there_are_no_peers_unless_the_server_wants_them():
    with TestClient(create_app(Server({"toyroad": lambda: MockBackend(1, HEIGHT, WIDTH)}))) as client:
        assert client.post("/v1/webrtc", json={"type": "offer", "sdp": ""}).status_code == 404
