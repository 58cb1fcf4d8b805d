"""The pedal test: does the imagined world go faster when told to, and slow down when told to?"""

import numpy as np

from roadcast.data.actions import ACTIONS
from roadcast.data.reel.store import Reel
from roadcast.evaluation.metrics.flow import outward_motion
from roadcast.evaluation.protocol import Protocol, World
from roadcast.evaluation.sweep import MAX_FRAMES, Plan, Progress, Sweep, recorded, sweep

LONGITUDINAL_CONTROLS = ("throttle", "acceleration", "speed")
SIDES = ("accelerate", "coast", "brake")
QUANTILES = (0.95, 0.5, 0.05)
LEAST = 0.1
"""Of a control's typical size, that the highest and the lowest command must be apart."""


def pedal_plan(reel: Reel, split: str, actions: tuple[str, ...]) -> Plan | None:
    """Accelerate, coast and brake, as hard as the split's drivers do; None where the model takes no such control or it never changes.

    With throttle and brake: the throttle's 95th percentile; neither pedal; and the brake's 95th percentile of those moments when
    it is pressed. With one control alone: its 95th, 50th and 5th percentile, as a harder command would test extrapolation.
    """
    control = next((name for name in LONGITUDINAL_CONTROLS if name in actions), None)
    values = recorded(reel, split, control) if control else np.zeros(0)
    if control is None or not len(values):
        return None
    commands = np.quantile(values, QUANTILES).tolist()
    settings = [{control: command} for command in commands]
    pressed = recorded(reel, split, "brake") if "brake" in actions else np.zeros(0)
    pressed = pressed[pressed > 0]
    if control == "throttle" and len(pressed):
        brake = float(np.quantile(pressed, QUANTILES[0]))
        commands = [commands[0], 0.0, -brake]
        settings = [{"throttle": max(0.0, c), "brake": max(0.0, -c)} for c in commands]
    if commands[0] - commands[-1] < LEAST * ACTIONS[control].scale:
        return None
    rivals = tuple(name for name in (*LONGITUDINAL_CONTROLS, "brake") if name not in settings[0])
    name = "throttle - brake" if "brake" in settings[0] else control
    return Plan("pedals", name, commands, settings, SIDES, rivals, outward_motion)


def pedal_test(
    world: World,
    reel: Reel,
    protocol: Protocol,
    plan: Plan,
    *,
    contexts: int,
    batch: int,
    progress: Progress | None = None,
) -> Sweep:
    """Imagine the same contexts while accelerating, coasting and braking and measure how fast the picture grows.

    The response is `outward_motion` over the second half of the frames: a pedal changes the speed by and by.
    """
    lag = min(protocol.horizon, MAX_FRAMES) // 2
    return sweep(world, reel, protocol, plan, contexts=contexts, batch=batch, lag=lag, progress=progress)
