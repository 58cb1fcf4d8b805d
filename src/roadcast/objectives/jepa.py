"""Pre-train the encoder of features by guessing, in feature space, what is hidden of a video."""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.objectives.base import Objective, Terms, begun_alike, register_objective
from roadcast.perception.collapse import deviations, effective_rank, spread
from roadcast.perception.encoder import VideoEncoder, pick
from roadcast.perception.masks import multi_block_cells
from roadcast.perception.predictor import Predictor


@register_objective("jepa")
class JEPA(Objective):
    """`L = mean | P(E(x_seen), hidden) - sg(norm(E'(x)))_hidden |`, the mean of a mask of many small blocks and one of few large ones.

    V-JEPA (Bardes et al. 2024, eq. 1; masks and layer-normed targets: sections 3.2 and 3.3). The target encoder E' is the
    moving average of E that the loop keeps of every stage, of decay `ema`, and which is what is shipped: so it is saved, resumed
    and moved once a step by what does so for all weights. The predictor P is of this stage alone.

    Terms besides: `short` and `long`, the loss under each mask; `constant`, the loss of guessing the batch's mean at every place,
    below which something of the very clip is guessed; `spread` and `rank` of the targets (perception/collapse.py).
    """

    reads = "frames"
    defaults: ClassVar[dict[str, float]] = {
        "short_blocks": 8,
        "short_scale": 0.15,
        "long_blocks": 2,
        "long_scale": 0.7,
        "predictor_width": 96,
        "predictor_depth": 3,
    }

    def __init__(self, world: World, options: dict[str, float], losses: dict[str, float]):
        super().__init__(world, options, losses)
        self.encoder = encoder_of(world, self.name)
        width, head_dim = int(self.options["predictor_width"]), self.encoder.config.width // self.encoder.config.heads
        if width % head_dim or width <= 0:
            raise UserError(
                f"option predictor_width = {width}; use a multiple of the encoder's head dimension {head_dim}"
            )
        with begun_alike(world):
            self.predictor = Predictor(self.encoder.config, width, int(self.options["predictor_depth"]))
        self.average: Mapping[str, Tensor] = {}

    @property
    def trained(self) -> nn.Module:
        return nn.ModuleDict({"features": self.encoder, "predictor": self.predictor})

    def follow(self, average: Mapping[str, Tensor]) -> None:
        self.average = {
            name.removeprefix("features."): value for name, value in average.items() if name.startswith("features.")
        }

    @torch.no_grad()
    def target(self, frames_BFHWC: Tensor) -> Tensor:
        """What the average of the encoder says of the whole clip, [B, T, S, D], each row of mean 0 and deviation 1."""
        features_BTSD = torch.func.functional_call(self.encoder, dict(self.average), (frames_BFHWC,))
        return F.layer_norm(features_BTSD.float(), features_BTSD.shape[-1:])

    def loss(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor, Terms]:
        frames, options = clip.frames_BFHWC, self.options
        assert frames is not None
        grid, target = self.encoder.grid(frames), self.target(frames)
        terms = {}
        for kind in ("short", "long"):
            blocks, scale = int(options[f"{kind}_blocks"]), options[f"{kind}_scale"]
            seen, hidden = (x.to(frames.device) for x in multi_block_cells(len(clip), grid, blocks, scale, generator))
            guess = self.predictor(self.encoder(frames, seen), seen, hidden, grid)
            terms[kind] = F.l1_loss(guess.float(), pick(target, hidden))
        loss = (terms["short"] + terms["long"]) / 2
        with torch.no_grad():
            terms |= {
                "constant": deviations(target).abs().mean(),
                "spread": spread(target),
                "rank": effective_rank(target),
            }
        return loss, terms


def encoder_of(world: World, objective: str) -> VideoEncoder:
    """The world's encoder of features; `UserError` where it is configured to have none."""
    if world.features is None:
        raise UserError(
            f"objective {objective!r} trains the encoder of features and features.depth = 0; set it, for example to 4"
        )
    return world.features
