"""Which version a new session is given. Live sessions stay on theirs, whatever becomes of it."""

import hashlib
from dataclasses import dataclass


def drawn(session: str, share: float) -> bool:
    """Whether a session is one of the canary's: a share of all names, by their SHA-256, the same on every replica."""
    first = int.from_bytes(hashlib.sha256(session.encode()).digest()[:8], "big")
    return first < share * 2**64


@dataclass
class Traffic:
    """Which of the versions that a server has loaded a new session is given.

    stable   what it is given, but for ...
    canary   ... what `share` in [0, 1] of them are given instead, or None
    before   what it would be given if `stable` proved bad, kept loaded so that going back takes no time; None: there is none
    """

    stable: int
    before: int | None = None
    canary: int | None = None
    share: float = 0.0

    def choose(self, session: str) -> int:
        """The version of a new session, which keeps it until its end."""
        return self.canary if self.canary is not None and drawn(session, self.share) else self.stable

    def take_out(self, version: int) -> bool:
        """Give a bad version no more sessions; False where there is no other to give them."""
        if version == self.canary:
            self.canary, self.share = None, 0.0
        elif version == self.before:
            self.before = None
        elif version == self.stable:
            if self.before is None:
                return False
            self.stable, self.before = self.before, None
        return True

    @property
    def kept(self) -> set[int]:
        """The versions that must stay loaded for new sessions, now or after a rollback."""
        return {version for version in (self.stable, self.before, self.canary) if version is not None}
