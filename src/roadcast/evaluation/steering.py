"""The steering test: does the imagined world turn left when told to, and right when told to?"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from roadcast.data.actions import ACTIONS
from roadcast.data.reel.store import Reel
from roadcast.evaluation.metrics.flow import lateral_motion, of_each
from roadcast.evaluation.metrics.statistics import (
    Estimate,
    correlation_estimate,
    effect_size_estimate,
    mean_estimate,
    sign_flip_p,
    spearman,
)
from roadcast.evaluation.protocol import Protocol, World, read_clips

LATERAL_CONTROLS = ("steer", "curvature", "yaw_rate")  # all positive left
SWEEP = (1.0, 0.5, 0.0, -0.5, -1.0)  # hard left, left, straight, right, hard right, times the amount
MAX_FRAMES = 16
MIN_CONTEXTS = 7  # 2^-7 is the first exact p-value below LEVEL
MAX_LAG = 10
LEVEL = 0.01
SHOWN = 2


@dataclass(frozen=True)
class Steering:
    """The outcome of the steering test.

    control            the control that was swept, positive left
    commands           its five values, left to right
    frames             frames imagined for each
    contexts           positions in the protocol's clip list
    flow               [context][command] mean horizontal flow in pixels a frame; a left turn moves the picture right
    mean               its mean over contexts, one for each command
    effect             Cohen's d_z of left - right, left - straight and straight - right, paired by context
    p_value            one-sided sign-flip p-value of left > straight and of straight > right
    spearman           rank correlation of command and flow over all contexts and commands
    ordered            share of contexts where left > straight > right
    steers_right_way   both p-values are below LEVEL
    shown              uint8 [context, (left, straight, right), frame, H, W, 3] of a few contexts, frame 0 real
    """

    control: str
    commands: list[float]
    frames: int
    contexts: list[int]
    flow: list[list[float]]
    mean: list[Estimate]
    effect: dict[str, Estimate]
    p_value: dict[str, float]
    spearman: float
    ordered: float
    steers_right_way: bool
    shown: np.ndarray


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
    if control not in reel.signals:
        return None
    parts = [reel.signals[control][v.first : v.first + v.frames] for v in reel.videos if v.split == split]
    size = np.abs(np.concatenate(parts))
    size = size[np.isfinite(size)]
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
    progress: Callable[[str, int, int], None] | None = None,
) -> Steering:
    """Imagine the same contexts under five steering commands and measure which way the picture moves.

    Each context is continued for up to 16 frames under each command of the sweep with the same noise; the other
    controls keep their last context value, but for other lateral ones, which would contradict the command and are
    marked unknown. The response is the mean horizontal optical flow between consecutive frames from the last
    context frame on. A world that steers the right way has left > straight > right (flow positive to the right).
    Differences are paired by context; the test is a one-sided sign-flip permutation of each of the two steps.

    Args:
        control, amount: which control is swept, and its largest size in its own unit.
        contexts: how many of the protocol's clips, evenly spread, at least MIN_CONTEXTS.
    """
    contexts = min(contexts, len(protocol.clips))
    assert contexts >= MIN_CONTEXTS
    chosen = ((np.arange(contexts) + 0.5) * len(protocol.clips) / contexts).astype(int).tolist()
    commands = [amount * share for share in SWEEP]
    frames, column = min(protocol.horizon, MAX_FRAMES), protocol.actions.index(control)
    others = [protocol.actions.index(n) for n in LATERAL_CONTROLS if n in protocol.actions and n != control]
    flow, shown = np.zeros((contexts, len(SWEEP))), []
    for at in range(0, contexts, batch):
        part = chosen[at : at + batch]
        clip = read_clips(reel, protocol, part)
        assert clip.frames_BFHWC is not None
        context = clip.frames_BFHWC[:, : protocol.context]
        actions = clip.actions_BFA[:, : protocol.context + frames].clone()
        known = clip.known_BFA[:, : protocol.context + frames].clone()
        actions[:, protocol.context :] = actions[:, protocol.context - 1, None]
        known[:, protocol.context :] = known[:, protocol.context - 1, None]
        actions[:, protocol.context :, others], known[:, protocol.context :, others] = 0.0, False
        known[:, protocol.context :, column] = True
        pictures = []
        for c, command in enumerate(commands):
            actions[:, protocol.context :, column] = command
            made = world.imagine(context, actions.clone(), known.clone(), protocol.seeds(part), protocol.steps)
            videos = torch.cat([context[:, -1:], made.cpu()], dim=1).numpy()
            flow[at : at + len(part), c] = [moved.mean() for moved in of_each(lateral_motion, videos)]
            pictures.append(videos)
            if progress:
                progress("steering", at * len(SWEEP) + (c + 1) * len(part), contexts * len(SWEEP))
        left_straight_right = np.stack(pictures[::2], axis=1)
        shown += list(left_straight_right[: SHOWN - len(shown)])
    return _verdict(control, commands, frames, chosen, flow, np.stack(shown))


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


def _verdict(
    control: str, commands: list[float], frames: int, chosen: list[int], flow: np.ndarray, shown: np.ndarray
) -> Steering:
    left, straight, right = flow[:, 0], flow[:, 2], flow[:, 4]
    p_value = {"left > straight": sign_flip_p(left - straight), "straight > right": sign_flip_p(straight - right)}
    return Steering(
        control=control,
        commands=commands,
        frames=frames,
        contexts=chosen,
        flow=flow.tolist(),
        mean=[mean_estimate(flow[:, c]) for c in range(len(commands))],
        effect={
            "left - right": effect_size_estimate(left - right),
            "left - straight": effect_size_estimate(left - straight),
            "straight - right": effect_size_estimate(straight - right),
        },
        p_value=p_value,
        spearman=spearman(np.broadcast_to(commands, flow.shape), flow),
        ordered=float(((left > straight) & (straight > right)).mean()),
        steers_right_way=all(p < LEVEL for p in p_value.values()),
        shown=shown,
    )
