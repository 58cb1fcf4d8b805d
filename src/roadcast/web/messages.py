"""The text messages of protocol.py as dataclasses: `parse` one, `dump` one; their fields are the JSON's."""

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import get_origin

from roadcast.data.actions import ACTIONS
from roadcast.errors import UserError
from roadcast.web.protocol import MAX_CREDIT, MAX_ID, MAX_LOG_STEPS

Row = list[float]
"""[times, steer, throttle, brake]: so many steps under the same command."""


@dataclass(frozen=True)
class Controls:
    """The message "action": what hands and feet do, in the units of ACTIONS; steer is positive left."""

    id: int
    steer: float = 0.0
    throttle: float = 0.0
    brake: float = 0.0
    time: float = 0.0


@dataclass(frozen=True)
class Create:
    """Open a session, from a scene or a clip, and let `log` drive it first, shown or not."""

    model: str = ""
    scene: int = 0
    seed: int = 0
    clip: str = ""
    log: list[Row] = field(default_factory=list)
    show: bool = False
    codec: str = "jpeg"


@dataclass(frozen=True)
class Resume:
    """Take up an open session that has no connection."""

    session: str
    codec: str = "jpeg"


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


@dataclass(frozen=True)
class Keep:
    """The client's message "snapshot": keep this moment."""


@dataclass(frozen=True)
class Restore:
    """Go on from a moment that was kept."""

    snapshot: str


@dataclass(frozen=True)
class Rewind:
    """Go on from an earlier step of the log."""

    step: int


@dataclass(frozen=True)
class Branch:
    """Open a second session from this moment."""


@dataclass(frozen=True)
class AskKey:
    """The client's message "keyframe": let the next picture need none before it."""


@dataclass(frozen=True)
class AskLog:
    """The client's message "log": tell how this moment came to be."""


@dataclass(frozen=True)
class Close:
    """End the session."""


@dataclass(frozen=True)
class Queued:
    """Every seat is taken; so many are to be served first, this client included."""

    position: int


@dataclass(frozen=True)
class Opened:
    """The message "session": what is driven now."""

    session: str
    model: str
    version: str
    scene: int
    seed: int
    step: int
    fps: float
    width: int
    height: int
    actions: list[str]
    scenes: list[str]


@dataclass(frozen=True)
class Kept:
    """The server's message "snapshot": the moment at `step` is kept under this name."""

    snapshot: str
    step: int


@dataclass(frozen=True)
class Branched:
    """A second session stands at `step`, and waits to be resumed."""

    session: str
    step: int


@dataclass(frozen=True)
class Log:
    """All that decides the present moment, bit for bit: `create` with it, here or elsewhere, leads to the same frame."""

    model: str
    version: str
    scene: int
    seed: int
    clip: str = ""
    log: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Migrate(Log):
    """This server is leaving, or the model's version: the log to go on with at another one."""


@dataclass(frozen=True)
class Error:
    """What could not be done; `code` is one of protocol.py's."""

    code: str
    message: str
    retry_after_s: float | None = None


REQUESTS = {
    "action": Controls, "create": Create, "resume": Resume, "credit": Credit, "reset": Reset, "pause": Pause, "pace": Pace,
    "snapshot": Keep, "restore": Restore, "rewind": Rewind, "branch": Branch, "log": AskLog, "keyframe": AskKey,
    "close": Close,
}  # fmt: skip
REPLIES = {
    "queued": Queued, "session": Opened, "snapshot": Kept, "branched": Branched, "log": Log, "migrate": Migrate,
    "error": Error,
}  # fmt: skip
NAMES = {kind: name for kinds in (REQUESTS, REPLIES) for name, kind in kinds.items()}

LIMITS: dict[tuple[type, str], tuple[float, float]] = {
    (Controls, "id"): (1, MAX_ID),
    (Controls, "steer"): (ACTIONS["steer"].low, ACTIONS["steer"].high),
    (Controls, "throttle"): (ACTIONS["throttle"].low, ACTIONS["throttle"].high),
    (Controls, "brake"): (ACTIONS["brake"].low, ACTIONS["brake"].high),
    (Credit, "frames"): (1, MAX_CREDIT),
    (Create, "scene"): (0, 2**16 - 1),
    (Create, "seed"): (0, MAX_ID),
    (Reset, "scene"): (0, 2**16 - 1),
    (Reset, "seed"): (0, MAX_ID),
    (Rewind, "step"): (0, MAX_LOG_STEPS),
}
COMMANDS = [(Controls, "steer"), (Controls, "throttle"), (Controls, "brake")]
ROW_LIMITS = [(1, MAX_LOG_STEPS), *(LIMITS[command] for command in COMMANDS)]
DIGITS = 4


def runs(commands: Iterable[tuple[float, float, float]]) -> list[Row]:
    """A log's rows of these (steer, throttle, brake), one a step."""
    return [[len(list(same)), *command] for command, same in groupby(commands)]


def unrolled(log: Iterable[Row]) -> Iterator[tuple[float, float, float]]:
    """The (steer, throttle, brake) of every step of a log's rows."""
    for times, steer, throttle, brake in log:
        yield from ((steer, throttle, brake) for _ in range(int(times)))


def dump(message: object) -> str:
    """The text of a message, of either side."""
    return json.dumps({"type": NAMES[type(message)]} | dataclasses.asdict(message))  # pyright: ignore[reportArgumentType]


def parse(text: str):
    """The client's message in `text`; fields left out keep their defaults. `UserError` says what cannot be used."""
    name, values = _named(text, REQUESTS)
    kind = REQUESTS[name]
    fields = {one.name: one for one in dataclasses.fields(kind)}
    for key, value in values.items():
        if key not in fields:
            raise UserError(f"{name}: unknown field {key[:40]!r}; known: {', '.join(fields)}")
        values[key] = _checked(kind, name, key, fields[key].type, value)
    for key, one in fields.items():
        if one.default is one.default_factory is dataclasses.MISSING and key not in values:
            raise UserError(f"{name}: field {key!r} is missing")
    return kind(**values)


def parse_reply(text: str):
    """The server's message in `text`; `UserError` for one that this version does not know."""
    name, values = _named(text, REPLIES)
    try:
        return REPLIES[name](**values)
    except TypeError as error:
        raise UserError(f"{name}: {error}; use one roadcast on both ends") from None


def _named(text: str, kinds: dict[str, type]) -> tuple[str, dict]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"message {text[:40]!r} is not JSON") from None
    if not isinstance(values, dict):
        raise UserError(f"message {text[:40]!r} is not a JSON object")
    name = values.pop("type", None)
    if not (isinstance(name, str) and name in kinds):
        raise UserError(f"message type {str(name)[:40]!r} is unknown; use one of {', '.join(kinds)}")
    return name, values


def _checked(kind: type, name: str, key: str, of: type, value: object) -> object:
    if get_origin(of) is list:
        return checked_log(name, value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number if of is float else type(value) is of):
        raise UserError(f"{name}: {key} = {_short(value)!r} is not of type {of.__name__}")
    if number:
        low, high = LIMITS.get((kind, key), (-math.inf, math.inf))
        if not (low <= value <= high and abs(value) < 2**63):
            raise UserError(f"{name}: {key} = {_short(value)} is outside [{low:g}, {high:g}]")
        return round(of(value), DIGITS) if (kind, key) in COMMANDS else of(value)
    return value


def checked_log(name: str, rows: object) -> list[Row]:
    """The rows of a log, each of [times, steer, throttle, brake] in their ranges; `UserError` for what is none."""
    if not isinstance(rows, list):
        raise UserError(f"{name}: log = {_short(rows)!r} is not a list of [times, steer, throttle, brake]")
    if len(rows) > MAX_LOG_STEPS:
        raise UserError(f"{name}: log has {len(rows)} rows; {MAX_LOG_STEPS} steps can be replayed at most")
    steps = 0
    for row in rows:
        fits = isinstance(row, list) and len(row) == 4 and type(row[0]) is int
        if not (fits and all(type(x) in (int, float) and low <= x <= high for x, (low, high) in zip(row, ROW_LIMITS))):
            raise UserError(
                f"{name}: log has the row {_short(row)}; use [times, steer, throttle, brake] in their ranges"
            )
        steps += row[0]
    if steps > MAX_LOG_STEPS:
        raise UserError(f"{name}: log has {steps} steps; {MAX_LOG_STEPS} can be replayed at most")
    return [[times, *(round(float(value), DIGITS) for value in command)] for times, *command in rows]


def _short(value: object) -> str:
    """The value's first characters; of a huge integer, which Python does not print, that it is one."""
    try:
        return str(value)[:40]
    except ValueError:
        return "a huge integer"
