"""Self-Forcing (Huang et al. 2025) in `peers.py`: its causal Wan transformer, attention over space and time at once, with a cache.

Frames are made in blocks of 3, as in its configuration, and one by one: K passes from noise down (algorithm 2), each from fresh
noise, then one pass on the clean block that leaves its keys and values in the cache. Its cache rolls at the window's length.

Its loop is written anew below: theirs loads Wan's 1.3 B weights and a text encoder, and is fixed to their sizes. Stood in for:
the loading and saving that its class inherits from diffusers (no maths), and attention by FlashAttention in bfloat16, here
`scaled_dot_product_attention` in the type of its inputs. A prompt of 512 tokens is not needed: the commands are a prompt of one
token a frame, read anew for every block.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peers_common import Contender, Source, Step, Task, load, scaled, stand_in
from torch import Tensor, nn

SOURCE = Source("https://github.com/guandeh17/Self-Forcing", "33593df3e81fa3ec10239271dd2c100facac6de1")
BLOCKS = (3, 1)
FEED_FORWARD = 8960 / 1536  # Wan 2.1 1.3 B: hidden channels over width


def contenders(folder: Path, task: Task) -> list[Contender]:
    wan, modules = stand_in("wan"), stand_in("wan.modules")  # in place of packages that import all of Wan 2.1
    wan.__path__, modules.__path__ = [str(folder / "wan")], [str(folder / "wan" / "modules")]
    diffusers = (
        stand_in("diffusers"),
        stand_in("diffusers.configuration_utils", ConfigMixin=object, register_to_config=lambda method: method),
        stand_in("diffusers.models"), stand_in("diffusers.models.modeling_utils", ModelMixin=nn.Module),
    )  # fmt: skip
    names = "wan.modules.model", "wan.modules.causal_model"
    model, causal_model = load(folder, *names, stand_ins=(wan, modules, *diffusers))
    model.flash_attention = causal_model.attention = _attention
    return [_contender(causal_model.CausalWanModel, task, frames) for frames in BLOCKS]


def _attention(q_BLNK: Tensor, k_BSNK: Tensor, v_BSNK: Tensor, k_lens: None = None) -> Tensor:
    """softmax(q k^T / sqrt(K)) v [B, L, N, K], no mask: the cache holds the past alone."""
    assert k_lens is None
    return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q_BLNK, k_BSNK, v_BSNK))).transpose(1, 2)


def _contender(transformer: Any, task: Task, frames: int) -> Contender:
    def build(width: int, heads: int) -> nn.Module:
        return transformer(
            patch_size=(1, 1, 1), text_len=frames, in_dim=task.channels, out_dim=task.channels, dim=width,
            ffn_dim=round(FEED_FORWARD * width), text_dim=task.commands, num_heads=heads, num_layers=task.layers,
            local_attn_size=task.window,
        )  # fmt: skip

    network = scaled(build, task)
    name = f"{SOURCE.name}, {frames} frame{'s' * (frames > 1)} a block"
    return Contender(name, network, task.cells, frames, lambda passes: _begin(network, task, frames, passes))


def _begin(network: Any, task: Task, frames: int, passes: int) -> Step:
    """Flow matching, x_s = (1 - s) x + s noise and v = noise - x, at passes levels s evenly down from 1."""
    heads, head_dim = network.num_heads, network.dim // network.num_heads
    slots = task.window * task.cells
    caches = [
        {
            "k": torch.zeros(1, slots, heads, head_dim), "v": torch.zeros(1, slots, heads, head_dim),
            "global_end_index": torch.tensor([0]), "local_end_index": torch.tensor([0]),
        }
        for _ in network.blocks
    ]  # fmt: skip
    prompts = [{"is_init": False} for _ in network.blocks]
    levels = torch.linspace(1, 0, passes + 1).tolist()
    shape = 1, task.channels, frames, task.height, task.width
    made = 0

    def velocity(x_BCTHW: Tensor, level: float) -> Tensor:
        return network(
            x_BCTHW, t=torch.full((1, frames), 1000 * level), context=commands, seq_len=slots, kv_cache=caches,
            crossattn_cache=prompts, current_start=made * task.cells,
        )  # fmt: skip

    def remember(x_BCTHW: Tensor) -> None:
        nonlocal made
        velocity(x_BCTHW, 0.0)
        made += frames
        for prompt in prompts:
            prompt["is_init"] = False

    def step() -> Tensor:
        x_s = torch.randn(shape)
        for s, s_next in pairwise(levels):
            x = x_s - s * velocity(x_s, s)
            x_s = (1 - s_next) * x + s_next * torch.randn(shape)
        remember(x_s)
        return x_s.transpose(1, 2)

    commands = torch.randn(1, frames, task.commands)
    while made < task.window:
        remember(torch.randn(shape))
    return step
