"""A stage so small that the loop around it is all there is: a line is fitted to clips whose loss can be made to misbehave."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from roadcast.config import Config, StageConfig
from roadcast.data.augment import Augment
from roadcast.data.clip import Clip
from roadcast.objectives import Objective, register_objective
from roadcast.parallel.engine import Engine
from roadcast.parallel.mesh import Mesh
from roadcast.training.feed import Feed
from roadcast.training.metrics import Log
from roadcast.training.trainer import fit
from worlds import micro_config


@register_objective("line")
class Line(Objective):
    """`|w x - 3 x|^2` over the actions of the clips, times what `spoil` makes of the batch's number."""

    reads = "frames"

    def __init__(self, world, options, losses):
        super().__init__(world, options, losses)
        torch.manual_seed(0)
        self.model = nn.Linear(2, 2)

    @property
    def trained(self) -> nn.Module:
        return self.model

    def loss(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        x = clip.actions_BFA + 0.1 * torch.randn(clip.actions_BFA.shape, generator=generator)
        loss = (self.model(x) - 3 * x).square().mean()
        return loss * clip.pose_BF7.mean() if clip.pose_BF7 is not None else loss, {}


class Numbered:
    """Batches of four clips of two frames; how batch n is spoilt lies in a field that the objective multiplies its loss by."""

    def __init__(self, spoil: Callable[[int], float] = lambda number: 1.0):
        self.spoil = spoil
        self.read: list[int] = []

    def batches(self, first: int, last: int, workers: int):
        for number in range(first, last):
            self.read.append(number)
            actions = torch.randn(4, 2, 2, generator=torch.Generator().manual_seed(number))
            zeros = torch.zeros(4, dtype=torch.int64)
            yield Clip(
                frames_BFHWC=None, z_BTHWC=None, actions_BFA=actions, known_BFA=torch.ones_like(actions, dtype=torch.bool),
                t_ns_BF=torch.zeros(4, 2, dtype=torch.int64), video_B=zeros, first_B=zeros + number,
                pose_BF7=torch.full((4, 2, 7), self.spoil(number)),
            )  # fmt: skip


def run_stage(
    folder: Path,
    clips: Numbered,
    config: Config | None = None,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int, dict], None] = lambda *_: None,
    held_out: Callable[[Engine], dict[str, float]] = lambda engine: {},
    objective: Objective | None = None,
    **stage_settings,
) -> dict[str, Tensor]:
    """Fit the line in `folder`; the averaged weights."""
    config = config or micro_config()
    settings = dict(steps=40, batch=4, warmup=1, lr=0.01, ema=0.5, log_every=1, save_every=10, evaluate_every=10)
    stage = StageConfig("line", **(settings | stage_settings))
    mesh = Mesh(torch.device("cpu"))
    feed = Feed(clips, Augment({}, 0), stage, config.guard, mesh, seed=0, workers=0)
    weights = fit(
        objective or Line(None, {}, {}), stage, config, mesh, dtype, feed, folder,
        Log(folder, lambda: [], lambda text: None, speaks=True),
        validate=held_out, show=lambda *_: None, progress=progress,
    )  # fmt: skip
    assert weights is not None
    return weights
