"""A session as the engine knows it: its seat, how long it may be taken, and why a caller is turned away."""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from roadcast.serving.action_log import ActionLog
from roadcast.serving.backend import Shown


@dataclass(frozen=True)
class Limits:
    """For how long a session may live, for how long nobody may ask anything of it, and how many snapshots it keeps."""

    age_s: float = 3600.0
    idle_s: float = 60.0
    snapshots: int = 16


class Full(RuntimeError):  # noqa: N818
    """Every slot is taken; the first falls free after `retry_after_s` if nobody asks more of it.

    Nobody is told to wait for longer than an hour.
    """

    def __init__(self, retry_after_s: float):
        retry_after_s = min(retry_after_s, 3600.0)
        super().__init__(f"all sessions are taken; try again in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class Gone(LookupError):  # noqa: N818
    """There is no such session, or no longer; or none of its snapshots by that id."""


class Broken(RuntimeError):  # noqa: N818
    """The next frame of these sessions is not finite. No session has moved: the others can step without them."""

    def __init__(self, ids: list[str]):
        super().__init__(f"the world is no longer finite in {len(ids)} sessions")
        self.ids = ids


@dataclass(frozen=True)
class Moment:
    """A session as it was: its state, the steps that had led to it, which are the first of `log`, and what it showed.

    The log is the session's own and grows with it: a past of N steps is held once, not once a moment.
    """

    state: object
    log: ActionLog
    steps: int
    shown: Shown

    @property
    def past(self) -> ActionLog:
        """All that had led to it."""
        return self.log.first(self.steps)


@dataclass(eq=False)
class Seat:
    """A session as the engine knows it. Read it; the engine alone writes it.

    shown      the newest frame
    log        all that led to it; its length is the number of steps
    snapshots  by id, oldest first
    """

    id: str
    slot: int
    created_s: float
    used_s: float
    log: ActionLog
    shown: Shown
    snapshots: OrderedDict[str, Moment] = field(default_factory=OrderedDict)


@dataclass
class Counts:
    """What has happened since the engine began; `closed` and `failures` by reason."""

    created: int = 0
    steps: int = 0
    frames: int = 0
    closed: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
