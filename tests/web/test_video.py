"""Pictures as one stream of H.264: what a client asks for, what it is sent, and what a browser makes of it."""

import asyncio
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx", reason="fastapi's test client needs httpx")
pytest.importorskip("av", reason="the extra 'video' is not installed")

import av
from fastapi.testclient import TestClient

from roadcast.errors import UserError
from roadcast.serving.mock import MockBackend, MockSession
from roadcast.web.app import create_app
from roadcast.web.messages import (
    AskKey,
    Controls,
    Create,
    Credit,
    Error,
    Opened,
    Reset,
    Resume,
    Rewind,
    dump,
    parse_reply,
)
from roadcast.web.protocol import Frame
from roadcast.web.server import Server
from roadcast.web.video import codecs, encoder

if "h264" not in codecs():
    pytest.skip("this PyAV cannot encode H.264", allow_module_level=True)

HEIGHT, WIDTH = 64, 128
CLOSE = 10
"""Grey levels, on the average, between a small drawing and its H.264, whose colours have half the resolution."""


@pytest.fixture(scope="module")
def client():
    with TestClient(create_app(Server({"toyroad": lambda: MockBackend(2, HEIGHT, WIDTH, fps=100.0)}))) as client:
        yield client


class Stream:
    """A decoder that is fed what a client is sent."""

    def __init__(self):
        self._context = av.CodecContext.create("h264", "r")
        self._context.thread_count = 1

    def picture(self, frame: Frame) -> np.ndarray:
        """The frame's own picture, RGB: none waits for a later one."""
        (decoded,) = self._context.decode(av.Packet(frame.picture))
        assert not decoded.is_corrupt
        return decoded.to_ndarray(format="rgb24")


def tell(ws, *messages) -> None:
    for message in messages:
        ws.send_text(dump(message))


def receive(ws) -> Frame:
    tell(ws, Credit(1))
    while (message := ws.receive()).get("bytes") is None:
        pass
    return Frame.unpack(message["bytes"])


def drawn(seed: int, steps: int) -> list[np.ndarray]:
    session = MockSession(HEIGHT, WIDTH, 20.0)
    return [session.reset(0, seed), *(session.step({"throttle": 1.0, "steer": 0.2}) for _ in range(steps))]


def grey_levels(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_each_picture_comes_at_once_and_is_what_was_drawn():
    stream, encode = Stream(), encoder("h264", 20.0, HEIGHT, WIDTH)
    for number, frame in enumerate(drawn(seed=3, steps=50)):
        picture = encode(frame, number == 30)
        sent = Frame(WIDTH, HEIGHT, *[0] * 11, "", h264=picture.h264, key=picture.key, picture=picture.data)
        assert picture.h264 and picture.key == (number in (0, 30))
        assert grey_levels(stream.picture(sent), frame) < CLOSE


def test_a_key_picture_needs_none_before_it():
    encode, frames = encoder("h264", 20.0, HEIGHT, WIDTH), drawn(seed=3, steps=5)
    for frame in frames[:-1]:
        encode(frame, False)
    data = encode(frames[-1], True).data
    decoded = Stream().picture(Frame(WIDTH, HEIGHT, *[0] * 11, "", picture=data))
    assert grey_levels(decoded, frames[-1]) < CLOSE
    assert data[:5].hex() == "0000000167" and data[5:7].hex() == "42c0"  # its parameters first: constrained baseline


def test_key_pictures_are_those_that_nothing_leads_to_and_those_asked_for(client):
    with client.websocket_connect("/drive") as ws:
        tell(ws, Create(seed=1, codec="h264"))
        assert isinstance(parse_reply(ws.receive_text()), Opened)
        stream, seen = Stream(), [receive(ws)]
        tell(ws, Controls(1, throttle=1.0))
        seen += [receive(ws) for _ in range(10)]
        tell(ws, AskKey())
        while not (frame := receive(ws)).key:
            seen.append(frame)
        assert len(seen) < 15 and not frame.first
        seen.append(frame)
        for order in (Rewind(3), Reset(0, 2)):
            tell(ws, order)
            while not (frame := receive(ws)).first:
                seen.append(frame)
            seen.append(frame)
        assert all(frame.h264 for frame in seen) and [frame.key for frame in seen if frame.first] == [True] * 3
        assert sum(frame.key for frame in seen) == 4
        pictures = [stream.picture(frame) for frame in seen]
        assert grey_levels(pictures[-1], drawn(seed=2, steps=0)[0]) < CLOSE


def test_frames_that_give_way_are_no_part_of_the_stream(client):
    with client.websocket_connect("/drive") as ws:
        tell(ws, Create(seed=1, log=[[3, 0.2, 1.0, 0.0]], codec="h264"), Controls(1, steer=0.5, throttle=1.0))
        stream, ids = Stream(), []
        for _ in range(8):
            frame = receive(ws)
            ids.append(frame.frame_id)
            assert stream.picture(frame).shape == (HEIGHT, WIDTH, 3)
            client.portal.call(asyncio.sleep, 0.05)  # too slow for 100 frames/s
        assert ids[-1] - ids[0] > 2 * len(ids)


def test_one_that_is_resumed_may_change_its_codec(client):
    with client.websocket_connect("/drive") as ws:
        tell(ws, Create(seed=1))
        session = parse_reply(ws.receive_text()).session
        frame = receive(ws)
        assert not frame.h264 and frame.picture[:2] == b"\xff\xd8"
        ws.close(4000)
    with client.websocket_connect("/drive") as ws:
        tell(ws, Resume(session, codec="h264"))
        frame = receive(ws)
        jpeg = cv2.imdecode(np.frombuffer(frame.picture, np.uint8), cv2.IMREAD_COLOR)
        assert frame.key and jpeg is None and Stream().picture(frame).shape == (HEIGHT, WIDTH, 3)


def test_codecs_that_are_not_to_be_had_are_refused_with_the_remedy(client, monkeypatch):
    def refusal(**wanted) -> str:
        with client.websocket_connect("/drive") as ws:
            tell(ws, Create(**wanted))
            error = parse_reply(ws.receive_text())
            assert isinstance(error, Error) and error.code == "bad_message"
            tell(ws, Create())  # nothing has changed
            assert isinstance(parse_reply(ws.receive_text()), Opened)
            return error.message

    assert client.get("/info").json()["codecs"] == ["jpeg", "h264"]
    assert "use one of jpeg, h264" in refusal(codec="av1")
    monkeypatch.setitem(sys.modules, "roadcast.extras.h264", None)
    assert client.get("/info").json()["codecs"] == ["jpeg"]
    assert "pip install 'roadcast[video]'" in refusal(codec="h264")


def test_odd_sizes_are_refused():
    with pytest.raises(UserError, match="127x64"):
        encoder("h264", 20.0, 64, 127)


DRIVE = """(async () => {
    const { Picture, decodesH264 } = await import("/static/picture.js"), { readFrame } = await import("/static/frames.js");
    const drive = (first, frames, spoilt) => new Promise((resolve) => {
        const told = { drawn: 0, missed: 0, lost: 0, ids: [] };
        const socket = new WebSocket(new URL("/drive", location.href.replace("http", "ws")));
        const send = (message) => socket.send(JSON.stringify(message));
        const picture = new Picture((drawable, header) => {
            told.ids.push(header.id);
            told.step = header.step;
            if (drawable === null) told.missed++;
            else {
                const pen = new OffscreenCanvas(header.width, header.height).getContext("2d");
                pen.drawImage(drawable, 0, 0, header.width, header.height);
                told.pixels = pen.getImageData(0, 0, header.width, header.height).data;
                told.drawn++;
                drawable.close();
            }
            send({ type: "credit", frames: 1 });
            if (told.ids.length === frames) {
                send({ type: "pause", paused: true });
                setTimeout(() => { picture.close(); socket.close(3000); }, 500);
            }
        }, () => { told.lost++; send({ type: "keyframe" }); });
        let received = 0;
        socket.binaryType = "arraybuffer";
        socket.onopen = () => send(first);
        socket.onclose = () => resolve(told);
        socket.onmessage = ({ data }) => {
            if (typeof data === "string") {
                told.session = JSON.parse(data).session;
                send({ type: "action", id: 1, steer: 0.2, throttle: 1, brake: 0, time: 0 });
                send({ type: "pause", paused: first.type === "resume" });
                send({ type: "credit", frames: 2 });
            } else {
                const { header, bytes } = readFrame(data);
                picture.push(received++ === spoilt ? bytes.fill(255, 4) : bytes, header);
            }
        };
    });
    if (!decodesH264) return null;
    const stream = await drive({ type: "create", seed: 4, codec: "h264" }, 40, 15);
    const still = await drive({ type: "resume", session: stream.session }, 1);
    let far = 0;
    for (let i = 0; i < still.pixels.length; i++) far += Math.abs(still.pixels[i] - stream.pixels[i]);
    const { ids, drawn, missed, lost } = stream;
    return { ids, drawn, missed, lost, steps: [stream.step, still.step], far: far / (still.pixels.length * 0.75) };
})()"""


def test_a_browser_shows_what_it_would_have_seen_as_jpeg_and_goes_on_after_a_damaged_picture(chromium, served):
    with served(lambda: MockSession(HEIGHT, WIDTH, fps=30.0)) as address:
        page = chromium(address + "info")
        seen = page.script(DRIVE)
        page.close()
    if seen is None:
        pytest.skip("this Chromium decodes no H.264")
    assert seen["ids"] == sorted(set(seen["ids"])) and len(seen["ids"]) >= 40
    assert seen["lost"] >= 1 and 1 <= seen["missed"] < 10 and seen["drawn"] == len(seen["ids"]) - seen["missed"]
    assert seen["steps"][0] == seen["steps"][1] > 30
    assert seen["far"] < CLOSE


def test_the_page_drives_by_it_where_its_driver_has_chosen_it(chromium, served, monkeypatch):
    from driven import DRAWN, is_in, opened, wait_for
    from roadcast.extras import h264

    encode, sizes = h264.Encoder.encode, []
    monkeypatch.setattr(h264.Encoder, "encode", lambda self, *of: sizes.append(of[0].shape) or encode(self, *of))
    with served(lambda: MockSession(HEIGHT, WIDTH, fps=30.0)) as address:
        page = opened(chromium, address + "info")
        if not page.script("import('/static/picture.js').then(({ decodesH264 }) => decodesH264)"):
            pytest.skip("this Chromium decodes no H.264")
        page.script("localStorage.setItem('roadcast.settings', JSON.stringify({ codec: 'h264' }))")
        page.call("Page.navigate", url=address + "#drive")
        is_in(page, "driving")
        wait_for(lambda: len(sizes) > 10 and len(set(page.script(DRAWN))) > 16)
        page.close()
    assert set(sizes) == {(HEIGHT, WIDTH, 3)}
