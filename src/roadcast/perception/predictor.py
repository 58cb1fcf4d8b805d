"""What guesses the features of tubelets that were not seen from those that were."""

import torch
from einops import rearrange
from torch import Tensor, nn

from roadcast.config import FeaturesConfig
from roadcast.nn.norm import RMSNorm
from roadcast.perception.encoder import Block, place_tables


class Predictor(nn.Module):
    """A narrow transformer over seen features and, at every hidden place, one learnt token (Bardes et al. 2024, section 3.2).

    width  a multiple of the encoder's head dimension, so that positions turn its heads as they turn the encoder's
    """

    def __init__(self, config: FeaturesConfig, width: int, depth: int):
        super().__init__()
        self.head_dim = config.width // config.heads
        heads = width // self.head_dim
        self.inlet = nn.Linear(config.width, width)
        self.hidden = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, config.mlp_ratio) for _ in range(depth))
        self.norm = RMSNorm(width)
        self.outlet = nn.Linear(width, config.width)

    def forward(self, seen_BTSD: Tensor, seen_BS: Tensor, hidden_BS: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Features [B, T, S', D] guessed at the cells `hidden_BS` from those at `seen_BS`."""
        batch, time = seen_BTSD.shape[:2]
        known = self.inlet(seen_BTSD)
        unknown = self.hidden.to(known.dtype).expand(batch, time, hidden_BS.shape[1], -1)
        places = place_tables(grid, torch.cat([seen_BS, hidden_BS], dim=1), self.head_dim)
        x_BLD = rearrange(torch.cat([known, unknown], dim=2), "b t s d -> b (t s) d")
        for block in self.blocks:
            x_BLD = block(x_BLD, places)
        x_BTSD = rearrange(x_BLD, "b (t s) d -> b t s d", t=time)
        return self.outlet(self.norm(x_BTSD[:, :, seen_BS.shape[1] :]))
