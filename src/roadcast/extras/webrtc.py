"""Driving over WebRTC by aiortc: pictures are a video track, and everything else goes over a data channel.

The client offers one data channel and one video track to receive (POST /v1/webrtc; no trickle: its candidates are in the offer).
Over the channel go the messages of protocol.py, in both directions, `create` or `resume` first. A frame is its header and action
ids, without a picture: that one goes over the track, as RTP carries it, late or not at all. Codecs are agreed on in the offer, and the
`codec` of `create` does not count. The channel is closed after the last message; one that the client closes ends its session.
"""

import asyncio
import time
from fractions import Fraction

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from av import VideoFrame

from roadcast.errors import UserError
from roadcast.serving.seat import Full
from roadcast.web.conversation import Conversation
from roadcast.web.line import Left, Line
from roadcast.web.server import Server
from roadcast.web.video import Encode, Picture

PEERS = 64
"""At once, those included that never connect."""
UNREAD = 1000
"""Messages that may wait to be obeyed; a client that sends more is left."""
UNSENT_BYTES = 2**16
LAST_WORDS_S = 2.0
CLOCK = 90_000


class Track(MediaStreamTrack):
    """The newest picture, when it is there. `put` is called by any thread."""

    kind = "video"

    def __init__(self):
        super().__init__()
        self._home, self._start_s = asyncio.get_running_loop(), time.monotonic()
        self._newest: np.ndarray | None = None
        self._news = asyncio.Event()

    def put(self, frame_HWC: np.ndarray, key: bool) -> Picture:
        """Let this one be seen next; the peers agree on key frames themselves."""
        self._home.call_soon_threadsafe(self._put, frame_HWC)
        return Picture(b"")

    async def recv(self) -> VideoFrame:
        """What aiortc asks for, and encodes on a thread of its own."""
        while self._newest is None:
            self._news.clear()
            await self._news.wait()
        frame, self._newest = VideoFrame.from_ndarray(self._newest, format="rgb24"), None
        frame.pts, frame.time_base = round((time.monotonic() - self._start_s) * CLOCK), Fraction(1, CLOCK)
        return frame

    def _put(self, frame_HWC: np.ndarray) -> None:
        self._newest = frame_HWC
        self._news.set()


class PeerLine(Line):
    """A `Line` over a peer connection, from before its channel is open."""

    def __init__(self, peer: RTCPeerConnection):
        self._peer, self.track = peer, Track()
        self._channel: RTCDataChannel | None = None
        self._heard: asyncio.Queue[str | bytes | Left] = asyncio.Queue()
        peer.on("datachannel", self._open)
        peer.on("connectionstatechange", self._look)

    def encoder(self, codec: str, fps: float, height: int, width: int) -> Encode:
        """The track, whatever `codec` says."""
        return self.track.put

    async def hear(self) -> str | bytes:
        """The next message on the channel."""
        if isinstance(heard := await self._heard.get(), Left):
            raise heard
        return heard

    async def say(self, message: str) -> None:
        """A text message on the channel."""
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(message)

    async def show(self, frame: bytes) -> None:
        """A binary message on the channel."""
        channel = self._channel
        while channel is not None and channel.readyState == "open" and channel.bufferedAmount > UNSENT_BYTES:
            await asyncio.sleep(0.01)
        if channel is None or channel.readyState != "open":
            raise Left(meant=False)
        channel.send(frame)

    async def close(self, code: int, reason: str) -> None:
        """Once everything has been said; a channel tells no code, which the error before it does."""
        until_s = time.monotonic() + LAST_WORDS_S
        if (channel := self._channel) is not None:
            while channel.readyState == "open" and channel.bufferedAmount and time.monotonic() < until_s:
                await asyncio.sleep(0.01)
            channel.close()
            while channel.readyState != "closed" and time.monotonic() < until_s:
                await asyncio.sleep(0.01)

    def _open(self, channel: RTCDataChannel) -> None:
        if self._channel is None:
            self._channel = channel
            channel.on("message", self._hear)
            channel.on("close", self._look)

    def _hear(self, message: str | bytes) -> None:
        self._heard.put_nowait(message if self._heard.qsize() < UNREAD else Left(meant=False))

    def _look(self) -> None:
        """The connection or the channel may have come to an end."""
        closed = self._channel is not None and self._channel.readyState == "closed"
        if closed or self._peer.connectionState in ("failed", "closed"):
            self._heard.put_nowait(Left(meant=self._peer.connectionState != "failed"))


class Peers:
    """All that drive a server so."""

    def __init__(self, server: Server):
        self._server = server
        self._driving: set[asyncio.Task] = set()

    async def answer(self, sdp: str, caller: str) -> str:
        """The answer to an offer, and a conversation over what comes of it. Raises `UserError` and `Full`."""
        if self._server.leaving or len(self._driving) >= PEERS:
            raise Full(5.0)
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))  # the default asks a server of others
        line = PeerLine(peer)
        try:
            answer = await _answered(peer, sdp, line.track)
        except BaseException:
            await peer.close()
            raise
        self._driving.add(task := asyncio.create_task(self._drive(peer, line, caller)))
        task.add_done_callback(self._driving.discard)
        return answer

    async def _drive(self, peer: RTCPeerConnection, line: PeerLine, caller: str) -> None:
        try:
            await Conversation(line, self._server, caller).run()
        finally:
            await peer.close()


async def _answered(peer: RTCPeerConnection, sdp: str, track: Track) -> str:
    try:
        await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        if peer.sctp is None or [one.kind for one in peer.getTransceivers()] != ["video"]:
            raise UserError("sdp: offer one data channel and one video track to receive")
        peer.addTrack(track)
        await peer.setLocalDescription(await peer.createAnswer())
    except UserError:
        raise
    except Exception as error:  # aiortc raises whatever a malformed offer leads it to
        raise UserError(f"sdp: is no offer that can be answered ({type(error).__name__}: {error})"[:200]) from None
    return peer.localDescription.sdp
