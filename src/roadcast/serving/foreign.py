"""Whether a world has come to where its model does not know its way: figures of a step far from what they were when it was pushed.

It sees a picture that the tokenizer has no code for (a user's clip of something else), latents that blow up, fade or flicker, and a model
whose draws fall apart. It does not see a strange scene that is made of familiar patches, nor a familiar one that is driven wrongly.
"""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from roadcast.data.actions import ACTIONS
from roadcast.evaluation.steering import lateral_control
from roadcast.serving.backend import Backend

TRAITS = ("level", "change", "uncertainty")
"""level: root mean square of the newest latent frame. change: of its difference to the one before. uncertainty: as in serving/pool.py."""

SPREADS = 6.0
"""Standard deviations from the mean at which a figure is foreign: of any distribution, at most 1/36 lies so far out (Chebyshev)."""
LEAST_SPREAD = 0.02
"""Of the mean: a few scenes can be more alike than the world is."""
FRAMES = 48


@dataclass(frozen=True)
class Trait:
    """One figure over the steps of the reference: its mean and standard deviation."""

    mean: float
    spread: float


Known = dict[str, Trait]
"""What a version's steps are like, by name of the trait; without any, nothing is foreign."""


def traits(now_BTHWC: Tensor, before_BTHWC: Tensor) -> list[dict[str, float]]:
    """Level and change of each row, from its newest latent frame and the one before."""

    def rms(x: Tensor) -> list[float]:
        return x.float().square().flatten(1).mean(1).sqrt().tolist()

    return [
        {"level": level, "change": change}
        for level, change in zip(rms(now_BTHWC), rms(now_BTHWC - before_BTHWC), strict=True)
    ]


def is_foreign(seen: dict[str, float], known: Known) -> bool:
    """Whether any figure of a step is foreign; NaN is not. A world may stand still, and be sure of it: only a level can be too low."""
    for name, trait in known.items():
        off = (seen.get(name, math.nan) - trait.mean) / max(trait.spread, LEAST_SPREAD * trait.mean)
        if off > SPREADS or (name == "level" and off < -SPREADS):
            return True
    return False


def reference(backend: Backend, frames: int = FRAMES) -> Known:
    """What the steps of a good world are like: slot 0 is driven from every scene, to the left, straight on, and to the right.

    The first steps are left out, for they still bear the look of a recording.
    """
    steer = lateral_control(backend.actions)
    on = {name: ACTIONS[name].scale / 2 for name in ("throttle", "speed") if name in backend.actions}
    seen: list[dict[str, float]] = []
    for scene in range(len(backend.scenes)):
        backend.begin(0, scene, seed=1 + scene)
        for frame in range(frames):
            side = (1.0, 0.0, -1.0)[3 * frame // frames]
            command = {**on, steer: side * ACTIONS[steer].scale / 2} if steer else on
            shown = backend.step({0: command})[0]
            if frame >= 2 and shown.traits:
                seen.append(shown.traits)
    values = {name: np.array([one[name] for one in seen if name in one]) for name in TRAITS}
    return {name: Trait(float(x.mean()), float(x.std())) for name, x in values.items() if x.size}
