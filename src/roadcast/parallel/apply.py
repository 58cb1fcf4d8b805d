"""Everything that is laid on an objective's networks from outside, in the one order that works."""

from typing import cast

import torch

from roadcast.config import ComputeConfig, StageConfig
from roadcast.dynamics.model import Block, Dynamics
from roadcast.errors import UserError
from roadcast.optional import load_extra
from roadcast.parallel.context import Frames, spread
from roadcast.parallel.engine import Engine, Objective, OneCall
from roadcast.parallel.frozen import place_frozen
from roadcast.parallel.mesh import Mesh
from roadcast.parallel.pipeline import Pipelined
from roadcast.parallel.remat import apply_remat
from roadcast.parallel.replicated import Replicated
from roadcast.tokenizer.model import ResidualBlock

MOST_GRAPHS = 64
"""Of one make of block: the tokenizer's differ in width and size from level to level, and held-out clips are of another length."""


def parallelise(
    objective: Objective, stage: StageConfig, compute: ComputeConfig, mesh: Mesh, dtype: torch.dtype
) -> Engine:
    """The engine that trains `objective.trained`, which it changes in place: weights keep their names and their values.

    The order: frames of a clip -> eight-bit layers -> remat -> compile -> stages -> shards or replicas. Each must see the blocks
    that those before it left, and stages drop whole blocks, whatever has been laid on them. The networks of `objective.frozen`
    have remat, compile and shards likewise, and under compute.offload lie in host memory (parallel/frozen.py).

    Raises `UserError` where stage.accumulate does not go round the data ranks, and for an objective or a network that cannot be
    cut as `compute` says.
    """
    if stage.accumulate % mesh.data_ranks:
        raise UserError(
            f"accumulate = {stage.accumulate} micro-batches a step cannot be shared out among {mesh.data_ranks} processes with clips "
            f"of their own; use a multiple of {mesh.data_ranks}, or fewer processes"
        )
    model = objective.trained
    cut = isinstance(model, Dynamics) and mesh.stages > 1
    if cut:
        check_pipeline(objective, stage, mesh)
    elif isinstance(model, Dynamics) and mesh.along_clip is not None:
        spread(model, Frames.of(mesh))
    if compute.precision == "fp8":
        load_extra("fp8", "compute.precision = 'fp8'").apply_fp8(model, mesh.device)
    apply_remat(model, stage.remat)
    for network in objective.frozen:
        if not compute.offload or mesh.sharded:
            apply_remat(network, stage.remat)
    if compute.compile:
        for network in (model, *objective.frozen):
            compile_blocks(network)
    place_frozen(objective.frozen, mesh, dtype, offload=compute.offload)
    return Pipelined(cast(OneCall, objective), mesh, dtype) if cut else Replicated(objective, mesh, dtype)


def compile_blocks(model: torch.nn.Module) -> None:
    """Each block by torch.compile, for each shape it meets: blocks of one make share their graphs, and there are few shapes."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_GRAPHS)
    for part in model.modules():
        if isinstance(part, Block | ResidualBlock):
            part.compile(dynamic=False)


def check_pipeline(objective: Objective, stage: StageConfig, mesh: Mesh) -> None:
    """Raise `UserError` where the network cannot be cut into the stages of the mesh."""
    if not objective.one_call:
        raise UserError(
            f"compute.pipeline = {mesh.stages} cuts the network between asking and judging, and objective {stage.objective!r} is of "
            "one piece; set compute.pipeline = 1, or choose diffusion_forcing or teacher_forcing"
        )
    micros = stage.accumulate // mesh.data_ranks
    if micros < mesh.stages:
        raise UserError(
            f"accumulate = {stage.accumulate} gives each pipeline {micros} micro-batches a step, fewer than its {mesh.stages} stages; "
            f"use {mesh.stages * mesh.data_ranks} or more, or a shorter compute.pipeline"
        )
