"""Fully sharded weights: each process keeps a part of every weight, and has the whole of a block only while it runs.

Zhao et al. 2023, "PyTorch FSDP"; the sharding of weights, gradients and moments alike is stage 3 of Rajbhandari et al. 2020,
ZeRO, section 5. On a mesh of two dimensions each row of it shards one copy, and gradients are averaged over the rows (HSDP).
"""

import warnings

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)

from roadcast.dynamics.model import Block
from roadcast.errors import UserError
from roadcast.tokenizer.model import ResidualBlock, Tokenizer

PASSES = ("encode_hidden", "decode_raw")
"""The methods of a tokenizer that use its weights, all others calling these."""


def shard(module: nn.Module, mesh: DeviceMesh, dtype: torch.dtype, *, offload: bool = False) -> None:
    """Shard the weights of `module` over `mesh`, block by block and the rest together; of a ModuleDict, network by network.

    dtype    blocks come together, and compute, in it; weights, and the sums of gradients, stay float32
    offload  shards lie in host memory, and on the device only while their block runs

    A network may be called many times a step, with gradients and without: after each call its weights are shards again. All ranks
    must call it equally often (`Objective.chance`).
    Raises `UserError` for a tokenizer that is trained beside others: they look at its weights, and not only at what it answers.
    """
    for network in networks(module):
        _shard_network(network, mesh, dtype, offload)


def networks(module: nn.Module) -> list[nn.Module]:
    """What is called, and so sharded, by itself: the parts of a ModuleDict, or the module."""
    if not isinstance(module, nn.ModuleDict):
        return [module]
    if any(isinstance(part, Tokenizer) for part in module.values()):
        raise UserError(
            f"compute.shard is for tokenizers that are trained alone, and this stage trains {' and '.join(module)}; set compute.shard = 1"
        )
    return list(module.values())


def _shard_network(module: nn.Module, mesh: DeviceMesh, dtype: torch.dtype, offload: bool) -> None:
    # its warning of answers that are views and might be changed in place, which nothing here does
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    policy = MixedPrecisionPolicy(cast_forward_inputs=False)
    if dtype != torch.float32:
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    place = CPUOffloadPolicy(pin_memory=mesh.device_type == "cuda") if offload else OffloadPolicy()
    blocks = [part for part in module.modules() if isinstance(part, Block | ResidualBlock)]
    for part in [*blocks, module]:
        fully_shard(part, mesh=mesh, mp_policy=policy, offload_policy=place, reshard_after_forward=True)
    if isinstance(module, Tokenizer):
        for name in PASSES:
            register_fsdp_forward_method(module, name)


def reduce_now(module: nn.Module, now: bool) -> None:
    """Whether the next backward pass is the step's last, which averages the gradients of all."""
    for network in networks(module):
        assert isinstance(network, FSDPModule)
        network.set_requires_gradient_sync(now)
