"""Which version a new session is given. Live sessions stay on theirs, whatever becomes of it."""

import hashlib
from dataclasses import dataclass, field


def drawn(session: str, share: float) -> bool:
    """Whether a session is one of the canary's: a share of all ids, by their SHA-256, the same on every replica."""
    first = int.from_bytes(hashlib.sha256(session.encode()).digest()[:8], "big")
    return first < share * 2**64


@dataclass
class Traffic:
    """The versions that a server has loaded, and who drives on which.

    stable   what a new session is given
    before   what it would be given if that one proved bad, kept loaded so that going back takes no time; None: there is none
    canary   what `share` of the new sessions is given instead, or None
    live     the version of every session that is open
    """

    stable: int
    before: int | None = None
    canary: int | None = None
    share: float = 0.0
    live: dict[str, int] = field(default_factory=dict)

    def begin(self, session: str) -> int:
        """The version of a new session, which keeps it until its end."""
        canary = self.canary if drawn(session, self.share) else None
        self.live[session] = version = self.stable if canary is None else canary
        return version

    def end(self, session: str) -> None:
        """A session is closed."""
        self.live.pop(session, None)

    def try_out(self, version: int, share: float) -> None:
        """Give `share` in [0, 1] of the new sessions to another version."""
        assert 0 <= share <= 1, share
        self.canary, self.share = version, share

    def move(self, stable: int) -> None:
        """Give all new sessions another version, or, where it is the canary, end its trial so."""
        self.before, self.stable = self.stable, stable
        if self.canary == stable:
            self.stop_trial()

    def take_out(self, version: int) -> None:
        """Give a bad version no more sessions, unless there is no other."""
        if version == self.canary:
            self.stop_trial()
        elif version == self.stable and self.before is not None:
            self.stable, self.before = self.before, None
        elif version == self.before:
            self.before = None

    def stop_trial(self) -> None:
        """Give the canary no more sessions."""
        self.canary, self.share = None, 0.0

    @property
    def needed(self) -> set[int]:
        """The versions that must stay loaded: those for new sessions, now or after a rollback, and those that live sessions are on."""
        kept = {self.stable, self.before, self.canary, *self.live.values()}
        return {version for version in kept if version is not None}
