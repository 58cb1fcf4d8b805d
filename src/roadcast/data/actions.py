"""What a driving recording may carry beside pictures: names, units and signs (SI, ego frame x forward, y left, z up)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Action:
    """One control: its unit, the typical size that `normalise` divides by, and what mirroring the image does to it."""

    unit: str
    scale: float
    mirror: int = 1
    low: float = -float("inf")
    high: float = float("inf")


ACTIONS: dict[str, Action] = {
    "steer": Action("1, positive left", 0.5, mirror=-1, low=-1.0, high=1.0),
    "throttle": Action("1", 0.5, low=-1.0, high=1.0),
    "brake": Action("1", 0.5, low=0.0, high=1.0),
    "speed": Action("m/s", 10.0),
    "yaw_rate": Action("rad/s, positive left", 0.3, mirror=-1),
    "curvature": Action("1/m, positive left", 0.05, mirror=-1),
    "acceleration": Action("m/s2", 2.0),
}
"""Throttle is in [-1, 1] because toy and radio-controlled cars reverse on it; road cars use [0, 1]."""

SIGNALS: dict[str, int] = {
    **dict.fromkeys(ACTIONS, 1),
    "ego_pose": 7,
    "velocity": 3,
    "angular_velocity": 3,
    "linear_acceleration": 3,
    "gps": 3,
}
"""Values a moment, by the signal's name. ego_pose: x y z (m, of a fixed world near the drive) and quaternion w x y z that turns
ego to world; velocity (m/s), angular_velocity (rad/s) and linear_acceleration (m/s2, without gravity) along the ego's axes; gps:
latitude and longitude (deg), altitude (m)."""
