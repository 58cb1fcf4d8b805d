"""When a version is to be taken out of traffic, decided on what its frames looked like and how long they took."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from roadcast.serving.canary import Traffic
from roadcast.serving.health import Fault
from roadcast.serving.registry import Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What a version may do and stay.

    step_s       p99 of the time of a step, in seconds, as over the last `window_s`; over it for `slow_for_s` on end is too slow
    crashes      ends of the model's process or thread within `crash_window_s`
    errors       share of steps that failed
    bad_frames   share of steps whose frame was no number, blank or frozen
    foreign      share of steps that the model was told or has judged to be out of the distribution it was trained on
    window_s     shares are those of the last so many seconds, ...
    least        ... and say nothing of fewer steps than this
    """

    step_s: float
    slow_for_s: float = 60.0
    crashes: int = 3
    crash_window_s: float = 120.0
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
        self._crashes: deque[float] = deque(maxlen=limits.crashes)
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

    def crash(self) -> None:
        """The model's process or thread ended."""
        self._crashes.append(self.clock())

    def verdict(self) -> str | None:
        """Why the version is to go, or None."""
        limits, now = self.limits, self.clock()
        if len(self._crashes) == limits.crashes and now - self._crashes[0] <= limits.crash_window_s:
            return f"crashed {limits.crashes} times within {now - self._crashes[0]:.0f} s"
        counts = self._time(now)
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
        if self._slow_since is not None and now - self._slow_since >= limits.slow_for_s:
            return f"p99 of a step was over {1000 * limits.step_s:.0f} ms for {limits.slow_for_s:.0f} s"
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
    """Watches every version of a model that has traffic, and takes a bad one out of it, in this server and in the registry.

    limits  of each version; `clock` in seconds, monotonic
    """

    def __init__(
        self,
        registry: Registry,
        model: str,
        traffic: Traffic,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.registry, self.model, self.traffic, self.limits, self.clock = registry, model, traffic, limits, clock
        self._watches: dict[int, Watch] = {}
        self._condemned: set[int] = set()

    def watch(self, version: int) -> Watch:
        """Whom to tell of a version's steps and crashes."""
        if version not in self._watches:
            self._watches[version] = Watch(self.limits, self.clock)
        return self._watches[version]

    def tend(self) -> dict[int, str]:
        """To be called about once a second: the versions that are taken out of traffic now, and why.

        New sessions get the version before from now on, which is loaded still; live ones stay where they are. Then the registry is
        told, so that no other replica takes it up; one that cannot be reached does not hold the rollback up.
        """
        verdicts = {
            version: watch.verdict() for version, watch in self._watches.items() if version not in self._condemned
        }
        bad = {version: why for version, why in verdicts.items() if why is not None}
        for version, why in bad.items():
            self._condemned.add(version)
            self.traffic.take_out(version)
            try:
                self.registry.quarantine(self.model, version, why)
            except Exception:
                log.exception("%s/%d is out of traffic here, but the registry could not be told", self.model, version)
        return bad
