"""Train the dynamics to find back: the past is partly what they imagined themselves, the future is the true one."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.flow.path import add_noise, expand
from roadcast.flow.world import World
from roadcast.objectives.base import Options, Problem, Stored, Terms, register_objective
from roadcast.objectives.diffusion_forcing import DiffusionForcing
from roadcast.objectives.share import SCHEDULES, Share


@register_objective("self_context")
class SelfContext(DiffusionForcing):
    """Diffusion forcing on clips of which a share has its frames imagined by the world itself, while the true ones stay the answer.

        L = mean_f w(t_f) |f(x_t, t)_f - z_f|^2,   x_t = (1 - t) z' + t n,   z' imagined in a share s of the clips, else z' = z

    A frame that has drifted is so to be seen as what it should have been, and the frame after it is to follow the truth: scheduled
    sampling (Bengio et al. 2015, section 2.4) with the real rollout in place of single draws. This is the loss of recovery, from a
    drifted past back to the true continuation. A weight 1 + r of its own on drifted clips would be no second option: up to a
    factor it is the share `s (1 + r) / (1 + s r)`.

    `schedule` says how the share rises from `share_from` to `share_to` (objectives/share.py). The micro-batches of a step are
    imagined from one random depth of `context` frames or more on, in `steps` passes a frame. With `stored` = D nothing is imagined in
    training: the world has imagined every recording before the stage began, anew every D frames (training/rollouts.py), and a clip's
    past has drifted for up to D.

    On held-out clips the share is `share_to` throughout, so that losses compare, and `drift` stands beside them.
    """

    one_call = False
    defaults: ClassVar[dict[str, float]] = DiffusionForcing.defaults | {
        "context": 4, "steps": 2, "share_from": 0.0, "share_to": 0.5, "rise": 0.1, "tolerance": 1.05, "stored": 0,
    }  # fmt: skip
    choices: ClassVar[dict[str, tuple[str, ...]]] = {"schedule": SCHEDULES}

    def __init__(self, world: World, options: Options, losses: dict[str, float]):
        super().__init__(world, options, losses)
        self.context, self.steps = int(self.options["context"]), int(self.options["steps"])
        low, high, rise, tolerance = (self.options[x] for x in ("share_from", "share_to", "rise", "tolerance"))
        self.share = Share(self.words["schedule"], low, high, rise, tolerance)
        if self.options["stored"] and self.options["stored"] <= self.context:
            raise UserError(
                f"option stored = {self.options['stored']:g} leaves nothing to imagine after {self.context} true frames (option context); "
                "use more frames, or 0 to imagine in training"
            )

    @property
    def stored(self) -> Stored | None:
        depth = int(self.options["stored"])
        return Stored(depth, self.context, self.steps) if depth else None

    def at(self, step: int, steps: int) -> None:
        super().at(step, steps)
        self.share.at(step, steps)

    def prepare(self, clip: Clip, generator: torch.Generator) -> Problem:
        problem = super().prepare(clip, generator)
        share = self.share.value if torch.is_grad_enabled() else self.share.high
        chance = self.chance(generator)
        chosen_B = torch.rand(len(clip), generator=chance) < share
        if not chosen_B.any():
            return problem
        z, drifted = problem.z_BTHWC, clip.drifted_BTHWC
        if drifted is None:
            drifted = self.imagined(clip, z, chance, generator)
        drifted = torch.where(expand(chosen_B[:, None].to(z.device), z), drifted, z)
        noise = torch.randn(z.shape, generator=generator).to(z)
        return replace(problem, x_BTHWC=add_noise(drifted, noise, problem.t_BT))

    def judge(self, problem: Problem, answer_BTHWC: Tensor) -> tuple[Tensor, Terms]:
        loss, terms = super().judge(problem, answer_BTHWC)
        if torch.is_grad_enabled():
            return loss, terms | {"share": loss.new_tensor(self.share.value)}
        return loss, terms | {"drift": self.drift(problem.clip, problem.z_BTHWC)}

    def judged(self, values: Mapping[str, float]) -> None:
        if "val_drift" in values:
            self.share.judged(values["val_drift"])
        elif self.share.schedule == "drift":
            raise UserError(
                "option schedule = 'drift' goes by held-out clips, and no recording of split 'val' is as long as the stage's clips; "
                "ingest with one, or use cosine or linear"
            )

    def state(self) -> dict[str, float]:
        return self.share.state()

    def load_state(self, state: Mapping[str, float]) -> None:
        self.share.load_state(state)

    def imagined(self, clip: Clip, z_BTHWC: Tensor, chance: torch.Generator, generator: torch.Generator) -> Tensor:
        """The clip's latents, those after a depth of `context` frames or more, by `chance`, imagined."""
        self._check_length(z_BTHWC)
        first = int(torch.randint(self.context, z_BTHWC.shape[1], (), generator=chance))
        seeds = torch.randint(2**62, (len(clip),), generator=generator).tolist()
        return self._continued(clip, z_BTHWC[:, :first], seeds)

    def drift(self, clip: Clip, z_BTHWC: Tensor) -> Tensor:
        """`mean_f |z'_f - z_f|^2 / mean_f |z_c - z_f|^2` over the last quarter of a clip's frames f after its first c = `context`.

        z' is the world's own rollout from these c frames on, the same noise each time: how far it has drifted from the truth, in units
        of how far the truth has moved; 1 is what standing still gives. The growth `|z'_deep - z|^2 / |z'_first - z|^2` would not do:
        what errs alike at all depths, as an untrained world does, grows least.
        """
        self._check_length(z_BTHWC)
        made = self._continued(clip, z_BTHWC[:, : self.context], list(range(len(clip))))
        deep = slice(-max(1, (z_BTHWC.shape[1] - self.context) // 4), None)
        still = (z_BTHWC[:, self.context - 1, None] - z_BTHWC[:, deep]).square().mean()
        return (made - z_BTHWC)[:, deep].square().mean() / still.clamp_min(1e-9)

    @torch.no_grad()
    def _continued(self, clip: Clip, given_BTHWC: Tensor, seeds: list[int]) -> Tensor:
        future = self.world.rollout(self.steps).unroll(given_BTHWC, clip.actions_BFA, clip.known_BFA, seeds)
        return torch.cat([given_BTHWC, *future], dim=1)

    def _check_length(self, z_BTHWC: Tensor) -> None:
        if z_BTHWC.shape[1] <= self.context:
            raise UserError(
                f"clips of {z_BTHWC.shape[1]} latents leave nothing to imagine after {self.context} (option context); "
                "set the stage's clip_frames higher, or context lower"
            )
