"""Ours in `peers.py`: a preset's dynamics at a window of 32 frames, and `Rollout.step`, which drives, evaluates and trains."""

import torch
from peers_common import Contender, Step, Task, count, randomise

from roadcast.dynamics.model import Dynamics
from roadcast.flow.rollout import Rollout
from roadcast.presets import preset_config

WINDOW = 32


def ours(preset: str, compiled: bool = False) -> tuple[Task, Contender]:
    """The task that the preset sets all others, and our own way to do it; `compiled`, all passes of a step are one graph."""
    config = preset_config(preset)
    shape = config.dynamics
    shape.context_frames = WINDOW
    channels, stride = config.tokenizer.latent_channels, config.tokenizer.stride
    height, width = config.data.height // stride, config.data.width // stride
    dynamics = Dynamics(shape, channels)
    randomise(dynamics)
    task = Task(
        height, width, channels, WINDOW, 2 * len(shape.actions) * shape.action_window, count(dynamics),
        shape.depth, shape.width // shape.heads,
    )  # fmt: skip

    def begin(passes: int) -> Step:
        rollout = Rollout(dynamics, config.flow, steps=passes)
        if compiled:
            rollout.sample.compile()
        actions_BFA = torch.randn(1, WINDOW, len(shape.actions))
        known_BFA = torch.ones_like(actions_BFA, dtype=torch.bool)
        state = rollout.start(torch.randn(1, WINDOW, height, width, channels), actions_BFA, known_BFA, seeds=[0])
        return lambda: rollout.step(state, actions_BFA[:, :1], known_BFA[:, :1])

    return task, Contender("roadcast" + ", compiled" * compiled, dynamics, task.cells + shape.registers + 1, 1, begin)
