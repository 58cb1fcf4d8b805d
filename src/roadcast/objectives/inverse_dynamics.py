"""Train a judge: the network that reads controls back from frames."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.objectives.base import Objective, Terms, register_objective
from roadcast.perception.inverse import InverseDynamics


@register_objective("inverse_dynamics")
class InverseDynamicsObjective(Objective):
    """`L = mean huber_delta(a' - a)` over the controls that are known, each over its typical size (Huber 1964).

    The log has, for every control, the mean absolute error in its unit and the correlation over the batch.
    """

    reads = "frames"
    defaults: ClassVar[dict[str, float]] = {"delta": 0.5}

    def __init__(self, world: World, options: dict[str, float], losses: dict[str, float]):
        super().__init__(world, options, losses)
        if world.inverse is None:
            raise UserError(
                "objective 'inverse_dynamics' trains the network of the section [inverse], and there is none; set inverse.width = 16"
            )

    @property
    def trained(self) -> InverseDynamics:
        assert self.world.inverse is not None
        return self.world.inverse

    def loss(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor, Terms]:
        assert clip.frames_BFHWC is not None
        network, frames = self.trained, clip.frames_BFHWC.shape[1]
        told = network.told(frames)
        if told.start == told.stop:
            raise UserError(
                f"clips of {frames} frames are too short for inverse dynamics, which look at {network.past + network.ahead + 2}; "
                "make clip_frames larger"
            )
        known = clip.known_BFA[:, told].float()
        true, read = clip.actions_BFA[:, told] / network.scale_A, network(clip.frames_BFHWC)
        error = F.huber_loss(read, true, reduction="none", delta=self.options["delta"])
        loss = (known * error).sum() / known.sum().clamp_min(1)
        return loss, told_terms(read.detach() * network.scale_A, clip.actions_BFA[:, told], known, network.actions)


def told_terms(read_BKA: Tensor, true_BKA: Tensor, known_BKA: Tensor, actions: tuple[str, ...]) -> Terms:
    """By control, `error_NAME`: mean absolute error in its unit; `correlation_NAME`: Pearson's, 0 where one does not change."""
    count_A = known_BKA.sum(dim=(0, 1)).clamp_min(1)

    def mean(x_BKA: Tensor) -> Tensor:
        return (known_BKA * x_BKA).sum(dim=(0, 1)) / count_A

    read, true = read_BKA - mean(read_BKA), true_BKA - mean(true_BKA)
    spread = (mean(read * read) * mean(true * true)).sqrt()
    correlation = torch.where(spread > 1e-9, mean(read * true) / spread.clamp_min(1e-9), 0.0)
    error = mean((read_BKA - true_BKA).abs())
    return {f"error_{name}": error[a] for a, name in enumerate(actions)} | {
        f"correlation_{name}": correlation[a] for a, name in enumerate(actions)
    }
