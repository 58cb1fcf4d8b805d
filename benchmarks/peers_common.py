"""What every peer of `peers.py` is told, what it gives back, and how its code is found and scaled to our size.

Nothing of a peer is in this repository: its classes are imported from a checkout. What a checkout imports and a benchmark of
its transformer does not need is stood in for by modules made here, each named in its adapter.
"""

import importlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Task:
    """The job that all do: one world, latent frames [H, W, C], each made from its commands and the frames of the window before it.

    window      latent frames that a frame can see, itself among them
    commands    numbers that make up a frame's commands
    parameters  of the network that all are scaled to, with attention in as many `layers` and about as many channels a head
    """

    height: int
    width: int
    channels: int
    window: int
    commands: int
    parameters: int
    layers: int
    head_dim: int

    @property
    def cells(self) -> int:
        return self.height * self.width


Step = Callable[[], Tensor]


@dataclass
class Contender:
    """A network with random weights and its project's way to make frames with it.

    tokens  the network sees for one latent frame
    frames  latent frames a step makes at once
    begin   given K network passes, a step that makes the next latent frames; the window is full before its first call
    """

    name: str
    network: nn.Module
    tokens: int
    frames: int
    begin: Callable[[int], Step]

    @property
    def parameters(self) -> int:
        return count(self.network)


@dataclass(frozen=True)
class Source:
    """Where a peer's code comes from; the folder is the repository's name."""

    url: str
    commit: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]

    def how(self, peers: Path) -> str:
        """The shell line that puts it where it is looked for."""
        folder = peers / self.name
        return f"git clone {self.url} {folder} && git -C {folder} checkout {self.commit}"


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def randomise(network: nn.Module) -> nn.Module:
    """Every matrix drawn anew, those that training would start at zero among them, so that no layer is idle."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.02)
    return network.eval().requires_grad_(False)


def scaled(build: Callable[[int, int], nn.Module], task: Task) -> nn.Module:
    """`build(width, heads)` with random weights, of the width that comes nearest to the task's number of parameters.

    Channels a head are within a quarter of the task's. Raises ValueError when none comes within a tenth.
    """

    def distance(size: tuple[int, int]) -> int:
        with torch.device("meta"):
            return abs(count(build(*size)) - task.parameters)

    dims = [task.head_dim * quarters // 4 for quarters in (3, 4, 5)]
    sizes = [(dim * heads, heads) for dim, heads in product(dims, range(2, 17))]
    size = min(sizes, key=distance)
    if (off := distance(size)) > task.parameters / 10:
        raise ValueError(f"no width within a tenth of {task.parameters} parameters; the nearest is {off} off")
    return randomise(build(*size))


def load(folder: Path, *names: str, stand_ins: Iterable[ModuleType] = ()) -> list[Any]:
    """Modules of a checkout by name, with `stand_ins` in place of packages. They stay: the compiler looks them up by name."""
    sys.modules.update({module.__name__: module for module in stand_ins})
    sys.path.insert(0, str(folder))
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(folder))


def stand_in(name: str, **members: Any) -> ModuleType:
    """A module of this name that holds these."""
    module = ModuleType(name)
    module.__dict__.update(members)
    return module
