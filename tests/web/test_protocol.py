import math
import struct
from pathlib import Path

import pytest

from roadcast.errors import UserError
from roadcast.web import protocol
from roadcast.web.protocol import HEADER, Frame


def frame(**changes) -> Frame:
    values = dict(
        width=128, height=64, frame_id=7, action_id=2**32 - 1, step=6, seed=2**32 - 2, scene=3, uncertainty=0.25,
        stepped_ns=123456789012345, ready_ns=123456799012345, action_time=1234.5, step_ms=12.5, encode_ms=0.5,
        model_version="3f2a9c01", first=True, action_ids=(8, 9), picture=b"\xff\xd8 picture \xff\xd9",
    )  # fmt: skip
    return Frame(**values | changes)


@pytest.mark.parametrize(
    "sent",
    [
        frame(),
        frame(first=False, replayed=True, action_ids=(), picture=b""),
        frame(h264=True, key=True),
        frame(width=65535, frame_id=0, scene=65535),
    ],
)
def test_frame_round_trip(sent):
    assert Frame.unpack(sent.pack()) == sent


def test_unknown_uncertainty_travels_as_nan():
    assert math.isnan(Frame.unpack(frame(uncertainty=math.nan).pack()).uncertainty)


def test_frame_layout_is_the_documented_one():
    message = frame().pack()
    assert HEADER.size == 80
    assert message[:4] == b"RC\x02\x01"
    assert struct.unpack_from("<HH", message, 4) == (128, 64)
    assert struct.unpack_from("<IIII", message, 8) == (7, 2**32 - 1, 6, 2**32 - 2)
    assert struct.unpack_from("<HHf", message, 24) == (3, 2, 0.25)
    assert struct.unpack_from("<qqd", message, 32) == (123456789012345, 123456799012345, 1234.5)
    assert struct.unpack_from("<ff", message, 56) == (12.5, 0.5)
    assert message[64:80] == b"3f2a9c01" + bytes(8)
    assert struct.unpack_from("<II", message, 80) == (8, 9)
    assert message[88:] == frame().picture


def test_page_reads_the_same_version():
    static = Path(protocol.__file__).parent / "static"
    script = (static / "frames.js").read_text() + (static / "session.js").read_text()
    assert f"const VERSION = {protocol.VERSION};" in script
    assert f"const HEADER_BYTES = {HEADER.size};" in script
    assert f"const CREDIT = {protocol.MAX_CREDIT};" in script


@pytest.mark.parametrize(
    "message",
    [b"", b"RC", b"XX" + bytes(90), b"RC\x01" + bytes(90), b"RC\x02" + bytes(60), frame(action_ids=(1, 2), picture=b"").pack()[:-1]],
)  # fmt: skip
def test_frame_of_another_kind_is_refused(message):
    with pytest.raises(UserError, match=r"is no frame|protocol version 1"):
        Frame.unpack(message)
