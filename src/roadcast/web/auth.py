"""Who asks, whether they may, and how often."""

import hashlib
import hmac
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from roadcast.errors import UserError
from roadcast.web.protocol import SUBPROTOCOL

BEARER = "bearer."
SHORTEST = 16
KEYS = 4096
"""Callers that are told apart before those who have been quiet are forgotten."""


class Tokens:
    """The tokens that open the server, by the names of their holders; kept as SHA-256 alone. Without any, everybody may."""

    def __init__(self, tokens: dict[str, str]):
        self._digests = {name: _digest(token) for name, token in tokens.items()}

    @classmethod
    def load(cls, path: Path) -> "Tokens":
        """Of a file with a line "NAME TOKEN" each; `UserError` for a line that is none, or a token that is too short."""
        try:
            lines = Path(path).read_text().splitlines()
        except OSError as error:
            raise UserError(
                f"{path}: cannot be read ({error.strerror}); give a file with a line NAME TOKEN for each"
            ) from None
        tokens = {}
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, _, token = line.strip().partition(" ")
            if len(token) < SHORTEST or " " in token or name in tokens:
                raise UserError(
                    f"{path}: line {number} is not NAME TOKEN, with another name each and {SHORTEST} characters or more; "
                    "make a token with: python -c 'import secrets; print(secrets.token_urlsafe())'"
                )
            tokens[name] = token
        if not tokens:
            raise UserError(f"{path}: has no token; give a line NAME TOKEN for each holder")
        return cls(tokens)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def holder(self, token: str | None) -> str | None:
        """Whose token it is, None if nobody's. Takes equally long whichever it is."""
        given, found = _digest(token or ""), None
        for name, digest in self._digests.items():
            if hmac.compare_digest(given, digest):
                found = name
        return found


def bearer(authorization: str | None, subprotocols: Sequence[str] = ()) -> str | None:
    """The token of a request: of its Authorization header, or of a WebSocket's second subprotocol."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return next((one[len(BEARER) :] for one in subprotocols if one.startswith(BEARER)), None)


def subprotocol(offered: Sequence[str]) -> str | None:
    """The one to choose of those that a client offers."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def same_site(origin: str | None, host: str | None, others: Sequence[str]) -> bool:
    """Whether a page of `origin` may talk to us: ours, one of `others`, or none (no browser)."""
    if origin is None or origin in others:
        return True
    try:
        return urlsplit(origin).netloc == host
    except ValueError:  # an Origin that is no address
        return False


class Rate:
    """So many events a second on the average for each key, `burst` of them at once."""

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic):
        self.per_s, self.burst, self._clock = per_s, burst, clock
        self._kept: dict[str, tuple[float, float]] = defaultdict(lambda: (burst, clock()))

    def wait_s(self, key: str = "", events: float = 1.0) -> float:
        """Count so many events, `burst` at most: 0, or, uncounted, how long to wait for them."""
        now, events = self._clock(), min(events, self.burst)
        if len(self._kept) > KEYS:
            self._forget(now)
        left, at = self._kept[key]
        left = min(self.burst, left + (now - at) * self.per_s)
        wait = max(0.0, (events - left) / self.per_s)
        self._kept[key] = (left - events * (wait == 0), now)
        return wait

    def _forget(self, now: float) -> None:
        """Let go of the keys that may do as much again as if they had never been seen."""
        for key, (left, at) in list(self._kept.items()):
            if left + (now - at) * self.per_s >= self.burst:
                del self._kept[key]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
