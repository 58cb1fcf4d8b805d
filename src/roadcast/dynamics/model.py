"""The dynamics: a causal diffusion transformer that turns noisy latents into clean ones, frame after frame.

Factorised attention: inside a frame in most blocks, along time in every n-th; each frame carries its own noise level
(diffusion forcing, Chen et al. 2024), so that one set of weights serves training, context and generation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from roadcast.config import DynamicsConfig
from roadcast.dynamics.conditioning import ActionEmbedding
from roadcast.nn.attention import SpaceAttention, TimeAttention
from roadcast.nn.feed_forward import SwiGLU
from roadcast.nn.kv_cache import KVCache
from roadcast.nn.mask import FrameMask
from roadcast.nn.modulation import Modulation, fourier_features, modulate
from roadcast.nn.rope import RopeScaling, Tables, grid_positions, rope_tables
from roadcast.nn.sight import Sight, TimeRope, look


@dataclass
class History:
    """All a rollout remembers of the past: the time layers' keys and values, the newest latent frame and its noise level."""

    cache: KVCache
    newest_BHWC: Tensor
    newest_t_B: Tensor


torch.export.register_dataclass(History, serialized_type_name="roadcast.History")


@dataclass
class Pass:
    """What all blocks of one pass share.

    modulation [B, T, 6, D]; grid: rotary tables of the tokens' places; sight: which frames are looked at; cache: of those before;
    finished: how many of the first new frames go into the cache.
    """

    modulation: Tensor
    grid: Tables
    sight: Sight
    cache: KVCache | None
    finished: int


class Block(nn.Module):
    """`x + gate * attention(norm(x))`, then `x + gate * feed_forward(norm(x))`, norms and gates set by the condition."""

    def __init__(self, config: DynamicsConfig, over_time: bool):
        super().__init__()
        sizes = config.width, config.heads, config.kv_heads, config.backend
        self.over_time = over_time
        self.attention = TimeAttention(*sizes, config.attention == "full") if over_time else SpaceAttention(*sizes)
        self.feed_forward = SwiGLU(config.width, config.mlp_ratio)
        self.modulation = Modulation(config.width, 6)

    def forward(self, x_BTPD: Tensor, shared: Pass, layer: int = 0, first: int = 0) -> Tensor:
        """The frames from `first` on, after this block; `layer` counts the time layers before it."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(shared.modulation)
        y = modulate(x_BTPD, shift1, scale1)
        if self.over_time:
            y = self.attention(y, shared.sight, shared.cache, layer, shared.finished, first)
            x_BTPD, gate1, shift2, scale2, gate2 = (part[:, first:] for part in (x_BTPD, gate1, shift2, scale2, gate2))
        else:
            y = self.attention(y, shared.grid)
        x_BTPD = x_BTPD + gate1 * y
        return x_BTPD + gate2 * self.feed_forward(modulate(x_BTPD, shift2, scale2))


class Dynamics(nn.Module):
    """Causal diffusion transformer over latents [B, T, H, W, C]; tokens of a frame are its H * W cells, registers and one action."""

    def __init__(self, config: DynamicsConfig, latent_channels: int):
        super().__init__()
        self.config, self.channels = config, latent_channels
        width = config.width
        self.inlet = nn.Linear((1 + config.difference_input) * latent_channels, width)
        self.registers = nn.Parameter(torch.randn(config.registers, width) * 0.02)
        self.embed_action = ActionEmbedding(config.actions, config.action_window, width)
        self.action_token = nn.Linear(width, width)
        self.embed_noise = nn.Sequential(nn.Linear(128, width), nn.SiLU(), nn.Linear(width, width))
        self.shared_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        n = config.time_every
        self.blocks = nn.ModuleList(Block(config, over_time=i % n == n // 2) for i in range(config.depth))
        self.time_layers = [i for i, block in enumerate(self.blocks) if block.over_time]
        self.final_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.outlet = nn.Linear(width, latent_channels)
        last_layers = [self.shared_modulation[1], self.final_modulation[1], self.outlet]
        self.embed_step = None
        if config.step_embedding:
            self.embed_step = nn.Sequential(nn.Linear(128, width), nn.SiLU(), nn.Linear(width, width))
            last_layers.append(self.embed_step[2])
        for last in last_layers:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        if config.attention_chunk:
            self.mask = FrameMask(chunk=config.attention_chunk)
        else:
            self.mask = FrameMask(window=config.context_frames, sinks=config.sink_frames)

        trained = round(config.context_frames / config.rope_factor)
        self.rope_scaling = RopeScaling(config.rope_scaling, config.rope_factor, trained)

    def empty_history(self, batch: int, height: int, width: int, dtype: torch.dtype | None = None) -> History:
        """The past of `batch` worlds that have not begun, for a latent grid of height x width cells.

        dtype  how keys and values are kept: float32, bfloat16, float16 or int8; None: as the weights are
        """
        config, weight = self.config, self.registers
        slots = (2 * config.attention_chunk or config.context_frames) - 1
        cache = KVCache.empty(
            len(self.time_layers), batch, self.tokens(height, width), config.kv_heads, slots + config.sink_frames,
            config.width // config.heads, config.sink_frames, weight.device, dtype or weight.dtype,
        )  # fmt: skip
        newest_BHWC = torch.zeros(batch, height, width, self.channels, device=weight.device)
        return History(cache, newest_BHWC, torch.ones(batch, device=weight.device))

    def twin(self) -> "Dynamics":
        """Another network of the same weights, which goes its own way."""
        with self.registers.device:
            twin = Dynamics(self.config, self.channels)
        twin.load_state_dict(self.state_dict())
        return twin

    def tokens(self, height: int, width: int) -> int:
        """Tokens of one frame: its cells, the registers, the action."""
        return height * width + self.config.registers + 1

    def forward(
        self,
        x_BTHWC: Tensor,
        t_BT: Tensor,
        commands_BTA: Tensor,
        history: History | None = None,
        finished: int = 0,
        d_BT: Tensor | None = None,
    ) -> Tensor:
        """The network's prediction (clean latents or velocity: flow/path.py says which) for new frames after `history`.

        x_BTHWC       latents at noise level `t_BT` in [0, 1], 0 clean; float32, whatever the network's own format is
        commands_BTA  windows of commands from `command_window`
        history       the frames before these, or None when these are the first
        finished      that many of the first frames are done: the history takes them in, and nothing is predicted for them
        d_BT          how far down from `t_BT` each frame is about to step, in [0, 1], where `config.step_embedding`; None: no way, d = 0
        returns       [B, T - finished, H, W, C]; frame t depends on frames and commands up to t alone

        So one pass both takes in the frame made last and makes the next. Finished frames leave after the last time layer, whose
        keys are all that later frames ask of them.
        """
        before_BTHWC, before_t_BT = self.frames_before(x_BTHWC, t_BT, history)
        x_BTPD, condition_BTD = self.embed(x_BTHWC, before_BTHWC, t_BT, commands_BTA, d_BT)
        cache = None if history is None else history.cache
        shared = self.share(x_BTPD, self.modulation_of(condition_BTD), x_BTHWC.shape[2:4], cache, finished)
        x_BTPD = self.run(x_BTPD, shared, range(len(self.blocks)))
        if history is not None and finished:
            history.cache.advance(finished)
            history.newest_BHWC.copy_(x_BTHWC[:, finished - 1].detach())
            history.newest_t_B.copy_(t_BT[:, finished - 1].detach())
        new = slice(finished, None)
        return self.head(x_BTPD, condition_BTD[:, new], before_BTHWC[:, new], before_t_BT[:, new])

    def frames_before(self, x_BTHWC: Tensor, t_BT: Tensor, history: History | None) -> tuple[Tensor, Tensor]:
        """The frame before each, as the network sees it, and its noise level: pure noise, of zeros, before the first."""
        if history is None:
            first, first_t = torch.zeros_like(x_BTHWC[:, :1]), torch.ones_like(t_BT[:, :1])
        else:
            first, first_t = history.newest_BHWC[:, None], history.newest_t_B[:, None]
        return torch.cat([first, x_BTHWC[:, :-1]], dim=1), torch.cat([first_t, t_BT[:, :-1]], dim=1)

    def embed(
        self,
        x_BTHWC: Tensor,
        before_BTHWC: Tensor,
        t_BT: Tensor,
        commands_BTA: Tensor,
        d_BT: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The tokens [B, T, P, D] that go into the blocks, and the condition [B, T, D] that sets their norms."""
        dtype = self.registers.dtype
        features = [x_BTHWC, x_BTHWC - before_BTHWC] if self.config.difference_input else [x_BTHWC]
        cells = self.inlet(torch.cat(features, dim=-1).to(dtype))
        action_BTD = self.embed_action(commands_BTA.to(dtype))
        tokens = [
            rearrange(cells, "b t h w d -> b t (h w) d"),
            self.registers.to(cells.dtype).expand(*x_BTHWC.shape[:2], -1, -1),
            self.action_token(action_BTD)[:, :, None],
        ]
        condition_BTD = self.embed_noise(fourier_features(t_BT, 128).to(dtype)) + action_BTD
        if self.embed_step is not None:
            d_BT = torch.zeros_like(t_BT) if d_BT is None else d_BT
            condition_BTD = condition_BTD + self.embed_step(fourier_features(d_BT, 128).to(dtype))
        else:
            assert d_BT is None, "a step length, and dynamics without step_embedding"
        return torch.cat(tokens, dim=2), condition_BTD

    def modulation_of(self, condition_BTD: Tensor) -> Tensor:
        """What sets the norms of all blocks, [B, T, 6, D]."""
        return self.shared_modulation(condition_BTD).unflatten(-1, (6, -1))

    def share(
        self,
        x_BTPD: Tensor,
        modulation_BT6D: Tensor,
        grid: Sequence[int],
        cache: KVCache | None = None,
        finished: int = 0,
        first: int = 0,
    ) -> Pass:
        """What all blocks share in a pass over tokens like `x_BTPD`, of frames on a latent grid of (height, width).

        first  the number of the first of these frames, where others begin the clip elsewhere (parallel/context.py)
        """
        places_P2 = grid_positions(*grid, self.config.registers + 1, x_BTPD.device)
        head_dim = self.config.width // self.config.heads
        rope = TimeRope(head_dim, places_P2 if self.config.attention == "full" else None, self.rope_scaling)
        sight = look(self.mask, rope, x_BTPD.shape[1], cache, x_BTPD, first)
        return Pass(modulation_BT6D, rope_tables(places_P2, head_dim), sight, cache, finished)

    def run(self, x_BTPD: Tensor, shared: Pass, blocks: range) -> Tensor:
        """The tokens after those of the blocks; finished frames leave after the last time layer."""
        finished = shared.finished
        for i in blocks:
            block, last = self.blocks[i], i == self.time_layers[-1]
            layer = self.time_layers.index(i) if block.over_time else 0
            x_BTPD = block(x_BTPD, shared, layer, finished if last else 0)
            if last and finished:
                shared.modulation = shared.modulation[:, finished:]
                if x_BTPD.shape[1] == 0:
                    break
        return x_BTPD

    def head(self, x_BTPD: Tensor, condition_BTD: Tensor, before_BTHWC: Tensor, before_t_BT: Tensor) -> Tensor:
        """The prediction [B, T, H, W, C], in the type of the latents, from the tokens after the last block."""
        height, width = before_BTHWC.shape[2:4]
        shift, scale = self.final_modulation(condition_BTD)[:, :, None].chunk(2, dim=-1)
        y_BTPC = self.outlet(modulate(x_BTPD[:, :, : height * width], shift, scale))
        y_BTHWC = rearrange(y_BTPC, "b t (h w) c -> b t h w c", h=height).to(before_BTHWC.dtype)
        if self.config.difference_target:
            y_BTHWC = y_BTHWC + estimate(before_BTHWC, before_t_BT)
        return y_BTHWC


def estimate(x_t: Tensor, t_BT: Tensor) -> Tensor:
    """The best linear estimate of x from `x_t = (1 - t) x + t n`, x and n of unit variance: `(1 - t) / ((1 - t)^2 + t^2) x_t`."""
    t = t_BT[..., None, None, None]
    return (1 - t) / ((1 - t).square() + t.square()) * x_t
