"""A counterfactual sweep: the same contexts continued under several commands, and whether the picture moves as commanded."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from roadcast.data.reel.store import Reel
from roadcast.evaluation.metrics.flow import of_each
from roadcast.evaluation.metrics.statistics import Estimate, effect_size_estimate, mean_estimate, sign_flip_p, spearman
from roadcast.evaluation.protocol import Protocol, World, read_clips

MAX_FRAMES = 16
MIN_CONTEXTS = 7  # 2^-7 is the first exact p-value below LEVEL
LEVEL = 0.01
SHOWN = 2

Progress = Callable[[str, int, int], None]
Measure = Callable[[np.ndarray], np.ndarray]
"""Of a video [F, H, W, 3], the motion between its neighbouring frames [F - 1]."""


@dataclass(frozen=True)
class Plan:
    """What is swept.

    name      of the sweep
    control   what is commanded, for people
    commands  its values, from the one that should make the response largest to the one that should make it smallest
    settings  for each command the controls it sets, by name
    sides     what the first, the middle and the last command are called
    rivals    controls that would contradict the commands, which are marked unknown
    measure   of a video, the response: the motion between neighbouring frames
    """

    name: str
    control: str
    commands: list[float]
    settings: list[dict[str, float]]
    sides: tuple[str, str, str]
    rivals: tuple[str, ...]
    measure: Measure


@dataclass(frozen=True)
class Sweep:
    """The outcome of a sweep.

    control          what was commanded
    commands         its values, from the one of the largest response to that of the smallest
    sides            what the first, the middle and the last of them are called
    frames           frames imagined for each
    lag              frames by which the picture answers late: the response is measured from this one on
    contexts         positions in the protocol's clip list
    flow             [context][command] mean response, in pixels a frame
    mean             its mean over contexts, one for each command
    effect           Cohen's d_z of first - last, first - middle and middle - last, paired by context
    p_value          one-sided sign-flip p-value of first > middle and of middle > last
    spearman         rank correlation of command and response over all contexts and commands
    spearman_within  the mean over contexts of the rank correlation inside each
    ordered          share of contexts where first > middle > last
    follows          both p-values are below LEVEL
    shown            uint8 [context, (first, middle, last), frame, H, W, 3] of a few contexts, frame 0 real
    """

    control: str
    commands: list[float]
    sides: tuple[str, str, str]
    frames: int
    lag: int
    contexts: list[int]
    flow: list[list[float]]
    mean: list[Estimate]
    effect: dict[str, Estimate]
    p_value: dict[str, float]
    spearman: float
    spearman_within: Estimate
    ordered: float
    follows: bool
    shown: np.ndarray


def evenly(contexts: int, clips: int) -> list[int]:
    """Positions of so many contexts, evenly spread over a list of clips."""
    contexts = min(contexts, clips)
    return ((np.arange(contexts) + 0.5) * clips / contexts).astype(int).tolist()


def recorded(reel: Reel, split: str, control: str) -> np.ndarray:
    """Every known value of a control in a split; none where it was never recorded."""
    if control not in reel.signals:
        return np.zeros(0)
    parts = [reel.signals[control][v.first : v.first + v.frames] for v in reel.videos if v.split == split]
    values = np.concatenate(parts) if parts else np.zeros(0)
    return values[np.isfinite(values)]


def sweep(
    world: World,
    reel: Reel,
    protocol: Protocol,
    plan: Plan,
    *,
    contexts: int,
    batch: int,
    lag: int = 0,
    progress: Progress | None = None,
) -> Sweep:
    """Imagine the same contexts under every command of the plan and measure how the picture moves.

    Each context is continued for up to 16 frames under each command with the same noise. Controls that the plan neither sets nor
    marks unknown keep their last context value. The response to a command is the mean motion between consecutive frames from
    `lag` frames after it was given. Differences are paired by context; the test is a one-sided sign-flip permutation of each of
    the two steps.

    Args:
        contexts: how many of the protocol's clips, evenly spread, at least MIN_CONTEXTS.
        lag: at most all frames but one.
    """
    chosen = evenly(contexts, len(protocol.clips))
    assert len(chosen) >= MIN_CONTEXTS
    frames = min(protocol.horizon, MAX_FRAMES)
    lag = min(lag, frames - 1)
    flow, shown = np.zeros((len(chosen), len(plan.commands))), []
    rivals = [protocol.actions.index(name) for name in plan.rivals if name in protocol.actions]
    for at in range(0, len(chosen), batch):
        part = chosen[at : at + batch]
        clip = read_clips(reel, protocol, part)
        assert clip.frames_BFHWC is not None
        context = clip.frames_BFHWC[:, : protocol.context]
        actions = clip.actions_BFA[:, : protocol.context + frames].clone()
        known = clip.known_BFA[:, : protocol.context + frames].clone()
        future = slice(protocol.context, None)
        actions[:, future] = actions[:, protocol.context - 1, None]
        known[:, future] = known[:, protocol.context - 1, None]
        actions[:, future, rivals], known[:, future, rivals] = 0.0, False
        pictures = []
        for c, setting in enumerate(plan.settings):
            for name, value in setting.items():
                column = protocol.actions.index(name)
                actions[:, future, column], known[:, future, column] = value, True
            made = world.imagine(context, actions.clone(), known.clone(), protocol.seeds(part), protocol.steps)
            videos = torch.cat([context[:, -1:], made.cpu()], dim=1).numpy()
            flow[at : at + len(part), c] = [moved[lag:].mean() for moved in of_each(plan.measure, videos)]
            pictures.append(videos)
            if progress:
                progress(plan.name, at * len(plan.commands) + (c + 1) * len(part), len(chosen) * len(plan.commands))
        sides = np.stack([pictures[0], pictures[len(pictures) // 2], pictures[-1]], axis=1)
        shown += list(sides[: SHOWN - len(shown)])
    return verdict(plan, frames, lag, chosen, flow, np.stack(shown))


def verdict(plan: Plan, frames: int, lag: int, contexts: list[int], flow: np.ndarray, shown: np.ndarray) -> Sweep:
    """What responses [context, command] say."""
    first, middle, last = plan.sides
    response = dict(zip(plan.sides, (flow[:, 0], flow[:, flow.shape[1] // 2], flow[:, -1]), strict=True))
    steps = [(first, middle), (middle, last)]
    p_value = {f"{a} > {b}": sign_flip_p(response[a] - response[b]) for a, b in steps}
    return Sweep(
        control=plan.control,
        commands=plan.commands,
        sides=plan.sides,
        frames=frames,
        lag=lag,
        contexts=contexts,
        flow=flow.tolist(),
        mean=[mean_estimate(flow[:, c]) for c in range(flow.shape[1])],
        effect={f"{a} - {b}": effect_size_estimate(response[a] - response[b]) for a, b in [(first, last), *steps]},
        p_value=p_value,
        spearman=spearman(np.broadcast_to(plan.commands, flow.shape), flow),
        spearman_within=mean_estimate(np.array([spearman(np.array(plan.commands), row) for row in flow])),
        ordered=float(np.all([response[a] > response[b] for a, b in steps], axis=0).mean()),
        follows=all(p < LEVEL for p in p_value.values()),
        shown=shown,
    )
