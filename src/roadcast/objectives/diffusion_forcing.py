"""Train the dynamics by flow matching with a noise level of its own for every frame."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from roadcast.config import Config
from roadcast.data.clip import Clip
from roadcast.dynamics.conditioning import command_window, pad_history
from roadcast.flow.path import add_noise, expand, to_x
from roadcast.flow.timesteps import diffusion_forcing_levels, drop_context
from roadcast.objectives.base import OneCall, Problem, Terms, register_objective


@register_objective("diffusion_forcing")
class DiffusionForcing(OneCall):
    """`L = w(t) |x - x'|^2` with `w(t) = 1 - ramp t`, and the same for the difference of neighbouring frames.

    Chen et al. 2024 (Diffusion Forcing, eq. 3.1 and algorithm 1); the ramp weight and the loss in x-space: Hafner et
    al. 2025 (Dreamer 4, section 3.2), who take ramp = 0.9. A smaller ramp learns more from frames that are nearly noise,
    which is where a sampler of few steps begins. A share `context_dropout` of the frames before a clip's last is at level 1, whatever
    `levels` has for them.
    """

    reads = makes = "latents"
    defaults: ClassVar[dict[str, float]] = {
        "difference": 0.2,
        "clean_share": 0.5,
        "clean_level": 0.1,
        "ramp": 0.9,
        "context_dropout": 0.0,
    }

    @property
    def trained(self) -> nn.Module:
        return self.world.dynamics

    def levels(self, batch: int, frames: int, generator: torch.Generator) -> Tensor:
        """Noise levels t [batch, frames]."""
        options = self.options
        return diffusion_forcing_levels(batch, frames, generator, options["clean_share"], options["clean_level"])

    def weight(self, t_BT: Tensor) -> Tensor:
        """`w(t)`: frames closer to clean carry more signal."""
        return 1 - self.options["ramp"] * t_BT

    def prepare(self, clip: Clip, generator: torch.Generator) -> Problem:
        world, config = self.world, self.world.config
        z = latents_of(clip, world.tokenizer)
        known = clip.known_BFA
        dropped_B = torch.rand(len(clip), generator=generator) < config.dynamics.action_dropout
        known = known & ~dropped_B.to(known.device)[:, None, None]
        commands = commands_of(clip, known, config)
        t = self.levels(*z.shape[:2], generator)
        if self.options["context_dropout"]:
            t = drop_context(t, self.options["context_dropout"], generator)
        t = t.to(z)
        x_t = add_noise(z, torch.randn(z.shape, generator=generator).to(z), t)
        return Problem(x_t, t, commands, z, clip)

    def judge(self, problem: Problem, answer_BTHWC: Tensor) -> tuple[Tensor, Terms]:
        z, t = problem.z_BTHWC, problem.t_BT
        made = to_x(answer_BTHWC, problem.x_BTHWC, t, self.world.config.flow.prediction)
        w = expand(self.weight(t), z)
        terms = {
            "x": (w * (made - z).square()).mean(),
            "difference": (w[:, 1:] * (made.diff(dim=1) - z.diff(dim=1)).square()).mean(),
        }
        loss = terms["x"] + self.options["difference"] * terms["difference"]
        return self.losses.add_to(loss, terms, made, z, problem.clip), terms


def commands_of(clip: Clip, known_BFA: Tensor, config: Config) -> Tensor:
    """The windows of commands that the dynamics are told with each latent of a clip, nothing being known before its first frame."""
    window = config.dynamics.action_window
    return command_window(*pad_history(clip.actions_BFA, known_BFA, window), window, config.tokenizer.time_stride)


def clean_frames(
    network: nn.Module, x_t: Tensor, t_BT: Tensor, commands_BTA: Tensor, config: Config, d_BT: Tensor | None = None
) -> Tensor:
    """The clean latents that a network sees in `x_t`, before steps of length `d_BT` where it is one that is told."""
    return to_x(network(x_t, t_BT, commands_BTA, d_BT=d_BT), x_t, t_BT, config.flow.prediction)


def latents_of(clip: Clip, tokenizer: nn.Module) -> Tensor:
    """The clip's latents: read from the cache, or encoded now without gradients."""
    if clip.z_BTHWC is not None:
        return clip.z_BTHWC
    with torch.no_grad():
        return tokenizer.encode(clip.frames_BFHWC)
