"""Further terms of a stage's loss, by name: functions of what was made and what is true.

A recipe weighs them in `train.STAGE.losses`; they come on top of what the objective minimises of itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.plugins import look_up

LossFunction = Callable[[Tensor, Tensor, Clip], Tensor]


@dataclass(frozen=True)
class Loss:
    """A function `(made, true, clip) -> scalar`, and what it compares: "frames", [B, F, H, W, 3] in [-1, 1], as the tokenizer makes
    them, or "latents", [B, T, H, W, C], as the dynamics does."""

    function: LossFunction
    compares: str


LOSSES: dict[str, Loss] = {}


def register_loss(name: str, compares: str) -> Callable[[LossFunction], LossFunction]:
    """Function decorator: recipes find the loss under `name`, for stages that make what it `compares`."""
    assert compares in ("frames", "latents"), f"loss {name!r} compares {compares!r}; say frames or latents"

    def register(function: LossFunction) -> LossFunction:
        LOSSES[name] = Loss(function, compares)
        return function

    return register


class Losses:
    """The losses of one stage with their weights.

    makes  what the stage makes, "frames", "latents" or ""; `UserError` for a loss that compares another, or whose name is unknown
    """

    def __init__(self, weights: dict[str, float], makes: str):
        self.weights = weights
        self.functions = {name: look_up("loss", name, LOSSES).function for name in weights}
        for name in weights:
            if (compares := LOSSES[name].compares) != makes:
                raise UserError(
                    f"loss {name!r} compares {compares}, and this stage makes {makes or 'nothing'}; take it out of the stage's losses"
                )

    def add_to(self, loss: Tensor, terms: dict[str, Tensor], made: Tensor, true: Tensor, clip: Clip) -> Tensor:
        """`loss + sum_i w_i L_i(made, true, clip)`; each L_i joins `terms` under its name."""
        for name, function in self.functions.items():
            if name in terms:
                raise UserError(f"loss {name!r} has the name of one of the objective's own terms; give it another")
            terms[name] = function(made, true, clip)
            loss = loss + self.weights[name] * terms[name]
        return loss


@register_loss("spectrum", compares="frames")
def spectrum_loss(made_BFHWC: Tensor, true_BFHWC: Tensor, clip: Clip) -> Tensor:
    """`mean | |FFT made| - |FFT true| |`, each frame's unitary 2D spectrum: detail of the right strength, wherever it falls.

    The amplitude part of Fuoli et al. 2021, "Fourier Space Losses for Efficient Perceptual Image Super-Resolution".
    """
    made, true = (torch.fft.rfft2(x.float(), dim=(2, 3), norm="ortho").abs() for x in (made_BFHWC, true_BFHWC))
    return F.l1_loss(made, true)


@register_loss("acceleration", compares="latents")
def acceleration_loss(made_BTHWC: Tensor, true_BTHWC: Tensor, clip: Clip) -> Tensor:
    """`mean |d_t^2 made - d_t^2 true|^2`, second differences along time: what moves evenly goes on evenly. Three frames or more."""
    return F.mse_loss(made_BTHWC.diff(n=2, dim=1), true_BTHWC.diff(n=2, dim=1))
