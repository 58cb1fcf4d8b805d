"""How the driver's commands reach the model: a short window of them, as one embedding per latent frame."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadcast.data.actions import ACTIONS


def command_window(actions_BFA: Tensor, known_BFA: Tensor, window: int, time_stride: int = 1) -> Tensor:
    """For each latent frame the last `window` commands, each control divided by its typical size, and which are known.

    Real commands lead the image by 150 to 200 ms, so one command is not enough.

    actions_BFA, known_BFA  F = (window - 1) + T * time_stride commands: the `window - 1` before the first frame come first
    returns                 float32 [B, T, window * 2A]; latent frame t ends with the command of its last pixel frame
    """
    values = torch.cat([actions_BFA * known_BFA, known_BFA.to(actions_BFA.dtype)], dim=-1)
    assert (values.shape[1] - window + 1) % time_stride == 0
    windows = values.unfold(1, window, 1)[:, time_stride - 1 :: time_stride]
    return windows.transpose(-1, -2).flatten(-2)


def pad_history(actions_BFA: Tensor, known_BFA: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """The same commands with `window - 1` unknown ones in front: the start of a recording."""
    return F.pad(actions_BFA, (0, 0, window - 1, 0)), F.pad(known_BFA, (0, 0, window - 1, 0))


class ActionEmbedding(nn.Module):
    """Two-layer perceptron from a window of commands [B, T, window * 2A] to [B, T, D]."""

    scale_A: Tensor

    def __init__(self, actions: tuple[str, ...], window: int, width: int):
        super().__init__()
        scale_A = torch.tensor([ACTIONS[name].scale for name in actions] + [1.0] * len(actions))
        self.register_buffer("scale_A", scale_A.repeat(window), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * len(actions) * window, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, commands_BTA: Tensor) -> Tensor:
        return self.layers(commands_BTA / self.scale_A)
