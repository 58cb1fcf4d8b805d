"""What the page and the server say to each other over the one WebSocket at /drive.

Server to client, binary, one message a frame: HEADER (40 bytes, little-endian) and then the JPEG.

    offset  type     field
         0  char[2]  magic "RC"
         2  u8       version, this file's VERSION
         3  u8       flags; bit 0: first frame after a reset
         4  u16      width in pixels
         6  u16      height in pixels
         8  u32      frame id, counted up by one a step since the connection was made
        12  u32      action id: the newest action the step had seen; 0 for none and for first frames
        16  i64      server time at which the step began, ns, monotonic
        24  i64      server time at which the message was ready to send, ns, same clock
        32  f32      model step, ms
        36  f32      JPEG encoding, ms

Server to client, text: {"type": "error", "message": ...}, the answer to a message that cannot be used.

Client to server, text, one JSON object a message:

    {"type": "action", "id": 7, "steer": 0.5, "throttle": 0.2, "brake": 0, "time": 1234.5}  id counts up; client ms
    {"type": "credit", "frames": 1}           the client can take so many more frames (1 or 2)
    {"type": "reset", "scene": 0, "seed": 0}  begin anew
    {"type": "pause", "paused": true}         hold or resume the world
    {"type": "pace", "unlimited": true}       as fast as model and client can, instead of real time
"""

import dataclasses
import json
import math
import struct
from dataclasses import dataclass

from roadcast.data.actions import ACTIONS
from roadcast.errors import UserError

VERSION = 1
MAX_CREDIT = 2
MAX_ID = 2**32 - 1

MAGIC = b"RC"
HEADER = struct.Struct("<2sBBHHIIqqff")
FIRST = 1


@dataclass(frozen=True)
class Frame:
    """One frame as it travels: the header's fields in order, then the JPEG."""

    width: int
    height: int
    frame_id: int
    action_id: int
    stepped_ns: int
    ready_ns: int
    step_ms: float
    encode_ms: float
    first: bool
    jpeg: bytes

    def pack(self) -> bytes:
        """The message's bytes."""
        return b"".join(
            (
                HEADER.pack(
                    MAGIC, VERSION, FIRST if self.first else 0, self.width, self.height, self.frame_id, self.action_id,
                    self.stepped_ns, self.ready_ns, self.step_ms, self.encode_ms,
                ),
                self.jpeg,
            )
        )  # fmt: skip

    @classmethod
    def unpack(cls, message: bytes) -> "Frame":
        """The frame in `message`; `UserError` if it is none, or one of another version."""
        if len(message) < HEADER.size or message[:2] != MAGIC:
            raise UserError(f"a message of {len(message)} bytes is no frame: it does not begin with {MAGIC!r}")
        if message[2] != VERSION:
            raise UserError(
                f"the frame has protocol version {message[2]}, not {VERSION}; use one roadcast on both ends"
            )
        _, _, flags, *fields = HEADER.unpack_from(message)
        return cls(*fields, first=bool(flags & FIRST), jpeg=bytes(message[HEADER.size :]))


@dataclass(frozen=True)
class Controls:
    """The message "action": what hands and feet do, in the units of ACTIONS; steer is positive left."""

    id: int = 0
    steer: float = 0.0
    throttle: float = 0.0
    brake: float = 0.0
    time: float = 0.0


@dataclass(frozen=True)
class Credit:
    """The client can take `frames` more."""

    frames: int


@dataclass(frozen=True)
class Reset:
    """Begin scene number `scene` anew; the seed decides everything that the scene leaves open."""

    scene: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Pause:
    """Hold the world (true) or let it go on (false)."""

    paused: bool


@dataclass(frozen=True)
class Pace:
    """As fast as model and client can (true) or at real time (false)."""

    unlimited: bool


Message = Controls | Credit | Reset | Pause | Pace

MESSAGES: dict[str, type[Message]] = {
    "action": Controls,
    "credit": Credit,
    "reset": Reset,
    "pause": Pause,
    "pace": Pace,
}

LIMITS: dict[tuple[type[Message], str], tuple[float, float]] = {
    (Controls, "id"): (1, MAX_ID),
    (Controls, "steer"): (ACTIONS["steer"].low, ACTIONS["steer"].high),
    (Controls, "throttle"): (ACTIONS["throttle"].low, ACTIONS["throttle"].high),
    (Controls, "brake"): (ACTIONS["brake"].low, ACTIONS["brake"].high),
    (Credit, "frames"): (1, MAX_CREDIT),
    (Reset, "scene"): (0, MAX_ID),
    (Reset, "seed"): (0, MAX_ID),
}


def dump(message: Message) -> str:
    """The text of a client's message."""
    names = {kind: name for name, kind in MESSAGES.items()}
    return json.dumps({"type": names[type(message)]} | dataclasses.asdict(message))


def parse(text: str) -> Message:
    """The client's message in `text`; fields left out keep their defaults. `UserError` says what cannot be used."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"message {text[:40]!r} is not JSON") from None
    if not isinstance(values, dict):
        raise UserError(f"message {text[:40]!r} is not a JSON object")
    name = values.pop("type", None)
    kind = MESSAGES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise UserError(f"message type {str(name)[:40]!r} is unknown; use one of {', '.join(MESSAGES)}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key, value in values.items():
        if key not in fields:
            raise UserError(f"{name}: unknown field {key[:40]!r}; known: {', '.join(fields)}")
        values[key] = _checked(kind, name, key, fields[key].type, value)
    if missing := [key for key, field in fields.items() if field.default is dataclasses.MISSING and key not in values]:
        raise UserError(f"{name}: field {missing[0]!r} is missing")
    if kind is Controls and "id" not in values:
        raise UserError("action: field 'id' is missing")
    return kind(**values)


def _checked(kind: type[Message], name: str, key: str, of: type, value: object) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number if of is float else type(value) is of):
        raise UserError(f"{name}: {key} = {str(value)[:40]!r} is not of type {of.__name__}")
    if number:
        low, high = LIMITS.get((kind, key), (-math.inf, math.inf))
        if not (low <= value <= high and abs(value) < 2**63):
            raise UserError(f"{name}: {key} = {str(value)[:40]} is outside [{low:g}, {high:g}]")
        return of(value)
    return value
