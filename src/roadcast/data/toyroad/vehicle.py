"""The ego vehicle: a kinematic bicycle with its reference point at the centre of gravity."""

import math
from dataclasses import dataclass

FRONT = 1.35
"""Metres from the centre of gravity to the front axle, l_f."""
REAR = 1.35
"""Metres from the centre of gravity to the rear axle, l_r."""
MAX_WHEEL = 0.5
"""Largest front-wheel angle in rad."""
MAX_LATERAL = 6.0
"""Lateral acceleration in m/s2 that full steering asks for once the wheel angle alone would ask for more."""
_DRIVE, _BRAKE = 3.0, 7.0
_ROLL, _LINEAR, _AIR, _GRASS = 0.15, 0.09, 0.0058, 0.8


@dataclass(frozen=True)
class VehicleState:
    """Position x, y (m), yaw (rad, positive left) and speed (m/s) of the centre of gravity; and the last step."""

    x: float
    y: float
    yaw: float
    speed: float
    yaw_rate: float = 0.0
    curvature: float = 0.0
    acceleration: float = 0.0


def wheel_limit(speed: float) -> float:
    """Front-wheel angle in rad at steer = 1: min(MAX_WHEEL, atan(L MAX_LATERAL / v^2)), L = FRONT + REAR."""
    return min(MAX_WHEEL, math.atan((FRONT + REAR) * MAX_LATERAL / max(speed * speed, 1e-6)))


def coasting(speed: float, grass: bool = False) -> float:
    """Deceleration in m/s2 of the rolling car at `speed` without throttle or brake; more on grass."""
    return _ROLL + _LINEAR * speed + _AIR * speed * speed + (_GRASS if grass else 0.0)


def drive(state: VehicleState, steer: float, throttle: float, brake: float, dt: float, grass: bool) -> VehicleState:
    """The state one step of `dt` seconds later under steer in [-1, 1] (positive left), throttle and brake in [0, 1].

    Kinematic bicycle (Rajamani, Vehicle Dynamics and Control, 2012, section 2.2; Kong et al., Kinematic and Dynamic
    Vehicle Models for Autonomous Driving Control Design, IV 2015, eq. 1), delta = steer * wheel_limit(v):
        beta = atan(l_r / (l_f + l_r) tan delta)
        x' = v cos(psi + beta),  y' = v sin(psi + beta),  psi' = v / l_r sin beta,  v' = a
    The speed is stepped first; the position then follows at the mean speed with psi at the middle of the step.
    The car does not reverse: v >= 0.
    """
    push = _DRIVE * throttle - _BRAKE * brake - coasting(state.speed, grass)
    speed = max(0.0, state.speed + push * dt)
    mean = 0.5 * (state.speed + speed)
    beta = math.atan(REAR / (FRONT + REAR) * math.tan(steer * wheel_limit(mean)))
    curvature = math.sin(beta) / REAR
    turn = mean * curvature * dt
    course = state.yaw + 0.5 * turn + beta
    return VehicleState(
        x=state.x + mean * math.cos(course) * dt,
        y=state.y + mean * math.sin(course) * dt,
        yaw=state.yaw + turn,
        speed=speed,
        yaw_rate=mean * curvature,
        curvature=curvature,
        acceleration=(speed - state.speed) / dt,
    )
