"""What the training loop asks of however many processes: an engine, and what an engine asks of an objective."""

from collections.abc import Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from roadcast.data.clip import Clip

Terms = dict[str, Tensor]
Micro = tuple[Clip, torch.Generator]
"""A micro-batch, and all the chance there is in it."""


class Objective(Protocol):
    """What is minimised (roadcast.objectives); `rests` where some parameters get no gradient in some steps; `frozen` are the
    networks that it calls beside those `trained`."""

    one_call: ClassVar[bool]

    @property
    def rests(self) -> bool: ...

    @property
    def trained(self) -> nn.Module: ...

    @property
    def frozen(self) -> Sequence[nn.Module]: ...

    def loss(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor, Terms]: ...


class Problem(Protocol):
    """What the dynamics are called with: latents at their noise levels, and windows of commands."""

    @property
    def x_BTHWC(self) -> Tensor: ...
    @property
    def t_BT(self) -> Tensor: ...
    @property
    def commands_BTA(self) -> Tensor: ...


class OneCall(Objective, Protocol):
    """An objective that calls the dynamics once a batch, between asking and judging."""

    def prepare(self, clip: Clip, generator: torch.Generator) -> Problem: ...

    def judge(self, problem: Problem, answer_BTHWC: Tensor) -> tuple[Tensor, Terms]: ...


class Engine(Protocol):
    """The forward and backward passes of one step, on all processes together.

    model  what this process trains. Parameters may be DTensors; a stage of a pipeline has its own alone, under the names they
           have in the whole model
    """

    @property
    def model(self) -> nn.Module: ...

    def gradients(self, micros: Sequence[Micro], scaler: torch.amp.GradScaler) -> Terms:
        """Add to the gradients those of this data rank's micro-batches of a step, averaged over all ranks' once, at the last.

        The gradient is that of the mean loss over all micro-batches of the step, times the scaler's scale.
        returns  the means of the objective's terms over these micro-batches, detached, "loss" among them: the same on every
                 stage and on every rank along a clip
        """
        ...

    def evaluate(self, clip: Clip, generator: torch.Generator) -> Terms:
        """The terms of one batch, "loss" among them, without gradients."""
        ...

    def norm(self) -> Tensor:
        """The L2 norm of all gradients as they are, over shards and stages alike: the same 0-d tensor on every rank."""
        ...

    def whole(self, tensors: dict[str, Tensor]) -> dict[str, Tensor] | None:
        """Tensors by name, of shards or of one stage, whole and in host memory on the main rank; None on the others."""
        ...


def mean_terms(rows: Sequence[Terms]) -> Terms:
    """The mean of each term over the micro-batches that have it, detached."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: torch.stack([row[name].detach() for row in rows if name in row]).mean() for name in names}
