"""Train the dynamics on what they themselves make: the rollout that a driver will see, with gradients."""

import copy
from collections.abc import Iterable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadcast.data.clip import Clip
from roadcast.flow.path import add_noise, expand
from roadcast.flow.world import World
from roadcast.objectives.base import Objective, Terms, register_objective
from roadcast.objectives.diffusion_forcing import clean_frames, commands_of, latents_of


@register_objective("self_forcing")
class SelfForcing(Objective):
    """Distribution matching over self-made continuations of real clips (Huang et al. 2025, Self-Forcing; Yin et al. 2024, DMD).

    The first `context` frames of a clip are given, the student imagines the others by its own rollout in `steps` passes a frame,
    leaving each rollout at a random pass (algorithm 1). What it made, z, is then moved

        grad = (f_critic(x_t, t) - f_teacher(x_t, t)) / mean |z - f_teacher(x_t, t)|          DMD, eq. 7 and 8

    x_t being z at a random level and f the clean frames that a network sees in it: the teacher is the world that the stage began
    with, frozen, and knows what real continuations look like; the critic learns, by the flow-matching loss on z, what the student's
    look like. Of a long rollout the last `window` frames have gradients and are judged, with the `context` frames before them, so
    that memory does not grow with its length. The student moves in one of `critic_steps` steps, the critic in all. `regression` ties
    z to the true continuation, which driving recordings have: `|z - z_true|^2`; much of it makes a still, soft picture (LOG.md).
    """

    reads = makes = "latents"
    defaults: ClassVar[dict[str, float]] = {
        "context": 4,
        "window": 8,
        "steps": 4,
        "matching": 1.0,
        "regression": 0.02,
        "critic_steps": 2,
    }

    def __init__(self, world: World, options: dict[str, float], losses: dict[str, float]):
        super().__init__(world, options, losses)
        self.step = 0
        self.student = world.dynamics
        if self.options["matching"]:
            self.teacher = copy.deepcopy(self.student).requires_grad_(False).eval()
            self.critic = copy.deepcopy(self.student)
        self.rollout = world.rollout(int(self.options["steps"]))

    @property
    def rests(self) -> bool:
        return bool(self.options["matching"])

    @property
    def trained(self) -> nn.Module:
        if not self.options["matching"]:
            return self.student
        return nn.ModuleDict({"dynamics": self.student, "critic": self.critic})

    def at(self, step: int, steps: int) -> None:
        self.step = step

    def loss(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor, Terms]:
        z_true, context = latents_of(clip, self.world.tokenizer), int(self.options["context"])
        turn = self.step % int(self.options["critic_steps"]) == 0 or not self.options["matching"]
        moves = turn and torch.is_grad_enabled()  # a held-out loss is the same whosever turn it is
        with torch.set_grad_enabled(moves):
            z = self.imagine(clip, z_true, context, generator)
        commands = commands_of(clip, clip.known_BFA, self.world.config)
        judged = slice(-min(z.shape[1], context + int(self.options["window"])), None)
        z, z_true, commands = z[:, judged], z_true[:, judged], commands[:, judged]
        terms = {"regression": (z - z_true)[:, context:].square().mean()}
        loss = self.options["regression"] * terms["regression"]
        if self.options["matching"]:
            if moves:
                terms["matching"] = self.matching(z, commands, context, generator)
                loss = loss + self.options["matching"] * terms["matching"]
            terms["critic"] = self.denoising(self.critic, z.detach(), commands, context, generator)
            loss = loss + terms["critic"]
        return self.losses.add_to(loss, terms, z, z_true, clip), terms

    def finish(self, clips: Iterable[Clip]) -> None:
        """The world is from now on driven in as many passes a frame as it was trained for."""
        self.world.config.flow.steps = int(self.options["steps"])

    def imagine(self, clip: Clip, z_true: Tensor, context: int, generator: torch.Generator) -> Tensor:
        """The clip's first `context` latents and the student's own after them, [B, T, H, W, C]."""
        seeds = torch.randint(2**62, (len(clip),), generator=generator).tolist()
        exit = int(torch.randint(int(self.options["steps"]), (), generator=generator))
        made, learns = [z_true[:, :context]], z_true.shape[1] - int(self.options["window"])
        future = self.rollout.unroll(made[0], clip.actions_BFA, clip.known_BFA, seeds, exit)
        for f in range(context, z_true.shape[1]):
            with torch.set_grad_enabled(f >= learns and torch.is_grad_enabled()):
                made.append(next(future))
        return torch.cat(made, dim=1)

    def noised(self, z: Tensor, context: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The frames at one random level a clip, those of the context at the level that a rollout remembers frames at."""
        t = torch.rand(len(z), 1, generator=generator).expand(-1, z.shape[1]).clone()
        t[:, :context] = self.world.config.flow.context_noise
        t = t.to(z)
        return add_noise(z, torch.randn(z.shape, generator=generator).to(z), t), t

    def matching(self, z: Tensor, commands: Tensor, context: int, generator: torch.Generator) -> Tensor:
        """`1/2 |z - (z - grad)|^2` with all but the first z held fixed: its gradient is `grad`."""
        with torch.no_grad():
            x_t, t = self.noised(z, context, generator)
            real, fake = (
                clean_frames(network, x_t, t, commands, self.world.config) for network in (self.teacher, self.critic)
            )
            made = slice(context, None)
            size = (z - real)[:, made].abs().mean(dim=(1, 2, 3, 4), keepdim=True).clamp_min(1e-6)
            target = z[:, made] - (fake - real)[:, made] / size
        return 0.5 * F.mse_loss(z[:, made], target)

    def denoising(
        self, network: nn.Module, z: Tensor, commands: Tensor, context: int, generator: torch.Generator
    ) -> Tensor:
        """`w(t) |f(x_t, t) - z|^2` over the frames after the context, `w(t) = 1 - 0.9 t`."""
        x_t, t = self.noised(z, context, generator)
        error = (clean_frames(network, x_t, t, commands, self.world.config) - z).square()
        return (expand(1 - 0.9 * t, z) * error)[:, context:].mean()
