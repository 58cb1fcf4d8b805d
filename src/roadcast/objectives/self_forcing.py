"""Train the dynamics on what they themselves make: the rollout that a driver will see, with gradients."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadcast.data.clip import Clip
from roadcast.flow.path import add_noise, expand
from roadcast.flow.world import World
from roadcast.nn.discriminator import NoisedDiscriminator, discriminator_hinge, generator_hinge
from roadcast.objectives.base import Objective, Terms, begun_alike, register_objective
from roadcast.objectives.diffusion_forcing import clean_frames, commands_of, latents_of


@register_objective("self_forcing")
class SelfForcing(Objective):
    """Distribution matching over self-made continuations of real clips (Huang et al. 2025, Self-Forcing; Yin et al. 2024, DMD).

    The first `context` frames of a clip are given, the student imagines the others by its own rollout in `steps` passes a frame,
    leaving those of a step at one random pass (algorithm 1) or, with `exit` "last", always at the last, which spares a student that
    begins well in so many passes (LOG.md). Gradients go through that pass alone; with `exit` "all" frames are left at the last and
    gradients go through all passes, so that the first, which decides what is where, is taught to lead back too: less drift, and further
    from the truth near the start. What it made, z, is then moved

        grad = (f_critic(x_t, t) - f_teacher(x_t, t)) / mean |z - f_teacher(x_t, t)|          DMD, eq. 7 and 8

    x_t being z at a random level and f the clean frames that a network sees in it: the teacher is the many-pass world that the run
    began with (config `start`; without one, that the stage began with), and knows what real continuations look like; the critic
    begins as the teacher and learns, by the flow-matching loss on z, what the student's look like. Of a long rollout the last `window`
    frames have gradients and are judged, with the `context` frames before them, so that memory does not grow with its length. The
    student moves in one of `critic_steps` steps, the critic in all, alone in the first `critic_first`.

    Where `teacher_learns`, the teacher is not frozen but goes on to learn true continuations as the critic learns made ones: by the same
    loss, at the same levels, for as many steps. A frozen teacher differs from the critic in what it never finished learning too, which
    moves a student that already makes what is real. In a share `recovery` of the clips the past that it sees is the student's own, and
    the truth goes on from there: 0 keeps the variety of the world that the teacher was, 1 leads back from drift (LOG.md, 2026-11-29).

    What moves the student, by weight:
    matching     of distributions, as above
    identity     score identity distillation instead (Zhou et al. 2024, SiD, with alpha = 1): with y = f_teacher(x_t, t) and
                 c = f_critic(x_t, t), `(y - c) (c - z) / mean |z - y|`, the gradient through both networks
    adversarial  a discriminator of noised latents that learns to tell z from the true continuation, for one pass a frame
                 (after Yin et al. 2024, DMD2, section 4.3)
    regression   `|z - z_true|^2` to the true continuation, which driving recordings have; much of it makes a still, soft picture (LOG.md)
    """

    reads = makes = "latents"
    defaults: ClassVar[dict[str, float]] = {
        "context": 4,
        "window": 8,
        "steps": 4,
        "matching": 1.0,
        "identity": 0.0,
        "adversarial": 0.0,
        "regression": 0.1,
        "regression_decay": 0.8,
        "shift": 3.0,
        "critic_steps": 2,
        "critic_first": 0,
        "teacher_learns": 0,
        "recovery": 1.0,
    }
    choices: ClassVar[dict[str, tuple[str, ...]]] = {"exit": ("random", "last", "all")}

    def __init__(self, world: World, options: dict[str, float], losses: dict[str, float]):
        super().__init__(world, options, losses)
        self.student = world.dynamics
        self.roles = nn.ModuleDict({"dynamics": self.student})
        if self.options["matching"] or self.options["identity"]:
            start = world.config.start
            began = World.load(Path(start), str(world.device)).dynamics if start else self.student.twin()
            self.roles["critic"] = began.twin()
            if self.options["teacher_learns"]:
                self.roles["teacher"] = began.twin()
            self.teacher = self.roles["teacher"] if "teacher" in self.roles else began.requires_grad_(False).eval()
        if self.options["adversarial"]:
            with begun_alike(world):
                self.roles["discriminator"] = NoisedDiscriminator(self.student.channels)
        self.rollout = world.rollout(int(self.options["steps"]))

    @property
    def rests(self) -> bool:
        return len(self.roles) > 1

    @property
    def trained(self) -> nn.Module:
        return self.roles if len(self.roles) > 1 else self.student

    @property
    def frozen(self) -> Sequence[nn.Module]:
        return (self.teacher,) if "critic" in self.roles and "teacher" not in self.roles else ()

    @property
    def moves(self) -> bool:
        """Whether it is the student's turn; a held-out loss is the same whosever turn it is."""
        first, every = int(self.options["critic_first"]), int(self.options["critic_steps"])
        turn = self.step >= first and (self.step - first) % every == 0
        return torch.is_grad_enabled() and (turn or len(self.roles) == 1)

    def loss(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor, Terms]:
        z_true, chance = latents_of(clip, self.world.tokenizer), self.chance(generator)
        context, window = int(self.options["context"]), int(self.options["window"])
        steps = int(self.options["steps"])
        chosen = int(torch.randint(steps, (), generator=chance))
        exit = {"random": chosen, "last": steps - 1, "all": None}[self.words["exit"]]
        frames = int(torch.randint(min(context + window, z_true.shape[1]), z_true.shape[1] + 1, (), generator=chance))
        z_true = z_true[:, :frames]
        with torch.set_grad_enabled(self.moves):
            z = self.imagine(clip, z_true, context, exit, generator)
        commands = commands_of(clip, clip.known_BFA, self.world.config)
        judged = slice(max(0, frames - context - window), frames)
        z, z_true, commands = z[:, judged], z_true[:, judged], commands[:, judged]
        depth = judged.start + torch.arange(z.shape[1] - context, device=z.device)
        near = self.options["regression_decay"] ** depth
        terms = {"regression": (expand(near[None], z) * (z - z_true)[:, context:].square()).mean()}
        loss = self.options["regression"] * terms["regression"]
        if self.moves:
            for name in ("matching", "identity", "adversarial"):
                if weight := self.options[name]:
                    terms[name] = getattr(self, name)(z, commands, context, generator)
                    loss = loss + weight * terms[name]
        learns = {"critic": z.detach()} if "critic" in self.roles else {}
        if "teacher" in self.roles:
            learns["teacher"] = self.truth(z.detach(), z_true, context, generator)
        for role, seen in learns.items():
            terms[role] = self.denoising(self.roles[role], seen, commands, context, generator)
            loss = loss + terms[role]
        if "discriminator" in self.roles:
            terms["discriminator"] = self.telling(z.detach(), z_true, context, generator)
            loss = loss + terms["discriminator"]
        return self.losses.add_to(loss, terms, z, z_true, clip), terms

    def finish(self, clips: Iterable[Clip]) -> None:
        """The world is from now on driven in as many passes a frame as it was trained for."""
        self.world.drive_in(int(self.options["steps"]))

    def imagine(self, clip: Clip, z_true: Tensor, context: int, exit: int | None, generator: torch.Generator) -> Tensor:
        """The clip's first `context` latents and the student's own after them, [B, T, H, W, C], each frame left at pass `exit` with
        gradients through it alone; None: left at the last, with gradients through all."""
        seeds = torch.randint(2**62, (len(clip),), generator=generator).tolist()
        made, learns = [z_true[:, :context]], z_true.shape[1] - int(self.options["window"])
        given = slice(0, z_true.shape[1] * self.world.config.tokenizer.time_stride)
        future = self.rollout.unroll(made[0], clip.actions_BFA[:, given], clip.known_BFA[:, given], seeds, exit)
        for f in range(context, z_true.shape[1]):
            with torch.set_grad_enabled(f >= learns and torch.is_grad_enabled()):
                made.append(next(future))
        return torch.cat(made, dim=1)

    def noised(self, z: Tensor, context: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The frames at one random level a clip, those of the context at the level that a rollout remembers frames at.

        `t = s u / (1 + (s - 1) u)`, u uniform (Esser et al. 2024, eq. 23): s = `shift` > 1 asks more of high levels, where what is far off
        shows; at low ones teacher and critic both see z, and their difference, divided by next to nothing, is noise.
        """
        u, shift = torch.rand(len(z), 1, generator=generator), self.options["shift"]
        t = (shift * u / (1 + (shift - 1) * u)).expand(-1, z.shape[1]).clone()
        t[:, :context] = self.world.config.flow.context_noise
        t = t.to(z)
        return add_noise(z, torch.randn(z.shape, generator=generator).to(z), t), t

    def matching(self, z: Tensor, commands: Tensor, context: int, generator: torch.Generator) -> Tensor:
        """`1/2 |z - (z - grad)|^2` with all but the first z held fixed: its gradient is `grad`."""
        with torch.no_grad():
            real, fake = self.views(z, commands, context, generator)
            target = z[:, context:] - (fake - real) / size(z[:, context:] - real)
        return 0.5 * F.mse_loss(z[:, context:], target)

    def identity(self, z: Tensor, commands: Tensor, context: int, generator: torch.Generator) -> Tensor:
        """`mean (y - c) (c - z) / mean |z - y|`, y and c being what teacher and critic see in z at a random level."""

        def score(z: Tensor) -> Tensor:
            real, fake = self.views(z, commands, context, generator)
            z = z[:, context:]
            return ((real - fake) * (fake - z) / size(z - real).detach()).mean()

        learning = [network for role, network in self.roles.items() if role in ("critic", "teacher")]
        return with_constant(learning, score, z)

    def adversarial(self, z: Tensor, commands: Tensor, context: int, generator: torch.Generator) -> Tensor:
        """The student's half of the hinge loss, the discriminator's weights being constants."""
        discriminator = self.roles["discriminator"]

        def score(z: Tensor) -> Tensor:
            return generator_hinge(discriminator(*self.noised(z, context, generator))[:, context:])

        return with_constant([discriminator], score, z)

    def telling(self, z: Tensor, z_true: Tensor, context: int, generator: torch.Generator) -> Tensor:
        """The discriminator's half: true and made frames, at levels of their own."""
        scores = [self.roles["discriminator"](*self.noised(x, context, generator))[:, context:] for x in (z_true, z)]
        return discriminator_hinge(*scores)

    def truth(self, z: Tensor, z_true: Tensor, context: int, generator: torch.Generator) -> Tensor:
        """The true continuations that a teacher learns, in a share `recovery` of the clips after what the student made of their past."""
        recovers = torch.rand(len(z), generator=generator).to(z) < self.options["recovery"]
        past = torch.where(expand(recovers[:, None], z), z[:, :context], z_true[:, :context])
        return torch.cat((past, z_true[:, context:]), dim=1)

    def views(self, z: Tensor, commands: Tensor, context: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The clean frames that teacher and critic see in z at a random level, after the context."""
        x_t, t = self.noised(z, context, generator)
        real, fake = (
            clean_frames(network, x_t, t, commands, self.world.config)[:, context:]
            for network in (self.teacher, self.roles["critic"])
        )
        return real, fake

    def denoising(
        self, network: nn.Module, z: Tensor, commands: Tensor, context: int, generator: torch.Generator
    ) -> Tensor:
        """`w(t) |f(x_t, t) - z|^2` over the frames after the context, `w(t) = 1 - 0.9 t`, by which critic and teacher learn."""
        x_t, t = self.noised(z, context, generator)
        error = (clean_frames(network, x_t, t, commands, self.world.config) - z).square()
        return (expand(1 - 0.9 * t, z) * error)[:, context:].mean()


def size(x: Tensor) -> Tensor:
    """`mean |x|` of each clip."""
    return x.abs().mean(dim=(1, 2, 3, 4), keepdim=True).clamp_min(1e-6)


def with_constant(networks: Sequence[nn.Module], score: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """`score(z)`, with the gradient of z, and none for the weights of trained networks that `score` calls.

    The gradient is taken at once, while the weights are constants: a block that is computed again for it (remat) finds them so.
    """
    for network in networks:
        network.requires_grad_(False)
    try:
        leaf = z.detach().requires_grad_()
        value = score(leaf)
        (slope,) = torch.autograd.grad(value, leaf)
    finally:
        for network in networks:
            network.requires_grad_(True)
    return value.detach() + (slope * (z - leaf.detach())).sum()
