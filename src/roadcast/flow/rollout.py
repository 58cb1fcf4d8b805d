"""The rollout: the one place where a world is imagined. Training, evaluation and the driver's seat all run this code."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from roadcast.config import FlowConfig
from roadcast.dynamics.conditioning import command_window, pad_history
from roadcast.dynamics.model import Dynamics, History
from roadcast.flow.path import add_noise, step_towards, to_x
from roadcast.flow.timesteps import sampling_levels


@dataclass
class RolloutState:
    """B imagined worlds between two frames. Its size never changes, however long they run."""

    history: History
    actions_BFA: Tensor
    known_BFA: Tensor
    noise: list[torch.Generator]

    def clone(self) -> "RolloutState":
        """A snapshot, or a branch: both go on independently and draw the same noise."""
        noise = []
        for generator in self.noise:
            twin = torch.Generator(generator.device)
            twin.set_state(generator.get_state())
            noise.append(twin)
        return RolloutState(self.history.clone(), self.actions_BFA.clone(), self.known_BFA.clone(), noise)


class Rollout:
    """Autoregressive sampling, T frames at a time: noise, K network passes down to clean, one pass to remember.

    Every row has its own noise generator, on the CPU, so that a world depends on its seed and not on its neighbours.
    """

    def __init__(self, dynamics: Dynamics, flow: FlowConfig, time_stride: int = 1, steps: int | None = None):
        self.dynamics, self.flow, self.time_stride = dynamics, flow, time_stride
        self.levels = sampling_levels(flow.steps if steps is None else steps)
        self.window = dynamics.config.action_window

    def start(self, z_BTHWC: Tensor, actions_BFA: Tensor, known_BFA: Tensor, seeds: list[int]) -> RolloutState:
        """Worlds that have lived through the context latents [B, T, H, W, C] and their commands [B, F, A], F = T * time_stride."""
        batch, _, height, width, _ = z_BTHWC.shape
        history = self.dynamics.empty_history(batch, height, width, z_BTHWC.dtype)
        before_A, before_K = pad_history(actions_BFA[:, :0], known_BFA[:, :0], self.window)
        noise = [torch.Generator().manual_seed(seed) for seed in seeds]
        state = RolloutState(history, before_A, before_K, noise)
        self._remember(state, z_BTHWC, self._commands(state, actions_BFA, known_BFA))
        return state

    def step(self, state: RolloutState, actions_BFA: Tensor, known_BFA: Tensor) -> Tensor:
        """The next T = F / time_stride latent frames [B, T, H, W, C] under F commands; `state` moves on past them."""
        commands = self._commands(state, actions_BFA, known_BFA)
        x_t = self._noise(state, commands.shape[1])
        for t, t_next in pairwise(self.levels):
            t_BT = x_t.new_full(x_t.shape[:2], t)
            output = self.dynamics(x_t, t_BT, commands, state.history)
            x_t = step_towards(to_x(output, x_t, t_BT, self.flow.prediction), x_t, t, t_next)
        self._remember(state, x_t, commands)
        return x_t

    def _remember(self, state: RolloutState, z_BTHWC: Tensor, commands: Tensor) -> None:
        """Write finished frames to the history, at the small noise level that training taught the model to expect there."""
        t_BT = z_BTHWC.new_full(z_BTHWC.shape[:2], self.flow.context_noise)
        if self.flow.context_noise:
            z_BTHWC = add_noise(z_BTHWC, self._noise(state, z_BTHWC.shape[1]), t_BT)
        self.dynamics(z_BTHWC, t_BT, commands, state.history, write=True)

    def _commands(self, state: RolloutState, actions_BFA: Tensor, known_BFA: Tensor) -> Tensor:
        actions = torch.cat([state.actions_BFA, actions_BFA], dim=1)
        known = torch.cat([state.known_BFA, known_BFA], dim=1)
        keep = actions.shape[1] - self.window + 1
        state.actions_BFA, state.known_BFA = actions[:, keep:], known[:, keep:]
        return command_window(actions, known, self.window, self.time_stride)

    def _noise(self, state: RolloutState, frames: int) -> Tensor:
        like = state.history.newest_BHWC
        rows = [torch.randn(frames, *like.shape[1:], generator=generator) for generator in state.noise]
        return torch.stack(rows).to(like)
