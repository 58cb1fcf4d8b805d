"""How the processes of a run lie: in stages of a pipeline, in replicas, in shards of weights, along the frames of a clip."""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.rendezvous import rendezvous

from roadcast.config import ComputeConfig
from roadcast.errors import UserError


@dataclass(frozen=True)
class Mesh:
    """This process's place among all, and what they tell each other.

        rank = ((stage * replicas + replica) * shards + shard) * context_ranks + context_rank,

    so that the neighbours that talk most, those along a clip, are nearest, and stages, which talk least, furthest apart.

    rank, ranks                  of all processes
    data_rank, data_ranks        whose clips: replicas times shards. The stages, and the ranks along a clip, read the same ones
    stage, stages                of the pipeline
    context_rank, context_ranks  along the frames of a clip
    device_mesh                  pipeline x replicate x shard, over which weights lie and gradients are averaged; the ranks along a
                                 clip count as shards where weights are sharded, else as replicas. None: one process
    along_clip                   the ranks that share a clip; None where each has its own
    patient                      all of them, with a day's patience for one that has long work to do alone
    """

    device: torch.device
    rank: int = 0
    ranks: int = 1
    data_rank: int = 0
    data_ranks: int = 1
    stage: int = 0
    stages: int = 1
    context_rank: int = 0
    context_ranks: int = 1
    device_mesh: DeviceMesh | None = None
    along_clip: dist.ProcessGroup | None = None
    patient: dist.ProcessGroup | None = None

    @property
    def main(self) -> bool:
        """Whether this is the one process that writes and speaks."""
        return self.rank == 0

    @property
    def sharded(self) -> bool:
        """Whether processes share one copy of the weights between them."""
        return self.device_mesh is not None and self.device_mesh.size(2) > 1

    @property
    def replicas(self) -> dist.ProcessGroup | None:
        """Those that hold the same weights as this process; None where there is no other."""
        if self.device_mesh is None or self.device_mesh.size(1) == 1:
            return None
        return self.device_mesh["replicate"].get_group()

    @property
    def weights(self) -> DeviceMesh:
        """The mesh one stage's weights are sharded over: of one dimension, or of replicas times shards (HSDP)."""
        assert self.device_mesh is not None
        return self.device_mesh["shard"] if self.replicas is None else self.device_mesh["replicate", "shard"]

    @property
    def pipe(self) -> dist.ProcessGroup | None:
        """The stages that a clip passes on its way; None where there is one."""
        return None if self.device_mesh is None or self.stages == 1 else self.device_mesh["pipeline"].get_group()

    def mean(self, values: Tensor) -> Tensor:
        """The mean of `values`, of one shape everywhere, over the data ranks: the same on every rank.

        Taken over all ranks: an engine's terms are the same on all stages, and on all ranks along a clip.
        """
        if self.device_mesh is None:
            return values
        total = values.detach().clone()
        dist.all_reduce(total)
        return total / self.ranks

    def gather(self, value: Any) -> list[Any]:
        """What every rank says, in their order; it must be picklable."""
        if self.device_mesh is None:
            return [value]
        values: list[Any] = [None] * self.ranks
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait until every rank has come here, however long one of them works alone before it does."""
        if self.patient is not None:
            dist.barrier(self.patient)


def join(compute: ComputeConfig, device: str) -> Mesh:
    """The mesh of the processes that torchrun started (RANK, WORLD_SIZE and LOCAL_RANK in the environment), and a part in it.

    device  cpu, whose processes talk over gloo, or cuda: each takes the GPU of its local rank, and they talk over NCCL
    Raises `UserError` where compute.shard x pipeline x context does not divide the number of processes.
    """
    ranks, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    shard, pipeline, context = compute.shard, compute.pipeline, compute.context
    if ranks % (shard * pipeline * context):
        raise UserError(
            f"compute.shard = {shard} x compute.pipeline = {pipeline} x compute.context = {context} does not divide the number of "
            f"processes, {ranks}; start a multiple of {shard * pipeline * context} (torchrun --nproc-per-node), or make them smaller"
        )
    place = torch.device(device)
    if ranks == 1:
        return Mesh(place)
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    if not dist.is_initialized():
        meet("gloo" if place.type == "cpu" else "cpu:gloo,cuda:nccl")
    beside = ranks // pipeline
    data_ranks = beside // context
    shape = (pipeline, beside, 1) if shard == 1 else (pipeline, data_ranks // shard, shard * context)
    clips = init_device_mesh(place.type, (ranks // context, context), mesh_dim_names=("clip", "context"))
    return Mesh(
        place, rank, ranks,
        data_rank=rank % beside // context, data_ranks=data_ranks,
        stage=rank // beside, stages=pipeline,
        context_rank=rank % context, context_ranks=context,
        device_mesh=init_device_mesh(place.type, shape, mesh_dim_names=("pipeline", "replicate", "shard")),
        along_clip=clips["context"].get_group() if context > 1 else None,
        patient=dist.new_group(backend="gloo", timeout=timedelta(days=1)),
    )  # fmt: skip


def meet(backend: str) -> None:
    """Join the process group, at addresses of this start's own: from torch 2.13 on torchrun keeps one store over its restarts, in
    which processes would else find the addresses of those that died."""
    store, rank, ranks = next(rendezvous("env://"))
    start = PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(backend, store=start, rank=rank, world_size=ranks)


def leave() -> None:
    """End what `join` began."""
    if dist.is_initialized():
        dist.destroy_process_group()
