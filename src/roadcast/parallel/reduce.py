"""What is told of tensors that lie on several processes: norms, averages, wholes."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from roadcast.parallel.mesh import Mesh


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this rank holds: all of it, but for a DTensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gradient_norm(parameters: Iterable[nn.Parameter], mesh: Mesh, pipe: dist.ProcessGroup | None = None) -> Tensor:
    """The L2 norm of the gradients of all parameters, over the shards of each, and over the stages of `pipe`."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    if pipe is not None:
        square = norm.to(mesh.device).square()
        dist.all_reduce(square, group=pipe)
        norm = square.sqrt()
    return norm


def average_gradients(parameters: Iterable[nn.Parameter], group: dist.ProcessGroup) -> None:
    """Each gradient becomes its mean over the group."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    for gradient in gradients:
        dist.all_reduce(gradient, group=group)
    torch._foreach_div_(gradients, dist.get_world_size(group))


def whole_tensors(tensors: dict[str, Tensor], mesh: Mesh, pipe: dist.ProcessGroup | None = None) -> dict | None:
    """The tensors whole, in host memory, on the main rank, those of all stages of `pipe` together; None on other ranks."""
    whole = {}
    for name, tensor in tensors.items():
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if mesh.data_rank == mesh.context_rank == 0:
            whole[name] = full.detach().cpu()
    if pipe is not None and mesh.data_rank == mesh.context_rank == 0:
        stages: list[dict] = [{}] * mesh.stages
        dist.gather_object(whole, stages if mesh.main else None, group_dst=0, group=pipe)
        whole = {name: tensor for stage in stages for name, tensor in stage.items()}
    return whole if mesh.main else None
