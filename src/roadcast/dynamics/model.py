"""The dynamics: a causal diffusion transformer that turns noisy latents into clean ones, frame after frame.

Factorised attention: inside a frame in most blocks, along time in every n-th; each frame carries its own noise level
(diffusion forcing, Chen et al. 2024), so that one set of weights serves training, context and generation.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from roadcast.config import DynamicsConfig
from roadcast.dynamics.conditioning import ActionEmbedding
from roadcast.nn.attention import SpaceAttention, Tables, TimeAttention
from roadcast.nn.feed_forward import SwiGLU
from roadcast.nn.kv_cache import KVCache
from roadcast.nn.modulation import Modulation, fourier_features, modulate
from roadcast.nn.rope import grid_positions, rope_tables


@dataclass
class History:
    """All a rollout remembers of the past: the time layers' keys and values, and the newest latent frame."""

    cache: KVCache
    newest_BHWC: Tensor

    def clone(self) -> "History":
        """A copy that goes on independently."""
        return History(self.cache.clone(), self.newest_BHWC.clone())


class Block(nn.Module):
    """`x + gate * attention(norm(x))`, then `x + gate * feed_forward(norm(x))`, norms and gates set by the condition."""

    def __init__(self, config: DynamicsConfig, over_time: bool):
        super().__init__()
        heads = config.width, config.heads, config.kv_heads
        self.over_time = over_time
        self.attention = TimeAttention(*heads, config.context_frames) if over_time else SpaceAttention(*heads)
        self.feed_forward = SwiGLU(config.width, config.mlp_ratio)
        self.modulation = Modulation(config.width, 6)

    def forward(
        self, x_BTPD: Tensor, shared: Tensor, grid: Tables, cache: KVCache | None, layer: int, write: bool
    ) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(shared)
        y = modulate(x_BTPD, shift1, scale1)
        y = self.attention(y, cache, layer, write) if self.over_time else self.attention(y, grid)
        x_BTPD = x_BTPD + gate1 * y
        return x_BTPD + gate2 * self.feed_forward(modulate(x_BTPD, shift2, scale2))


class Dynamics(nn.Module):
    """Causal diffusion transformer over latents [B, T, H, W, C]; tokens of a frame are its H * W cells, registers and one action."""

    def __init__(self, config: DynamicsConfig, latent_channels: int):
        super().__init__()
        self.config, self.channels = config, latent_channels
        width = config.width
        self.inlet = nn.Linear(2 * latent_channels, width)
        self.registers = nn.Parameter(torch.randn(config.registers, width) * 0.02)
        self.embed_action = ActionEmbedding(config.actions, config.action_window, width)
        self.action_token = nn.Linear(width, width)
        self.embed_noise = nn.Sequential(nn.Linear(128, width), nn.SiLU(), nn.Linear(width, width))
        self.shared_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        n = config.time_every
        self.blocks = nn.ModuleList(Block(config, over_time=i % n == n // 2) for i in range(config.depth))
        self.time_layers = sum(block.over_time for block in self.blocks)
        self.final_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.outlet = nn.Linear(width, latent_channels)
        for last in (self.shared_modulation[1], self.final_modulation[1], self.outlet):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def empty_history(self, batch: int, height: int, width: int, dtype: torch.dtype = torch.float32) -> History:
        """The past of `batch` worlds that have not begun, for a latent grid of height x width cells."""
        tokens = height * width + self.config.registers + 1
        head_dim, device = self.config.width // self.config.heads, self.registers.device
        slots = self.config.context_frames - 1
        cache = KVCache.empty(self.time_layers, batch, tokens, self.config.kv_heads, slots, head_dim, device, dtype)
        return History(cache, torch.zeros(batch, height, width, self.channels, device=device, dtype=dtype))

    def forward(
        self, x_BTHWC: Tensor, t_BT: Tensor, commands_BTA: Tensor, history: History | None = None, write: bool = False
    ) -> Tensor:
        """The network's prediction (clean latents or velocity: flow/path.py says which) for T frames after `history`.

        x_BTHWC       latents at noise level `t_BT` in [0, 1], 0 clean
        commands_BTA  windows of commands from `command_window`
        history       the frames before these, or None when these are the first; `write` adds these to it
        returns       [B, T, H, W, C]; frame t depends on frames and commands up to t alone
        """
        height, width = x_BTHWC.shape[2:4]
        first = torch.zeros_like(x_BTHWC[:, :1]) if history is None else history.newest_BHWC[:, None]
        before_BTHWC = torch.cat([first, x_BTHWC[:, :-1]], dim=1)
        cells = self.inlet(torch.cat([x_BTHWC, x_BTHWC - before_BTHWC], dim=-1))
        action = self.embed_action(commands_BTA)
        x = torch.cat(
            [
                rearrange(cells, "b t h w d -> b t (h w) d"),
                self.registers.expand(*x_BTHWC.shape[:2], -1, -1),
                self.action_token(action)[:, :, None],
            ],
            dim=2,
        )
        condition = self.embed_noise(fourier_features(t_BT, 128).to(x.dtype)) + action
        shared = self.shared_modulation(condition).unflatten(-1, (6, -1))
        positions = grid_positions(height, width, self.config.registers + 1, x.device)
        grid = rope_tables(positions, self.config.width // self.config.heads)

        cache, layer = (history.cache if history else None), 0
        for block in self.blocks:
            x = block(x, shared, grid, cache, layer, write)
            layer += block.over_time
        if write and history is not None:
            history.cache.advance(x_BTHWC.shape[1])
            history.newest_BHWC = x_BTHWC[:, -1].detach()

        shift, scale = self.final_modulation(condition)[:, :, None].chunk(2, dim=-1)
        y = self.outlet(modulate(x[:, :, : height * width], shift, scale))
        return rearrange(y, "b t (h w) c -> b t h w c", h=height)
