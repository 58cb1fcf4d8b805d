"""From a path to how the car moved, and back: speed, turning and acceleration of poses, and poses of speed and turning."""

from itertools import pairwise

import numpy as np

from roadcast.data.geometry import matrix_of, pose_of, yaw_of
from roadcast.data.sources.base import Signal

SPAN = 0.3
"""Seconds over which a path is smoothed; three samples where they are further apart."""
GAP = 1.0
"""Seconds without a sample, and three usual steps, beyond which a path is cut."""
SLOW = 0.3
"""Below this many m/s the curvature of a path is unknown."""


def motion_of(t_ns: np.ndarray, pose: np.ndarray) -> dict[str, np.ndarray]:
    """speed, yaw_rate, curvature and acceleration of poses [F, 7] at times [F]: float32 [F] each, NaN where unknown.

    Position and heading are fitted by parabolas over SPAN about each sample (Savitzky and Golay 1964, here for any times),
    whose slopes are velocity and yaw rate. speed = |velocity|, negative where it points backwards; curvature = yaw_rate / speed,
    NaN below SLOW; acceleration is the slope of speed. A sample that is NaN, or a gap, ends a fit: nothing is taken across it.
    """
    pose = np.asarray(pose, np.float64)
    known = np.isfinite(pose).all(-1)
    velocity, yaw_rate = np.full((len(pose), 3), np.nan), np.full(len(pose), np.nan)
    acceleration = yaw_rate.copy()
    speed = yaw_rate.copy()
    for run in _runs(np.asarray(t_ns), known):
        t = (t_ns[run] - t_ns[run.start]) * 1e-9
        yaw = np.unwrap(yaw_of(pose[run]))
        slopes = _slopes(t, np.concatenate([pose[run, :3], yaw[:, None]], 1))
        velocity[run], yaw_rate[run] = slopes[:, :3], slopes[:, 3]
        forward = matrix_of(pose[run])[:, :3, 0]
        speed[run] = np.linalg.norm(velocity[run], axis=1)
        speed[run] *= np.where(np.einsum("fi,fi->f", velocity[run], forward) < 0, -1, 1)
        acceleration[run] = _slopes(t, speed[run][:, None])[:, 0]
    out = {"speed": speed, "yaw_rate": yaw_rate, "curvature": _curvature(speed, yaw_rate), "acceleration": acceleration}
    return {name: values.astype(np.float32) for name, values in out.items()}


def derived(signals: dict[str, Signal]) -> dict[str, Signal]:
    """`signals` and the actions that follow from them: only what is absent is added, from the nearest of what is there.

    speed           of velocity, else of ego_pose
    yaw_rate        of angular_velocity, else speed * curvature, else of ego_pose
    curvature       yaw_rate / speed, NaN (left out) below SLOW
    acceleration    forward, of linear_acceleration, else the slope of speed
    """
    have = dict(signals)

    def add(name: str, t_ns: np.ndarray, values: np.ndarray) -> None:
        signal = Signal.of(t_ns, values)
        if name not in have and len(signal.t_ns):
            have[name] = signal

    for name, source, column in (("yaw_rate", "angular_velocity", 2), ("acceleration", "linear_acceleration", 0)):
        if source in have:
            add(name, have[source].t_ns, have[source].values[:, column])
    if "velocity" in have:
        velocity = have["velocity"]
        sign = np.where(velocity.values[:, 0] < 0, -1, 1)
        add("speed", velocity.t_ns, sign * np.linalg.norm(velocity.values, axis=1))
    pose = have.get("ego_pose")
    moved = motion_of(pose.t_ns, pose.values) if pose else {}
    if pose:
        add("speed", pose.t_ns, moved["speed"])
    if "speed" in have:
        speed = have["speed"]
        if "curvature" in have:
            curvature = have["curvature"]
            add("yaw_rate", curvature.t_ns, curvature.values * speed.at(curvature.t_ns, GAP * 1e9))
        if pose:
            add("yaw_rate", pose.t_ns, moved["yaw_rate"])
        if "yaw_rate" in have:
            turning = have["yaw_rate"]
            add("curvature", turning.t_ns, _curvature(speed.at(turning.t_ns, GAP * 1e9), turning.values))
        slope = np.full(len(speed.t_ns), np.nan)
        for run in _runs(speed.t_ns, np.isfinite(speed.values)):
            seconds = (speed.t_ns[run] - speed.t_ns[run.start]) * 1e-9
            slope[run] = _slopes(seconds, speed.values[run, None].astype(np.float64))[:, 0]
        add("acceleration", speed.t_ns, slope)
    return have


def composed(steps: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Poses float64 [F, 7] of relative motions [F, 7], as `geometry.relative` gives them; NaN from the first unknown step on.

    start     the pose before the first step: where nothing else is known, the world's origin
    """
    place = np.eye(4) if start is None else matrix_of(start)
    out = np.empty((len(steps), 4, 4))
    for n, step in enumerate(matrix_of(steps)):
        place = place @ step
        out[n] = place
    return pose_of(out)


def dead_reckoning(speed: Signal, yaw_rate: Signal) -> Signal:
    """The ego pose from speed and yaw rate alone, at the times of `speed` where both are known; it begins at the world's origin.

    Between two samples both are taken at their means v and w, dt apart, so the car drives an arc: its heading grows by w dt and
    it comes v dt sinc(w dt / 2) far, along the heading halfway. Errors add up, and a gap is passed over as if driven steadily.
    """
    t_ns = speed.t_ns
    turning = yaw_rate.at(t_ns)
    known = np.isfinite(turning) & np.isfinite(speed.values)
    t_ns, v, w = t_ns[known], speed.values[known].astype(np.float64), turning[known].astype(np.float64)
    if not len(t_ns):
        return Signal(t_ns, np.zeros((0, 7), np.float32))
    dt = np.diff(t_ns) * 1e-9
    turns = dt * (w[1:] + w[:-1]) / 2
    yaw = np.concatenate([[0.0], np.cumsum(turns)])
    far = dt * (v[1:] + v[:-1]) / 2 * np.sinc(turns / (2 * np.pi))
    halfway = yaw[:-1] + turns / 2
    pose = np.zeros((len(t_ns), 7))
    pose[1:, 0], pose[1:, 1] = np.cumsum(far * np.cos(halfway)), np.cumsum(far * np.sin(halfway))
    pose[:, 3], pose[:, 6] = np.cos(yaw / 2), np.sin(yaw / 2)
    return Signal(t_ns, pose.astype(np.float32))


def _runs(t_ns: np.ndarray, known: np.ndarray) -> list[slice]:
    """Stretches of known samples without a gap."""
    if len(t_ns) < 2:
        return []
    steps = np.diff(t_ns)
    cut = (steps > max(GAP * 1e9, 3 * float(np.median(steps)))) | (known[1:] != known[:-1])
    bounds = [0, *(np.flatnonzero(cut) + 1).tolist(), len(t_ns)]
    return [slice(a, b) for a, b in pairwise(bounds) if known[a] and b - a > 1]


def _slopes(t: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The slopes [F, k] at times t [F] (s) of parabolas fitted to values [F, k] over SPAN about each sample."""
    half = max(1, round(SPAN / 2 / float(np.median(np.diff(t)))))
    size = min(len(t), 2 * half + 1)
    first = np.clip(np.arange(len(t)) - half, 0, len(t) - size)
    window = first[:, None] + np.arange(size)
    x = t[window] - t[:, None]
    scale = np.abs(x).max(1, keepdims=True)
    powers = np.stack([(x / scale) ** p for p in range(min(3, size))], -1)
    y = values[window] - values[:, None]
    return np.einsum("fs,fsk->fk", np.linalg.pinv(powers)[:, 1] / scale, y)


def _curvature(speed: np.ndarray, yaw_rate: np.ndarray) -> np.ndarray:
    moving = np.abs(speed) >= SLOW
    return np.divide(yaw_rate, speed, out=np.full(len(speed), np.nan, np.float64), where=moving)
