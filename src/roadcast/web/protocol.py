"""What a client and the server say to each other over a WebSocket at /drive, version 2: one connection, one session.

A client that needs a token sends it as the header "Authorization: Bearer TOKEN", or, where it cannot set headers, as a
second subprotocol: Sec-WebSocket-Protocol: roadcast.v2, bearer.TOKEN. The server chooses roadcast.v2.

Server to client, binary, one message a frame: HEADER (80 bytes, little-endian), `steps` action ids (u32), the picture.

    offset  type      field
         0  char[2]   magic "RC"
         2  u8        version, this file's VERSION
         3  u8        flags; bit 0: FIRST, not made by an action (a scene's begin, a resumed, restored or rewound world);
                      bit 1: REPLAYED, made by the log that the session was created with
                      bit 2: H264, the picture is one access unit of an H.264 stream, in Annex B; else it is a JPEG
                      bit 3: KEY, of H264: the picture needs none before it, and brings its parameter sets; FIRST ones do
         4  u16       width in pixels
         6  u16       height in pixels
         8  u32       frame id: counts what the session has made, shown or not, and never falls
        12  u32       action id: the newest action that the step had seen; 0 for none, and where FIRST or REPLAYED
        16  u32       step: how many actions lie between the scene's begin and this frame; falls when rewound
        20  u32       seed
        24  u16       scene
        26  u16       steps: how many action ids follow the header, the last `steps` steps that led to this frame, oldest
                      first; those since the frame sent before it, so that a client knows every step although it may
                      not see every frame; 0 where FIRST or REPLAYED
        28  f32       uncertainty; NaN where the model knows none
        32  i64       server time at which the step began, ns, monotonic
        40  i64       server time at which the message was ready to send, ns, same clock
        48  f64       the time that the client wrote in the newest action; 0 for none
        56  f32       model step, ms
        60  f32       encoding, ms
        64  char[16]  model version, its first 16 bytes, padded with zeros

A server never sends more frames than it was given credit for, and always the newest: a slow client sees fewer, not older.

Client to server, text, one JSON object a message. First one of these two, and the answer to both is "session":

    {"type": "create", "model": "", "scene": 0, "seed": 0, "clip": "", "log": [], "show": false, "codec": "jpeg"}
        a new session of this model ("" for the server's choice), from a scene or from a clip (the id that POST /v1/clips
        gave; then `scene` does not count). `log` drives it first: rows of [times, steer, throttle, brake]. With `show`
        its frames are shown in real time, else only the last of them, as soon as it is there: this is how a replay link
        is watched, and how a session goes on at another server. `codec` is "jpeg", or "h264" where GET /info has it: one
        stream, constrained baseline, in which no picture waits for a later one; it has only the frames that are sent
    {"type": "resume", "session": "...", "codec": "jpeg"}
        a session that is open and has no connection: one that lost it, or a branch

and then, in any order:

    {"type": "credit", "frames": 1}           the client can take so many more frames (1 or 2 at most wait)
    {"type": "action", "id": 7, "steer": 0.5, "throttle": 0.2, "brake": 0, "time": 1234.5}  id counts up; client ms
    {"type": "pause", "paused": true}         hold or resume the world
    {"type": "pace", "unlimited": true}       as fast as model and client can, instead of real time
    {"type": "reset", "scene": 0, "seed": 0}  begin anew; the log begins anew too
    {"type": "snapshot"}                      keep this moment; answered by "snapshot"
    {"type": "restore", "snapshot": "..."}    go on from a moment kept by this session
    {"type": "rewind", "step": 120}           go on from this step of the log, not later than the present one
    {"type": "branch"}                        a second session from this moment; answered by "branched"
    {"type": "log"}                           answered by "log"
    {"type": "keyframe"}                      let the next frame be KEY: for a decoder that has lost the thread
    {"type": "close"}                         end the session; the server closes the connection

Server to client, text, one JSON object a message:

    {"type": "queued", "position": 2}         every seat is taken; told again whenever the position changes
    {"type": "session", "session": "...", "model": "toyroad", "version": "...", "scene": 0, "seed": 0, "step": 0,
     "fps": 20, "width": 512, "height": 256, "actions": ["steer", ...], "scenes": ["clear", ...]}
    {"type": "snapshot", "snapshot": "...", "step": 120}
    {"type": "branched", "session": "...", "step": 120}        open a second connection and resume it
    {"type": "log", "model": "toyroad", "version": "...", "scene": 0, "seed": 0, "clip": "", "log": [[120, 0, 0.5, 0]]}
    {"type": "migrate", "model": "toyroad", ... as in "log"}   this server, or the version of the model ("mine/3" then
        names a good one), is out of service: connect anew and create with it
    {"type": "error", "code": "...", "message": "...", "retry_after_s": null}

Commands are rounded to four decimals as they are read, so that half an hour of them fits into one message.

Codes: bad_message (cannot be used; nothing has changed), full (with retry_after_s), unknown (no such session, snapshot,
model or clip), limit (one of the server's caps), broken (the world failed), expired (open too long, or idle).

A connection that is lost leaves its session open and waiting for a while; one that the client closes ends it. The
server closes with 1008 (token or origin refused, or too many messages), 1009 (message too large), 1011 (broken),
1012 (after "migrate"), 1013 (full) or 4408 (expired); the error comes first.
"""

import struct
from dataclasses import dataclass

from roadcast.errors import UserError

VERSION = 2
SUBPROTOCOL = "roadcast.v2"
MAX_CREDIT = 2
MAX_ID = 2**32 - 1
MAX_MESSAGE_BYTES = 2**20
MAX_LOG_STEPS = 36_000
"""Half an hour at 20 frames/s: a log longer than this cannot be sent, and a session ends when its log is so long."""

MAGIC = b"RC"
HEADER = struct.Struct("<2sBBHHIIIIHHfqqdff16s")
FIRST, REPLAYED, H264, KEY = 1, 2, 4, 8


@dataclass(frozen=True)
class Frame:
    """One frame as it travels: the header's fields in order, then the picture."""

    width: int
    height: int
    frame_id: int
    action_id: int
    step: int
    seed: int
    scene: int
    uncertainty: float
    stepped_ns: int
    ready_ns: int
    action_time: float
    step_ms: float
    encode_ms: float
    model_version: str
    first: bool = False
    replayed: bool = False
    h264: bool = False
    key: bool = False
    action_ids: tuple[int, ...] = ()
    picture: bytes = b""

    def pack(self) -> bytes:
        """The message's bytes."""
        flags = FIRST * self.first | REPLAYED * self.replayed | H264 * self.h264 | KEY * self.key
        header = HEADER.pack(
            MAGIC, VERSION, flags, self.width, self.height, self.frame_id, self.action_id, self.step, self.seed,
            self.scene, len(self.action_ids), self.uncertainty, self.stepped_ns, self.ready_ns, self.action_time,
            self.step_ms, self.encode_ms, self.model_version.encode()[:16],
        )  # fmt: skip
        return b"".join((header, struct.pack(f"<{len(self.action_ids)}I", *self.action_ids), self.picture))

    @classmethod
    def unpack(cls, message: bytes) -> "Frame":
        """The frame in `message`; `UserError` if it is none, or one of another version."""
        if message[:2] != MAGIC or len(message) < 3:
            raise UserError(f"a message of {len(message)} bytes is no frame: it does not begin with {MAGIC!r}")
        if message[2] != VERSION:
            raise UserError(
                f"the frame has protocol version {message[2]}, not {VERSION}; use one roadcast on both ends"
            )
        if len(message) < HEADER.size:
            raise UserError(f"a message of {len(message)} bytes is no frame: its header is cut short")
        _, _, flags, *fields, version = HEADER.unpack_from(message)
        steps = fields.pop(7)
        if len(message) < (picture := HEADER.size + 4 * steps):
            raise UserError(f"a message of {len(message)} bytes is no frame: its {steps} action ids are cut short")
        return cls(
            *fields,
            model_version=version.rstrip(b"\0").decode(errors="replace"),
            first=bool(flags & FIRST),
            replayed=bool(flags & REPLAYED),
            h264=bool(flags & H264),
            key=bool(flags & KEY),
            action_ids=struct.unpack_from(f"<{steps}I", message, HEADER.size),
            picture=bytes(message[picture:]),
        )
