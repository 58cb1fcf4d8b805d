"""Pre-train the encoder of features by telling what belongs to the same moment from what does not."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import einsum
from torch import Tensor, nn

from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.objectives.base import Objective, Terms, begun_alike, register_objective
from roadcast.objectives.jepa import encoder_of
from roadcast.perception.collapse import effective_rank, spread


def info_nce(a_BD: Tensor, b_BD: Tensor, temperature: float) -> Tensor:
    """`-mean_i log (f(a_i, b_i) / sum_j f(a_i, b_j))`, `f(a, b) = exp(cos(a, b) / temperature)`, and the same from b to a.

    van den Oord et al. 2018, eq. 4; cosines with a temperature, both ways: Chen et al. 2020 (SimCLR), eq. 1.
    """
    a_BD, b_BD = F.normalize(a_BD.float(), dim=-1), F.normalize(b_BD.float(), dim=-1)
    scores_BB = einsum(a_BD, b_BD, "i d, j d -> i j") / temperature
    right_B = torch.arange(len(a_BD), device=a_BD.device)
    return (F.cross_entropy(scores_BB, right_B) + F.cross_entropy(scores_BB.T, right_B)) / 2


@register_objective("contrastive")
class Contrastive(Objective):
    """`info_nce` of a clip's first half and its second, each seen through a random part of its cells, against the batch's others.

    The two halves are what a moment and what follows it look like (van den Oord et al. 2018); the part of cells is the
    augmentation. A small head, of this stage alone, stands between features and loss (Chen et al. 2020, section 4.2).
    """

    reads = "frames"
    defaults: ClassVar[dict[str, float]] = {"temperature": 0.1, "seen": 0.5, "head_width": 128}

    def __init__(self, world: World, options: dict[str, float], losses: dict[str, float]):
        super().__init__(world, options, losses)
        if not 0 < self.options["seen"] <= 1:
            raise UserError(f"option seen = {self.options['seen']}; use a part of the cells above 0, at most 1")
        self.encoder, inner = encoder_of(world, self.name), int(self.options["head_width"])
        with begun_alike(world):
            width = self.encoder.config.width
            self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, inner))

    @property
    def trained(self) -> nn.Module:
        return nn.ModuleDict({"features": self.encoder, "head": self.head})

    def loss(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor, Terms]:
        assert clip.frames_BFHWC is not None
        half = clip.frames_BFHWC.shape[1] // 2
        views = [clip.frames_BFHWC[:, :half], clip.frames_BFHWC[:, half : 2 * half]]
        features = [self.encoder(view, self.cells(view, generator)) for view in views]
        first, second = (self.head(x.mean(dim=(1, 2))) for x in features)
        loss = info_nce(first, second, self.options["temperature"])
        with torch.no_grad():
            moments_B11D = features[0].float().mean(dim=(1, 2), keepdim=True)
            terms = {"spread": spread(moments_B11D), "rank": effective_rank(moments_B11D)}
        return loss, terms

    def cells(self, view_BFHWC: Tensor, generator: torch.Generator) -> Tensor:
        """The cells [B, S] that each clip is seen through."""
        _, rows, columns = self.encoder.grid(view_BFHWC)
        order_BS = torch.rand(len(view_BFHWC), rows * columns, generator=generator).argsort(dim=1)
        return order_BS[:, : max(1, round(self.options["seen"] * rows * columns))].to(view_BFHWC.device)
