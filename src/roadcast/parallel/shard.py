"""Fully sharded weights: each process keeps a part of every weight, and has the whole of a block only while it runs.

Zhao et al. 2023, "PyTorch FSDP"; the sharding of weights, gradients and moments alike is stage 3 of Rajbhandari et al. 2020,
ZeRO, section 5. On a mesh of two dimensions each row of it shards one copy, and gradients are averaged over the rows (HSDP).
"""

import warnings

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

from roadcast.dynamics.model import Block
from roadcast.errors import UserError
from roadcast.tokenizer.model import ResidualBlock, Tokenizer

PASSES = ("encode_hidden", "decode_raw")
"""The methods of a tokenizer that use its weights, all others calling these."""


def shard(module: nn.Module, mesh: DeviceMesh, dtype: torch.dtype) -> None:
    """Shard the weights of `module` over `mesh`, block by block and the rest together.

    dtype  blocks come together, and compute, in it; weights, and the sums of gradients, stay float32
    Raises `UserError` where several networks are trained at once: each of them is called by itself, which sharding would not see.
    """
    if isinstance(module, nn.ModuleDict):
        raise UserError(
            f"compute.shard is for stages that train one network, and this one trains {' and '.join(module)}; set compute.shard = 1"
        )
    # its warning of answers that are views and might be changed in place, which nothing here does
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    policy = MixedPrecisionPolicy(cast_forward_inputs=False)
    if dtype != torch.float32:
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for part in module.modules():
        if isinstance(part, Block | ResidualBlock):
            fully_shard(part, mesh=mesh, mp_policy=policy)
    fully_shard(module, mesh=mesh, mp_policy=policy)
    if isinstance(module, Tokenizer):
        for name in PASSES:
            register_fsdp_forward_method(module, name)


def reduce_now(module: nn.Module, now: bool) -> None:
    """Whether the next backward pass is the step's last, which averages the gradients of all."""
    assert isinstance(module, FSDPModule)
    module.set_requires_gradient_sync(now)


def put_back(module: nn.Module) -> None:
    """Leave the parameters sharded after a pass that had no backward pass."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()
