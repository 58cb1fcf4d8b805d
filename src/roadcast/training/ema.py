"""The moving average of the weights, which is what is evaluated and shipped."""

import torch
from torch import Tensor, nn

from roadcast.parallel.reduce import local


class EMA:
    """`average <- average + (1 - d) (weight - average)`, `d = min(decay, (1 + n) / (10 + n))` after n updates.

    average  by the names of the module's state dict, sharded as the weights are; what is no floating number is as in the module
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.updates = 0
        self.average = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's present weights; each rank moves its own shards."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        ours, theirs = [], []
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                ours.append(local(self.average[name]))
                theirs.append(local(value))
            else:
                self.average[name].copy_(value)
        torch._foreach_lerp_(ours, theirs, 1 - decay)

    def swapped_into(self, module: nn.Module) -> "Swapped":
        """A context in which the module carries the averaged weights."""
        return Swapped(module, self.average)


class Swapped:
    """While entered, `module` carries `weights`; on leaving, its own again."""

    def __init__(self, module: nn.Module, weights: dict[str, Tensor]):
        self.module, self.weights = module, weights

    def __enter__(self) -> None:
        self.own = {name: local(value).clone() for name, value in self.module.state_dict().items()}
        carry(self.module, self.weights)

    def __exit__(self, *_: object) -> None:
        carry(self.module, self.own)
        del self.own


@torch.no_grad()
def carry(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy `weights`, whole or each rank its shards, into the module."""
    for name, value in module.state_dict().items():
        local(value).copy_(local(weights[name]))
