"""nano-world-model (Simchowitz Lab 2026) in `peers.py`: blocks of space and of time attention in turn, no cache.

Its own `dfot_sample` makes the frame, called as its long rollout calls it: all frames but the new one are context, which every
pass runs through the network again. Stood in for: timm. Its grids are square and ours are not, so the rotary tables of space are
a cut of a larger square's, and un-patching (of patches of one cell) is a transposition.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from einops import rearrange
from peers_common import Contender, Source, Step, Task, load, scaled
from peers_timm import TIMM
from torch import Tensor, nn

SOURCE = Source("https://github.com/simchowitzlabpublic/nano-world-model", "2ee3c355a6e44d2254eba8a8c29f199adddf4a3e")


def contenders(folder: Path, task: Task) -> list[Contender]:
    (model,) = load(folder / "src" / "models", "nanowm", stand_ins=TIMM)
    diffusion, sampling = load(folder / "src", "diffusion", "diffusion.df_sample")

    def build(width: int, heads: int) -> nn.Module:
        network = model.NanoWM(
            input_size=(task.height, task.width), patch_size=1, in_channels=task.channels, hidden_size=width,
            depth=task.layers, num_heads=heads, num_frames=task.window, use_action=True, action_dim=task.commands, causal=True,
        )  # fmt: skip
        across = max(task.height, task.width)
        square = model.get_2d_rotary_pos_embed(width // heads, across).unflatten(0, (across, across))
        network.spatial_rope_freqs = square[: task.height, : task.width].flatten(0, 1)
        network.unpatchify = lambda x: rearrange(x, "b (h w) c -> b c h w", h=task.height)
        return network

    network = scaled(build, task)
    process = diffusion.create_diffusion(
        "", noise_schedule="squaredcos_cap_v2", pred_name="v", diffusion_steps=1000, snr_gamma=5.0, zero_terminal_snr=True
    )  # fmt: skip
    sample = partial(sampling.dfot_sample, process, network)
    return [Contender(SOURCE.name, network, task.cells, 1, lambda passes: _begin(sample, task, passes))]


def _begin(sample: Callable[..., Tensor], task: Task, passes: int) -> Step:
    past = task.window - 1
    shape = 1, task.window, task.channels, task.height, task.width
    commands_BTA = torch.randn(1, task.window, task.commands)
    x_BTCHW = torch.randn(1, past, *shape[2:])

    def step() -> Tensor:
        nonlocal x_BTCHW
        made = sample(
            shape, context=x_BTCHW, n_context_frames=past, scheduling_mode="sequential", num_sampling_steps=passes,
            model_kwargs={"action": commands_BTA}, progress=False, n_generate_frames=1, history_stabilization_level=0.02,
        )  # fmt: skip
        x_BTCHW = made[:, 1:]
        return made[:, -1:]

    return step
