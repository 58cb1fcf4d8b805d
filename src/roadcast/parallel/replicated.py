"""Every process runs the whole network: alone, beside replicas (DDP, Li et al. 2020), on sharded weights, or on frames of its own."""

import warnings
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from roadcast.data.clip import Clip
from roadcast.parallel.engine import Micro, Objective, Terms, mean_terms
from roadcast.parallel.mesh import Mesh
from roadcast.parallel.precision import autocast
from roadcast.parallel.reduce import gradient_norm, whole_tensors
from roadcast.parallel.shard import reduce_now, shard


class Loss(nn.Module):
    """An objective's loss as a module around what it trains, so that DDP sees one forward pass, whatever calls there are in it."""

    def __init__(self, objective: Objective):
        super().__init__()
        self.objective, self.trained = objective, objective.trained

    def forward(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor, Terms]:
        return self.objective.loss(clip, generator)


class Replicated:
    """The `Engine` (parallel/engine.py) of one process, DDP, FSDP2, HSDP, and ranks that share clips.

    Under a pipeline this trains what cannot be cut, the tokenizer: every stage then computes the same.

    Integer buffers count micro-batches (tokenizer/adversary.py): all of one step see the same count, which then grows by those of
    all ranks, so that ranks agree on what is computed, and a run on several processes counts as one process does.
    """

    def __init__(self, objective: Objective, mesh: Mesh, dtype: torch.dtype):
        self.objective, self.mesh, self.dtype = objective, mesh, dtype
        self.model = objective.trained
        self.loss: nn.Module = Loss(objective)
        self.counts = [buffer for buffer in self.model.buffers() if not buffer.is_floating_point()]
        if mesh.sharded:
            shard(self.model, mesh.weights, dtype)
        elif mesh.replicas is not None:
            with warnings.catch_warnings():  # torch 2.13 would have it under another name, which 2.11 does not know
                warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
                self.loss = DistributedDataParallel(
                    self.loss,
                    process_group=mesh.replicas,
                    broadcast_buffers=False,
                    find_unused_parameters=objective.rests,
                )

    def gradients(self, micros: Sequence[Micro], scaler: torch.amp.GradScaler) -> Terms:
        rows, counted = [], [count.clone() for count in self.counts]
        for number, (clip, generator) in enumerate(micros, start=1):
            last = number == len(micros)
            if self.mesh.sharded:
                reduce_now(self.model, last)
            waits = isinstance(self.loss, DistributedDataParallel) and not last
            with self.loss.no_sync() if waits else nullcontext():
                with autocast(self.mesh.device, self.dtype):
                    loss, terms = self.loss(clip, generator)
                scaler.scale(loss / len(micros)).backward()
            for count, before in zip(self.counts, counted, strict=True):
                count.copy_(before)
            rows.append({"loss": loss} | terms)
        for count in self.counts:
            count += len(micros) * self.mesh.data_ranks
        return mean_terms(rows)

    @torch.no_grad()
    def evaluate(self, clip: Clip, generator: torch.Generator) -> Terms:
        with autocast(self.mesh.device, self.dtype):
            loss, terms = self.objective.loss(clip, generator)
        return {"loss": loss} | terms

    def norm(self) -> Tensor:
        return gradient_norm(self.model.parameters(), self.mesh)

    def whole(self, tensors: dict[str, Tensor]) -> dict[str, Tensor] | None:
        return whole_tensors(tensors, self.mesh)
