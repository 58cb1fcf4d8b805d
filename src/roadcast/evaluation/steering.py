"""The steering test: does the imagined world turn left when told to, and right when told to?"""

from dataclasses import dataclass

import numpy as np

from roadcast.data.actions import ACTIONS
from roadcast.data.reel.store import Reel
from roadcast.evaluation.metrics.flow import lateral_motion
from roadcast.evaluation.metrics.statistics import Estimate, correlation_estimate
from roadcast.evaluation.protocol import Protocol, World
from roadcast.evaluation.sweep import Plan, Progress, Sweep, recorded, sweep

LATERAL_CONTROLS = ("steer", "curvature", "yaw_rate")  # all positive left
SHARES = (1.0, 0.5, 0.0, -0.5, -1.0)  # hard left, left, straight, right, hard right, times the amount
MAX_LAG = 10


@dataclass(frozen=True)
class RealSteering:
    """The same question put to real video: Pearson correlation of the recorded control with the horizontal flow.

    correlation[lag] pairs the flow into frame f with the command of frame f - lag; `best` is at `best_lag`,
    the lag of the largest correlation, with its interval over clips.
    """

    control: str
    clips: int
    correlation: list[float]
    best_lag: int
    best: Estimate


def lateral_control(actions: tuple[str, ...]) -> str | None:
    """The control that steers, None where the model has none."""
    return next((name for name in LATERAL_CONTROLS if name in actions), None)


def usual_amount(reel: Reel, split: str, control: str) -> float | None:
    """How hard the split's drivers steer: the 90th percentile of the control's size, None where it was never recorded.

    A harder command than any in the data would test extrapolation, not steering.
    """
    size = np.abs(recorded(reel, split, control))
    return max(float(np.quantile(size, 0.9)), 0.2 * ACTIONS[control].scale) if len(size) else None


def steering_test(
    world: World,
    reel: Reel,
    protocol: Protocol,
    *,
    control: str,
    amount: float,
    contexts: int,
    batch: int,
    lag: int = 0,
    progress: Progress | None = None,
) -> Sweep:
    """Imagine the same contexts under five steering commands and measure which way the picture moves.

    A world that steers the right way has left > straight > right (flow positive to the right). Other lateral controls, which would
    contradict the command, are unknown.

    Args:
        control, amount: which control is swept, and its largest size in its own unit.
        contexts, batch, lag, progress: see `sweep`; the lag is the real video's (`RealSteering`).
    """
    commands = [amount * share for share in SHARES]
    plan = Plan(
        name="steering", control=control, commands=commands, settings=[{control: command} for command in commands],
        sides=("left", "straight", "right"), rivals=tuple(name for name in LATERAL_CONTROLS if name != control),
        measure=lateral_motion,
    )  # fmt: skip
    return sweep(world, reel, protocol, plan, contexts=contexts, batch=batch, lag=lag, progress=progress)


def real_steering(
    control: str, command_NF: np.ndarray, known_NF: np.ndarray, lateral: np.ndarray
) -> RealSteering | None:
    """Correlation of the recorded control with real lateral flow at lags of 0 to 10 frames.

    Args:
        command_NF, known_NF: the control at every frame of N clips, and whether it was recorded.
        lateral: horizontal flow between consecutive frames, [N, F - 1].
    Returns: None where no clip has the control throughout, or the control or the flow never changes.
    """
    whole = known_NF.all(axis=1)
    command, lateral = command_NF[whole], lateral[whole]
    lags = min(MAX_LAG, command.shape[1] - 2) + 1
    if not len(command) or lags < 1:
        return None
    response = lateral[:, lags - 1 :]  # column j: flow into frame lags + j, the same frames for every lag
    pairs = [(command[:, lags - lag : lags - lag + response.shape[1]], response) for lag in range(lags)]
    estimates = [estimate for x, y in pairs if (estimate := correlation_estimate(x, y)) is not None]
    if len(estimates) < lags:
        return None
    correlation = [e.mean for e in estimates]
    best = int(np.argmax(correlation))
    return RealSteering(control, len(command), correlation, best, estimates[best])
