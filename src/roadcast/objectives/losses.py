"""Further terms of a stage's loss, by name: functions of what was made and what is true.

A recipe weighs them in `train.STAGE.losses`; they come on top of what the objective minimises of itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.plugins import look_up
from roadcast.tokenizer.model import Tokenizer

LossFunction = Callable[[Tensor, Tensor, Clip], Tensor]
Kind = TypeVar("Kind", bound=Callable)


@dataclass(frozen=True)
class Loss:
    """A function `(made, true, clip) -> scalar`, or a class that makes one of a world, and what it compares: "frames", [B, F, H, W, 3]
    in [-1, 1], as the tokenizer makes them, or "latents", [B, T, H, W, C], as the dynamics does."""

    kind: LossFunction | type
    compares: str

    def function(self, world: World) -> LossFunction:
        """The function itself, made for `world` where it is a class."""
        return self.kind(world) if isinstance(self.kind, type) else self.kind


LOSSES: dict[str, Loss] = {}


def register_loss(name: str, compares: str) -> Callable[[Kind], Kind]:
    """Decorator: recipes find the loss under `name`, for stages that make what it `compares`, or latents to decode frames from.

    Of a function `(made, true, clip) -> scalar`, or of a class, made once a stage with the world and then called in the same way.
    """
    assert compares in ("frames", "latents"), f"loss {name!r} compares {compares!r}; say frames or latents"

    def register(loss: Kind) -> Kind:
        LOSSES[name] = Loss(loss, compares)
        return loss

    return register


class Losses:
    """The losses of one stage with their weights.

    Where the stage makes latents and a loss compares frames, both sides are decoded first, once for all such losses: with gradients
    to what was made, none to the tokenizer, which is frozen.

    makes  what the stage makes, "frames", "latents" or ""; `UserError` for a loss that compares what cannot be had from it, or whose
           name is unknown
    world  for the losses that ask for it, and its tokenizer to decode with
    """

    def __init__(self, weights: dict[str, float], makes: str, world: World):
        self.weights, self.makes = weights, makes
        registered = {name: look_up("loss", name, LOSSES) for name in weights}
        self.compares = {name: loss.compares for name, loss in registered.items()}
        for name, compares in self.compares.items():
            if compares != makes and (compares, makes) != ("frames", "latents"):
                raise UserError(
                    f"loss {name!r} compares {compares}, and this stage makes {makes or 'nothing'}; take it out of the stage's losses"
                )
        self.functions = {name: loss.function(world) for name, loss in registered.items()}
        self.tokenizer = None
        if makes == "latents" and "frames" in self.compares.values():
            self.tokenizer = world.tokenizer.requires_grad_(False)

    def add_to(self, loss: Tensor, terms: dict[str, Tensor], made: Tensor, true: Tensor, clip: Clip) -> Tensor:
        """`loss + sum_i w_i L_i(made, true, clip)`; each L_i joins `terms` under its name."""
        sides = {self.makes: (made, true)}
        if self.tokenizer is not None:
            sides["frames"] = decoded(made, self.tokenizer), decoded(true.detach(), self.tokenizer)
        for name, function in self.functions.items():
            if name in terms:
                raise UserError(f"loss {name!r} has the name of one of the objective's own terms; give it another")
            terms[name] = function(*sides[self.compares[name]], clip)
            loss = loss + self.weights[name] * terms[name]
        return loss


def decoded(z_BTHWC: Tensor, tokenizer: Tokenizer) -> Tensor:
    """Frames [B, F, H, W, 3], about [-1, 1], of normalised latents; differentiable, where `tokenizer.decode` is not."""
    return tokenizer.decode_raw(z_BTHWC * tokenizer.std + tokenizer.mean)


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
