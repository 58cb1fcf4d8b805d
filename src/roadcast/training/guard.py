"""Whether a step is to be trusted, and whether a stage gets any better."""

import math
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Any

from roadcast.config import GuardConfig

SMALLEST_WINDOW = 20  # steps before anything is judged
FLOOR = 0.1  # of the median: the least that counts as a deviation, so that a smooth window does not alarm
CLEAN = 100  # steps taken one after another that end a row of rollbacks
OVERFLOWS = 40  # in a row; from the usual loss scale of 2^16, 40 halvings leave nothing to scale
SMOOTHING = 0.5  # of the newest held-out loss, in the average by which a stage ends early


@dataclass(frozen=True)
class Verdict:
    """What is to be done with a step: step, skip, rollback or stop; why, where it is out of the ordinary; and how far out it is.

    loss_z, norm_z  robust standard deviations above the median; None before there is enough to judge by
    """

    action: str
    reason: str | None = None
    loss_z: float | None = None
    norm_z: float | None = None


class Guard:
    """Finds steps whose loss or gradient norm is far above those before.

    Robust z-score `z = (x - median) / (1.4826 MAD)` over the last `window` steps that were taken, MAD the median distance from the
    median (Iglewicz & Hoaglin 1993, section 3.3). A norm, which is positive and skewed, is judged by its logarithm. What is low
    is never wrong.

    A loss or norm that is not finite is not stepped with, whatever the configuration says. `rollbacks` in a row, with no CLEAN
    steps between, or ten times as many skipped steps in a row are all that is borne: the next ends the stage. So do OVERFLOWS
    gradients in a row beyond float16's range, which are otherwise the loss scaler's business.

    A rollback leaves the guard as it is, or it would forget that it rolled back; only a process that resumes loads its state.
    """

    def __init__(self, config: GuardConfig):
        self.config = config
        self.losses: deque[float] = deque(maxlen=config.window)
        self.norms: deque[float] = deque(maxlen=config.window)
        self.skipped = self.rollbacks = self.clean = self.overflows = 0  # all of them in a row

    def judge(self, step: int, loss: float, norm: float, *, overflow: bool = False) -> Verdict:
        """What is to be done with a step of this loss and gradient norm (unscaled, before clipping), the same on all processes.

        overflow  the scaled gradient left float16's range: the step cannot be taken, and that is no anomaly
        """
        if overflow and math.isfinite(loss):
            self.overflows += 1
            if self.overflows > OVERFLOWS:
                return Verdict(
                    "stop", f"{self.overflows} gradients in a row left float16's range; use precision = 'bfloat16'"
                )
            return Verdict("skip")
        log_norm = math.log(max(norm, 1e-30)) if math.isfinite(norm) else norm
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return self._refuse(step, f"the loss is {loss:g} and the gradient norm {norm:g}", None, None)
        loss_z, norm_z = None, None
        if self.config.anomaly != "off" and len(self.losses) >= min(SMALLEST_WINDOW, self.config.window):
            loss_z = robust_z(loss, self.losses, FLOOR * abs(median(self.losses)))
            norm_z = robust_z(log_norm, self.norms, FLOOR)
        reason = None
        if max(loss_z or 0.0, norm_z or 0.0) > self.config.threshold:
            reason = (
                f"loss {loss:.4g} is {loss_z:.1f} and gradient norm {norm:.4g} is {norm_z:.1f} robust deviations above the median "
                f"of the last {len(self.losses)} steps"
            )
            if self.config.anomaly != "log":
                return self._refuse(step, reason, loss_z, norm_z)
        self.losses.append(loss)
        self.norms.append(log_norm)
        self.skipped = self.overflows = 0
        self.clean += 1
        if self.clean >= CLEAN:
            self.rollbacks = 0
        return Verdict("step", reason, loss_z, norm_z)

    def _refuse(self, step: int, reason: str, loss_z: float | None, norm_z: float | None) -> Verdict:
        """A verdict against the step, by as much as is still borne."""
        self.clean = 0
        action = "rollback" if self.config.anomaly == "rollback" else "skip"
        if action == "rollback":
            self.rollbacks += 1
            count, limit, told = self.rollbacks, self.config.rollbacks, "rollbacks"
        else:
            self.skipped += 1
            count, limit, told = self.skipped, 10 * self.config.rollbacks, "skipped steps"
        if count > limit:
            action = "stop"
            reason = (
                f"step {step}: {reason}, after {limit} {told} in a row; look at the data, lower the stage's lr and begin it anew, or "
                "raise guard.threshold"
            )
        return Verdict(action, reason, loss_z, norm_z)

    def state(self) -> dict[str, Any]:
        """All that later verdicts depend on, as JSON; exact."""
        counts = {name: getattr(self, name) for name in COUNTS}
        return {"losses": list(self.losses), "norms": list(self.norms)} | counts

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, or from nothing ({}: a run begun before there were guards)."""
        self.losses = deque(state.get("losses", ()), maxlen=self.config.window)
        self.norms = deque(state.get("norms", ()), maxlen=self.config.window)
        for name in COUNTS:
            setattr(self, name, state.get(name, 0))


COUNTS = ("skipped", "rollbacks", "clean", "overflows")


def robust_z(value: float, seen: deque[float], floor: float) -> float:
    """Deviations of `value` above the median of `seen`, one being 1.4826 MAD (a normal's sigma) or `floor`, whichever is more."""
    middle = median(seen)
    deviation = max(1.4826 * median(abs(x - middle) for x in seen), floor)
    return (value - middle) / max(deviation, 1e-30)


class EarlyStopping:
    """Ends a stage whose smoothed held-out loss `s <- s + SMOOTHING (loss - s)` has not been at a new low for `patience` evaluations.

    `best` is the step of the lowest s so far. Patience 0 only watches.
    """

    def __init__(self, patience: int):
        self.patience = patience
        self.best: int | None = None
        self.lowest: float = math.inf
        self.smoothed: float | None = None
        self.worse = 0

    @property
    def over(self) -> bool:
        """Whether patience is at its end."""
        return 0 < self.patience <= self.worse

    def judge(self, step: int, loss: float) -> bool:
        """Whether the stage is over, after a held-out loss at `step`; one that is not finite is no better."""
        if math.isfinite(loss):
            self.smoothed = loss if self.smoothed is None else self.smoothed + SMOOTHING * (loss - self.smoothed)
        if math.isfinite(loss) and self.smoothed is not None and self.smoothed < self.lowest:
            self.best, self.lowest, self.worse = step, self.smoothed, 0
        else:
            self.worse += 1
        return self.over

    def state(self) -> dict[str, Any]:
        """All that later judgements depend on, as JSON."""
        return {
            "best": self.best,
            "lowest": self.lowest if self.best is not None else None,
            "smoothed": self.smoothed,
            "worse": self.worse,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, or from nothing ({})."""
        self.best, self.smoothed, self.worse = state.get("best"), state.get("smoothed"), state.get("worse", 0)
        self.lowest = math.inf if self.best is None else state["lowest"]
