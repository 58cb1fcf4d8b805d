"""The rollout: the one place where a world is imagined. Training, evaluation and the driver's seat all run this code."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from roadcast.config import FlowConfig
from roadcast.dynamics.conditioning import command_window, pad_history
from roadcast.dynamics.model import Dynamics, History
from roadcast.flow.path import add_noise, step_towards, to_x
from roadcast.flow.timesteps import sampling_levels


@dataclass
class Past:
    """What a rollout remembers: the history, and the frames made last, which the next pass writes to it.

    finished_BTHWC  those frames at noise level `flow.context_noise`, and `commands_BTA` the commands they were made under
    """

    history: History
    finished_BTHWC: Tensor
    commands_BTA: Tensor


torch.export.register_dataclass(Past, serialized_type_name="roadcast.Past")


@dataclass
class RolloutState:
    """B imagined worlds between two frames. Its size never changes, however long they run."""

    past: Past
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
        past = pytree.tree_map_only(Tensor, torch.clone, self.past)
        return RolloutState(past, self.actions_BFA.clone(), self.known_BFA.clone(), noise)


@dataclass
class Draft:
    """All that decides the next frames besides the past: their commands, the noise they are made of, and that which they will bear."""

    commands_BTA: Tensor
    noise_BTHWC: Tensor
    context_noise_BTHWC: Tensor


torch.export.register_dataclass(Draft, serialized_type_name="roadcast.Draft")


class Sampler(nn.Module):
    """K network passes from noise down to clean latents; a pure function of tensors but for the past, which moves on in place.

    The first pass also writes the frames made last to the history, so that a frame costs K passes and not K + 1.
    """

    def __init__(self, dynamics: Dynamics, flow: FlowConfig, steps: int):
        super().__init__()
        self.dynamics, self.prediction = dynamics, flow.prediction
        self.levels, self.context_noise = sampling_levels(steps), flow.context_noise

    def forward(self, past: Past, draft: Draft) -> Tensor:
        """The latent frames [B, T, H, W, C] that follow `past` under the commands of `draft`."""
        x_t = draft.noise_BTHWC
        for number, (t, t_next) in enumerate(pairwise(self.levels)):
            x_t = step_towards(self.clean(number, x_t, past, draft), x_t, t, t_next)
        return x_t

    def leave_at(self, exit: int, past: Past, draft: Draft) -> Tensor:
        """What pass number `exit` takes the frames to be, and no pass after it; the passes before it are without gradients.

        Of one frame in training (Huang et al. 2025, Self-Forcing, algorithm 1). The last pass leaves with what `forward` makes.
        """
        x_t = draft.noise_BTHWC
        with torch.no_grad():
            for number, (t, t_next) in enumerate(pairwise(self.levels[: exit + 1])):
                x_t = step_towards(self.clean(number, x_t, past, draft), x_t, t, t_next)
        return self.clean(exit, x_t, past, draft)

    def clean(self, number: int, x_t: Tensor, past: Past, draft: Draft) -> Tensor:
        """One network pass, number 0 the first: the clean frames it sees in `x_t`, which is at that pass's level."""
        commands, finished = draft.commands_BTA, past.finished_BTHWC
        t_BT, d_BT = x_t.new_full(x_t.shape[:2], self.levels[number]), None
        if self.dynamics.config.step_embedding:
            d_BT = x_t.new_full(x_t.shape[:2], self.levels[number] - self.levels[number + 1])
        if number == 0:
            rest_BT = finished.new_zeros(finished.shape[:2])  # a finished frame steps nowhere
            output = self.dynamics(
                torch.cat([finished, x_t], dim=1),
                torch.cat([rest_BT + self.context_noise, t_BT], dim=1),
                torch.cat([past.commands_BTA, commands], dim=1),
                past.history,
                finished.shape[1],
                None if d_BT is None else torch.cat([rest_BT, d_BT], dim=1),
            )
        else:
            output = self.dynamics(x_t, t_BT, commands, past.history, d_BT=d_BT)
        return to_x(output, x_t, t_BT, self.prediction)

    def finish(self, z_BTHWC: Tensor, noise_BTHWC: Tensor) -> Tensor:
        """Finished frames as the history takes them in: at the small noise level that training taught the model to expect there."""
        return add_noise(z_BTHWC, noise_BTHWC, z_BTHWC.new_full(z_BTHWC.shape[:2], self.context_noise))


class Rollout:
    """Autoregressive sampling, T frames at a time.

    Every row has its own noise generator, on the CPU, so that a world depends on its seed and not on its neighbours.
    """

    def __init__(self, dynamics: Dynamics, flow: FlowConfig, time_stride: int = 1, steps: int | None = None):
        self.dynamics, self.flow, self.time_stride = dynamics, flow, time_stride
        self.sample = Sampler(dynamics, flow, flow.steps if steps is None else steps)
        self.window = dynamics.config.action_window

    def start(
        self,
        z_BTHWC: Tensor,
        actions_BFA: Tensor,
        known_BFA: Tensor,
        seeds: list[int],
        cache_dtype: torch.dtype | None = None,
    ) -> RolloutState:
        """Worlds that have lived through the context latents [B, T, H, W, C] and their commands [B, F, A], F = T * time_stride.

        seeds        one a row
        cache_dtype  how keys and values are kept: float32, bfloat16, float16, int8; None: as the weights are

        A context of any length is taken in by pieces of the model's window, in bounded memory.
        """
        batch, frames, height, width, _ = z_BTHWC.shape
        history = self.dynamics.empty_history(batch, height, width, cache_dtype)
        before_A, before_K = pad_history(actions_BFA[:, :0], known_BFA[:, :0], self.window)
        noise = [torch.Generator().manual_seed(seed) for seed in seeds]
        state = RolloutState(Past(history, z_BTHWC[:, -1:], z_BTHWC.new_zeros(0)), before_A, before_K, noise)
        commands = self._commands(state, actions_BFA, known_BFA)
        z_BTHWC = self.sample.finish(z_BTHWC, self._context_noise(state, frames))
        piece = self.dynamics.config.context_frames - 1
        for first in range(0, frames - 1, piece):
            now = slice(first, min(first + piece, frames - 1))
            t_BT = z_BTHWC.new_full(z_BTHWC[:, now].shape[:2], self.flow.context_noise)
            self.dynamics(z_BTHWC[:, now], t_BT, commands[:, now], history, t_BT.shape[1])
        dense = torch.contiguous_format  # as every later frame's, and without the context's memory behind it
        state.past.finished_BTHWC = z_BTHWC[:, -1:].clone(memory_format=dense)
        state.past.commands_BTA = commands[:, -1:].clone(memory_format=dense)
        return state

    def step(self, state: RolloutState, actions_BFA: Tensor, known_BFA: Tensor, exit: int | None = None) -> Tensor:
        """The next T = F / time_stride latent frames [B, T, H, W, C] under F commands; `state` moves on past them.

        exit  the pass to leave at, with gradients through it alone (`Sampler.leave_at`); None: all passes are made
        """
        draft = self.draft(state, actions_BFA, known_BFA)
        z_BTHWC = self.sample(state.past, draft) if exit is None else self.sample.leave_at(exit, state.past, draft)
        state.past.finished_BTHWC = self.sample.finish(z_BTHWC.detach(), draft.context_noise_BTHWC)
        state.past.commands_BTA = draft.commands_BTA
        return z_BTHWC

    def unroll(
        self, z_BTHWC: Tensor, actions_BFA: Tensor, known_BFA: Tensor, seeds: list[int], exit: int | None = None
    ) -> Iterator[Tensor]:
        """The latents that follow the context `z_BTHWC` under commands that reach on past it, T = 1 after T = 1.

        Gradients are those of `step`, where they are enabled when the next latent is asked for; the context has none.
        """
        given, frames = z_BTHWC.shape[1] * self.time_stride, actions_BFA.shape[1]
        with torch.no_grad():
            state = self.start(z_BTHWC, actions_BFA[:, :given], known_BFA[:, :given], seeds)
        for f in range(given, frames, self.time_stride):
            now = slice(f, f + self.time_stride)
            yield self.step(state, actions_BFA[:, now], known_BFA[:, now], exit)

    def draft(self, state: RolloutState, actions_BFA: Tensor, known_BFA: Tensor) -> Draft:
        """What the next frames are made from; the state's commands and generators move on."""
        commands = self._commands(state, actions_BFA, known_BFA)
        frames = commands.shape[1]
        return Draft(commands, self._noise(state, frames), self._context_noise(state, frames))

    def _commands(self, state: RolloutState, actions_BFA: Tensor, known_BFA: Tensor) -> Tensor:
        actions = torch.cat([state.actions_BFA, actions_BFA], dim=1)
        known = torch.cat([state.known_BFA, known_BFA], dim=1)
        keep = actions.shape[1] - self.window + 1
        state.actions_BFA, state.known_BFA = actions[:, keep:], known[:, keep:]
        return command_window(actions, known, self.window, self.time_stride)

    def _noise(self, state: RolloutState, frames: int) -> Tensor:
        like = state.past.history.newest_BHWC
        rows = [torch.randn(frames, *like.shape[1:], generator=generator) for generator in state.noise]
        return torch.stack(rows).to(like)

    def _context_noise(self, state: RolloutState, frames: int) -> Tensor:
        if self.flow.context_noise:
            return self._noise(state, frames)
        like = state.past.history.newest_BHWC
        return like.new_zeros(len(like), frames, *like.shape[1:])
