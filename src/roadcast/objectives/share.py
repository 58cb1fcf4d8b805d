"""How much of a training's context is self-made, as training goes on: the curriculum from the truth to the world's own output."""

import math
from collections.abc import Mapping

from roadcast.errors import UserError

SCHEDULES = ("cosine", "linear", "drift")


class Share:
    """A share that rises from `low` to `high`: with the training's progress p, 0 at the first step and 1 at the last, or when it is earned.

        linear   low + (high - low) p
        cosine   low + (high - low) (1 - cos(pi p)) / 2
        drift    min(high, low + rise n)

    n counts the evaluations at which the held-out drift was at most `tolerance` times the least of those before, the first among
    them. The first two are schedules of Bengio et al. 2015, section 2.4, in reverse: theirs is of the truth.
    Raises `UserError` unless 0 <= low <= high <= 1, rise > 0 and tolerance > 0.
    """

    def __init__(self, schedule: str, low: float, high: float, rise: float, tolerance: float):
        assert schedule in SCHEDULES
        if not 0 <= low <= high <= 1:
            raise UserError(
                f"options share_from = {low:g}, share_to = {high:g}; use shares that rise: 0 <= from <= to <= 1"
            )
        if rise <= 0 or tolerance <= 0:
            raise UserError(f"options rise = {rise:g}, tolerance = {tolerance:g}; use numbers above 0")
        self.schedule, self.low, self.high, self.rise, self.tolerance = schedule, low, high, rise, tolerance
        self.progress = 0.0
        self.raised, self.best = 0, math.inf

    @property
    def value(self) -> float:
        """The share in force."""
        if self.schedule == "drift":
            return min(self.high, self.low + self.rise * self.raised)
        p = self.progress
        return self.low + (self.high - self.low) * (p if self.schedule == "linear" else (1 - math.cos(math.pi * p)) / 2)

    def at(self, step: int, steps: int) -> None:
        """Told before each step: its number, 0 the first, and how many there are."""
        self.progress = step / max(1, steps - 1)

    def judged(self, drift: float) -> None:
        """Told the held-out drift after each evaluation; one that is not finite is no better."""
        self.raised += drift <= self.tolerance * self.best and math.isfinite(drift)
        self.best = min(self.best, drift if math.isfinite(drift) else math.inf)

    def state(self) -> dict[str, float]:
        """What later shares depend on besides the step, as JSON."""
        return {"raised": self.raised} | ({"best": self.best} if math.isfinite(self.best) else {})

    def load_state(self, state: Mapping[str, float]) -> None:
        """Go on from a `state`, or from nothing ({})."""
        self.raised, self.best = int(state.get("raised", 0)), state.get("best", math.inf)
