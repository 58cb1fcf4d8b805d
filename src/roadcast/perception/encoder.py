"""An encoder of video: a transformer over tubelets, small blocks of pixels a few frames deep, all of which see each other."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from roadcast.config import FeaturesConfig
from roadcast.errors import UserError
from roadcast.nn.attend import attend
from roadcast.nn.attention import Projections
from roadcast.nn.feed_forward import SwiGLU
from roadcast.nn.norm import RMSNorm
from roadcast.nn.rope import Tables, rope_tables, rotate


class Block(nn.Module):
    """`x + attention(norm(x))`, then `x + feed_forward(norm(x))` (Xiong et al. 2020, pre-norm); every token sees every token."""

    def __init__(self, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.attention_norm, self.feed_forward_norm = RMSNorm(width), RMSNorm(width)
        self.attention = Projections(width, heads, heads)
        self.feed_forward = SwiGLU(width, mlp_ratio)

    def forward(self, x_BLD: Tensor, places: Tables) -> Tensor:
        """`places` holds the rotary tables [B or 1, 1, L, K / 2] of the tokens; shape is kept."""
        heads = self.attention.split(self.attention_norm(x_BLD))
        q, k, v = (rearrange(y, "b l n k -> b n l k") for y in heads)
        y = attend(rotate(q, places), rotate(k, places), v)
        x_BLD = x_BLD + self.attention.out(rearrange(y, "b n l k -> b l (n k)"))
        return x_BLD + self.feed_forward(self.feed_forward_norm(x_BLD))


class VideoEncoder(nn.Module):
    """Frames to features, a row for every tubelet of `tubelet` frames and `patch` x `patch` pixels.

    After ViViT (Arnab et al. 2021, section 3.2: tubelet embedding, joint attention over space and time) with rotary positions on
    three axes, as in V-JEPA 2 (Assran et al. 2025, section 2.1).
    """

    def __init__(self, config: FeaturesConfig):
        super().__init__()
        self.config, width = config, config.width
        self.inlet = nn.Linear(config.tubelet * config.patch**2 * 3, width)
        self.blocks = nn.ModuleList(Block(width, config.heads, config.mlp_ratio) for _ in range(config.depth))
        self.norm = RMSNorm(width)

    def forward(self, frames_BFHWC: Tensor, cells_BS: Tensor | None = None) -> Tensor:
        """Features [B, T, S, D] of T tubelets along time at the cells of the grid, row by row, or at `cells_BS` alone.

        frames_BFHWC  uint8, or floats in [-1, 1]
        cells_BS      the cells, int64, that each clip is seen through at all times; no pixel of another one is read
        Raises `UserError` for frames that tubelets do not fill.
        """
        x_BTSC = self.tubelets(frames_BFHWC)
        grid = self.grid(frames_BFHWC)
        if cells_BS is None:
            cells_BS = torch.arange(grid[1] * grid[2], device=x_BTSC.device)[None]
        else:
            x_BTSC = pick(x_BTSC, cells_BS)
        places = place_tables(grid, cells_BS, self.config.width // self.config.heads)
        x_BLD = rearrange(self.inlet(x_BTSC), "b t s d -> b (t s) d")
        for block in self.blocks:
            x_BLD = block(x_BLD, places)
        return rearrange(self.norm(x_BLD), "b (t s) d -> b t s d", t=grid[0])

    def grid(self, frames_BFHWC: Tensor) -> tuple[int, int, int]:
        """Tubelets along time, height and width; `UserError` where they do not come out even."""
        frames, height, width = frames_BFHWC.shape[1:4]
        tubelet, patch = self.config.tubelet, self.config.patch
        if frames % tubelet or height % patch or width % patch:
            raise UserError(
                f"{frames} frames of {height}x{width} pixels do not fill tubelets of {tubelet} frames and {patch}x{patch} pixels "
                "(features.tubelet, features.patch); use multiples of both"
            )
        return frames // tubelet, height // patch, width // patch

    def tubelets(self, frames_BFHWC: Tensor) -> Tensor:
        """The pixels of each tubelet in a row, [B, T, S, tubelet * patch * patch * 3] in [-1, 1]."""
        time, rows, columns = self.grid(frames_BFHWC)
        if frames_BFHWC.dtype == torch.uint8:
            frames_BFHWC = frames_BFHWC.float() / 127.5 - 1
        return rearrange(
            frames_BFHWC, "b (t f) (h y) (w x) c -> b t (h w) (f y x c)", t=time, h=rows, w=columns
        )  # fmt: skip


def pick(x_BTSD: Tensor, cells_BS: Tensor) -> Tensor:
    """The rows of `x_BTSD` at some of its cells, the same at all times: [B, T, S', D]."""
    return x_BTSD.take_along_dim(cells_BS[:, None, :, None], dim=2)


def place_tables(grid: tuple[int, int, int], cells_BS: Tensor, head_dim: int) -> Tables:
    """Rotary tables [B, 1, T * S, K / 2] of the tubelets at `cells_BS` at all times, on axes t, h, w."""
    time, _, columns = grid
    t_T = torch.arange(time, device=cells_BS.device)
    places = torch.broadcast_tensors(t_T[:, None], (cells_BS // columns)[:, None], (cells_BS % columns)[:, None])
    positions_BL3 = rearrange(torch.stack(places, dim=-1), "b t s n -> b (t s) n")
    cos, sin = rope_tables(positions_BL3, head_dim)
    return cos[:, None], sin[:, None]


def pooled(features_BTSD: Tensor, grid: tuple[int, int, int], rows: int = 1, columns: int = 1) -> Tensor:
    """One row a clip: at each time the mean over each field of a raster on the picture, [B, T * rows * columns * D]."""
    x_BDTHW = rearrange(features_BTSD, "b t (h w) d -> b d t h w", h=grid[1])
    x_BDTHW = F.adaptive_avg_pool3d(x_BDTHW, (grid[0], rows, columns))
    return rearrange(x_BDTHW, "b d t h w -> b (t h w d)")
