"""When a version is to be taken out of traffic, decided on what its frames looked like and how long they took."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from roadcast.serving.canary import Traffic
from roadcast.serving.health import Fault

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What a version may do and stay.

    step_s       p99 of the time of a step, in seconds, as over the last `window_s`; over it for `slow_for_s` on end is too slow
    broken       sessions that ended by it within `broken_window_s`, where they are more than those that drive on
    errors       share of steps that failed
    bad_frames   share of steps whose frame was no number, blank or frozen
    foreign      share of steps that the model was told or has judged to be out of the distribution it was trained on
    window_s     shares are those of the last so many seconds, ...
    least        ... and say nothing of fewer steps than this; that they are too slow, a quarter of it can say
    """

    step_s: float
    slow_for_s: float = 60.0
    broken: int = 3
    broken_window_s: float = 120.0
    errors: float = 0.05
    bad_frames: float = 0.2
    foreign: float = 0.5
    window_s: float = 20.0
    least: int = 40


class Watch:
    """One version under observation. Each second is a row of counts, so memory is bounded whatever the traffic."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic):
        self.limits, self.clock = limits, clock
        self._seconds: deque[tuple[int, Counter[str]]] = deque()
        self._broken: deque[float] = deque(maxlen=64)
        self._driving = 0
        self._slow_since: float | None = None

    def step(self, seconds: float, fault: Fault | None = None, out_of_distribution: bool = False) -> None:
        """A step of one session took so long, and this was wrong with it."""
        now = self.clock()
        if not self._seconds or self._seconds[-1][0] != int(now):
            self._seconds.append((int(now), Counter()))
        counts = self._seconds[-1][1]
        counts.update(steps=1, slow=seconds > self.limits.step_s, foreign=out_of_distribution)
        if fault is not None:
            counts[fault] += 1
        self._time(now)

    def broke(self, driving: int) -> None:
        """A session could not go on; so many others still drive."""
        self._broken.append(self.clock())
        self._driving = driving

    def verdict(self) -> str | None:
        """Why the version is to go, or None."""
        limits, now = self.limits, self.clock()
        broken = sum(now - then <= limits.broken_window_s for then in self._broken)
        if broken >= limits.broken and broken > self._driving:
            return f"{broken} sessions broke within {limits.broken_window_s:.0f} s, and {self._driving} drove on"
        counts = self._time(now)
        slow_s = 0.0 if self._slow_since is None else now - self._slow_since
        if slow_s >= limits.slow_for_s and 4 * counts["steps"] >= limits.least:
            return f"p99 of a step was over {1000 * limits.step_s:.0f} ms for {limits.slow_for_s:.0f} s"
        if counts["steps"] < limits.least:
            return None
        errors = counts["error"] / counts["steps"]
        if errors > limits.errors:
            return f"{errors:.0%} of steps failed, at most {limits.errors:.0%} may"
        kinds = {kind: counts[kind] / counts["steps"] for kind in ("nan", "blank", "frozen")}
        if sum(kinds.values()) > limits.bad_frames:
            worst = max(kinds, key=lambda kind: kinds[kind])
            return f"{kinds[worst]:.0%} of frames were {worst}, at most {limits.bad_frames:.0%} may be bad"
        foreign = counts["foreign"] / counts["steps"]
        if foreign > limits.foreign:
            return f"{foreign:.0%} of steps were out of distribution, at most {limits.foreign:.0%} may be"
        return None

    def _time(self, now: float) -> Counter[str]:
        """The counts of the window; p99 is over its limit where more than one step in a hundred is: no time need be kept."""
        while self._seconds and self._seconds[0][0] < now - self.limits.window_s:
            self._seconds.popleft()
        counts: Counter[str] = Counter()
        for _, second in self._seconds:
            counts.update(second)
        if counts["slow"] <= 0.01 * counts["steps"]:
            self._slow_since = None
        elif self._slow_since is None:
            self._slow_since = now
        return counts


class Guard:
    """Watches every version of a model that has traffic, and takes a bad one out of it.

    watches    by version; whoever loads one puts its watch here
    condemned  the versions that were taken out, and why: they never come back
    """

    def __init__(self, traffic: Traffic):
        self.traffic = traffic
        self.watches: dict[int, Watch] = {}
        self.condemned: dict[int, str] = {}
        self._hopeless: set[int] = set()

    def tend(self) -> dict[int, str]:
        """To be called about once a second: the versions that are taken out of traffic now, and why.

        New sessions get the version before from now on, which is loaded still; live ones stay where they are.
        """
        verdicts = {version: watch.verdict() for version, watch in self.watches.items()}
        return {version: why for version, why in verdicts.items() if why is not None and self.condemn(version, why)}

    def condemn(self, version: int, why: str) -> bool:
        """Take a version out of traffic; False if it is out already, or has to stay, for a bad world may beat none."""
        if version in self.condemned:
            return False
        if self.traffic.take_out(version):
            self.condemned[version] = why
            return True
        if version not in self._hopeless:
            self._hopeless.add(version)
            log.error("version %d is bad, and there is no other: %s", version, why)
        return False
