"""Train the dynamics to find back: the past is partly what they imagined themselves, the future is the true one."""

import math
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from roadcast.data.clip import Clip
from roadcast.flow.path import add_noise, expand
from roadcast.objectives.base import Problem, register_objective
from roadcast.objectives.diffusion_forcing import DiffusionForcing


@register_objective("self_context")
class SelfContext(DiffusionForcing):
    """Diffusion forcing on clips of which a share has its later frames imagined by the world itself, while the true ones stay the answer.

    A frame that has drifted is so to be seen as what it should have been, and the frame after it is to follow the truth: scheduled
    sampling (Bengio et al. 2015, section 2.4) with the real rollout in place of single draws. The share of clips rises along half a
    cosine from `share_from` at the first step to `share_to` at the last. A batch is imagined from a random depth on, in `steps`
    passes a frame.
    """

    defaults: ClassVar[dict[str, float]] = DiffusionForcing.defaults | {
        "context": 4, "steps": 2, "share_from": 0.0, "share_to": 0.5,
    }  # fmt: skip
    progress = 0.0

    def at(self, step: int, steps: int) -> None:
        self.progress = step / max(1, steps - 1)

    @property
    def share(self) -> float:
        """`from + (to - from) (1 - cos(pi p)) / 2` at progress p in [0, 1]."""
        low, high = self.options["share_from"], self.options["share_to"]
        return low + (high - low) * (1 - math.cos(math.pi * self.progress)) / 2

    def prepare(self, clip: Clip, generator: torch.Generator) -> Problem:
        problem = super().prepare(clip, generator)
        chosen_B = torch.rand(len(clip), generator=generator) < self.share
        if not chosen_B.any():
            return problem
        z = problem.z_BTHWC
        drifted = torch.where(expand(chosen_B[:, None].to(z.device), z), self.imagined(clip, z, generator), z)
        noise = torch.randn(z.shape, generator=generator).to(z)
        return replace(problem, x_BTHWC=add_noise(drifted, noise, problem.t_BT))

    @torch.no_grad()
    def imagined(self, clip: Clip, z_BTHWC: Tensor, generator: torch.Generator) -> Tensor:
        """The clip's latents, those after a random depth of `context` frames or more imagined."""
        first = int(torch.randint(int(self.options["context"]), z_BTHWC.shape[1], (), generator=generator))
        seeds = torch.randint(2**62, (len(clip),), generator=generator).tolist()
        rollout, given = self.world.rollout(int(self.options["steps"])), z_BTHWC[:, :first]
        return torch.cat([given, *rollout.unroll(given, clip.actions_BFA, clip.known_BFA, seeds)], dim=1)
