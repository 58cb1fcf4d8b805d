"""open-oasis (Etched and Decart 2024) in `peers.py`: space and time attention in every block, no cache.

Its sampling loop runs the network on the whole window, the past at a small noise level and the new frame on its way down, in
every pass. The loop is written anew below for one new frame: theirs needs CUDA and a film. Stood in for: timm.
"""

from itertools import pairwise
from pathlib import Path

import torch
from peers_common import Contender, Source, Step, Task, load, scaled
from peers_timm import TIMM
from torch import Tensor, nn

SOURCE = Source("https://github.com/etched-ai/open-oasis", "f59deef2c019c212bd0c5a3a5b986a51f3701847")
CONTEXT_LEVEL, NOISE_LEVELS = 14, 1000


def contenders(folder: Path, task: Task) -> list[Contender]:
    (dit,) = load(folder, "dit", stand_ins=TIMM)

    def build(width: int, heads: int) -> nn.Module:
        return dit.DiT(
            input_h=task.height, input_w=task.width, patch_size=1, in_channels=task.channels, hidden_size=width,
            depth=task.layers // 2, num_heads=heads, external_cond_dim=task.commands, max_frames=task.window,
        )  # fmt: skip

    network = scaled(build, task)
    return [Contender(SOURCE.name, network, task.cells, 1, lambda passes: _begin(network, task, passes))]


def _begin(network: nn.Module, task: Task, passes: int) -> Step:
    """DDIM (Song et al. 2021, equation 12) on v (Salimans and Ho 2022): x = sqrt(a) x_t - sqrt(1 - a) v, a of the new frame's level."""
    x_BTCHW = torch.randn(1, task.window, task.channels, task.height, task.width)
    commands_BTA = torch.randn(1, task.window, task.commands)
    alpha_L = torch.linspace(1, 0, NOISE_LEVELS + 1)[:-1].square()
    levels = torch.linspace(NOISE_LEVELS - 1, 0, passes + 1).long().tolist()

    def step() -> Tensor:
        nonlocal x_BTCHW
        x_BTCHW = torch.cat([x_BTCHW[:, 1:], torch.randn_like(x_BTCHW[:, :1])], dim=1)
        for level, following in pairwise(levels):
            level_BT = torch.full((1, task.window), CONTEXT_LEVEL)
            level_BT[:, -1] = level
            v = network(x_BTCHW.clone(), level_BT, commands_BTA)[:, -1]
            a, b = alpha_L[level], alpha_L[following]
            x = a.sqrt() * x_BTCHW[:, -1] - (1 - a).sqrt() * v
            noise = a.sqrt() * v + (1 - a).sqrt() * x_BTCHW[:, -1]
            x_BTCHW[:, -1] = b.sqrt() * x + (1 - b).sqrt() * noise
        return x_BTCHW[:, -1:]

    return step
