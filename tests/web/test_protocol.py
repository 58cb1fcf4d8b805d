import json
import struct

import pytest

from roadcast.errors import UserError
from roadcast.web import protocol
from roadcast.web.protocol import HEADER, Controls, Credit, Frame, Pace, Pause, Reset, dump, parse


def frame(**changes) -> Frame:
    values = dict(
        width=128, height=64, frame_id=7, action_id=2**32 - 1, stepped_ns=123456789012345, ready_ns=123456799012345,
        step_ms=12.5, encode_ms=0.5, first=True, jpeg=b"\xff\xd8 picture \xff\xd9",
    )  # fmt: skip
    return Frame(**values | changes)


@pytest.mark.parametrize("sent", [frame(), frame(first=False, jpeg=b""), frame(width=65535, frame_id=0)])
def test_frame_round_trip(sent):
    assert Frame.unpack(sent.pack()) == sent


def test_frame_layout_is_the_documented_one():
    message = frame().pack()
    assert HEADER.size == 40
    assert message[:4] == b"RC\x01\x01"
    assert struct.unpack_from("<HH", message, 4) == (128, 64)
    assert struct.unpack_from("<II", message, 8) == (7, 2**32 - 1)
    assert struct.unpack_from("<qq", message, 16) == (123456789012345, 123456799012345)
    assert struct.unpack_from("<ff", message, 32) == (12.5, 0.5)
    assert message[40:] == frame().jpeg


def test_page_reads_the_same_version():
    from roadcast.web.app import STATIC

    script = (STATIC / "link.js").read_text()
    assert f"const VERSION = {protocol.VERSION};" in script
    assert f"const HEADER_BYTES = {HEADER.size};" in script
    assert f"const CREDIT = {protocol.MAX_CREDIT};" in script


@pytest.mark.parametrize("message", [b"", b"RC", b"XX" + bytes(60), b"RC\x02" + bytes(60)])
def test_frame_of_another_kind_is_refused(message):
    with pytest.raises(UserError, match=r"is no frame|protocol version 2"):
        Frame.unpack(message)


@pytest.mark.parametrize(
    "message",
    [Controls(3, 0.5, -0.25, 1.0, 12.5), Credit(2), Reset(1, 2**32 - 1), Reset(), Pause(True), Pace(False)],
)
def test_client_message_round_trip(message):
    assert parse(dump(message)) == message


def test_integers_serve_as_floats():
    assert parse('{"type": "action", "id": 1, "steer": 1, "time": 5}') == Controls(1, 1.0, 0.0, 0.0, 5.0)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("{", "not JSON"),
        ("[" * 4000, "not JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "type 'None' is unknown"),
        ({"type": ["action"]}, "is unknown"),
        ({"type": "fly"}, "'fly' is unknown; use one of action"),
        ({"type": "action", "steer": 0}, "'id' is missing"),
        ({"type": "action", "id": 0}, "id = 0 is outside"),
        ({"type": "action", "id": 1.5}, "not of type int"),
        ({"type": "action", "id": True}, "not of type int"),
        ({"type": "action", "id": 1, "steer": 1.01}, r"steer = 1.01 is outside \[-1, 1\]"),
        ({"type": "action", "id": 1, "steer": "left"}, "not of type float"),
        ('{"type": "action", "id": 1, "steer": NaN}', "steer = nan is outside"),
        ({"type": "action", "id": 1, "time": 10**400}, "time = 1000"),
        ({"type": "action", "id": 1, "brake": -0.1}, "brake = -0.1 is outside"),
        ({"type": "action", "id": 1, "wings": 2}, "unknown field 'wings'"),
        ({"type": "credit"}, "'frames' is missing"),
        ({"type": "credit", "frames": 3}, "frames = 3 is outside"),
        ({"type": "pause", "paused": 1}, "not of type bool"),
        ({"type": "reset", "scene": -1}, "scene = -1 is outside"),
    ],
)
def test_malformed_message_is_named(message, says):
    with pytest.raises(UserError, match=says):
        parse(message if isinstance(message, str) else json.dumps(message))
