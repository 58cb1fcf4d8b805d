"""AdamW whose moments live in host memory: eight bytes a parameter less on the device, for two copies across the bus a step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer

from roadcast.parallel.reduce import local


class Offloaded(Optimizer):
    """AdamW on copies of the parameters in pinned host memory, after Ren et al. 2021 (ZeRO-Offload, section 4).

    A step brings parameters and gradients over, lets fused CPU AdamW work there, and takes the parameters back. The copies are
    taken anew at every step, so that whoever changes the parameters between steps (a loaded state, an average swapped in) needs
    to tell nobody. State and state_dict are AdamW's own, so a run goes on with or without offloading. Shards (DTensors) stay
    shards, on a mesh of host memory.
    """

    def __init__(self, groups: list[dict[str, Any]], options: dict[str, Any]):
        super().__init__(groups, options)
        parameters = [p for group in self.param_groups for p in group["params"]]
        self.copies = {p: host_copy(p) for p in parameters}
        self.gradients = {p: host_copy(p) for p in parameters}
        copied = [group | {"params": [self.copies[p] for p in group["params"]]} for group in self.param_groups]
        self.host = AdamW(copied, **options)
        self.param_groups = [
            theirs | {"params": ours["params"]} for ours, theirs in zip(self.param_groups, self.host.param_groups)
        ]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of AdamW on all parameters that have a gradient."""
        result = closure() if closure else None
        for p, copy in self.copies.items():
            copy.grad = None if p.grad is None else self.gradients[p]
        moved = [(p, copy) for p, copy in self.copies.items() if p.grad is not None]
        for p, copy in moved:
            local(copy).copy_(local(p), non_blocking=True)
            local(copy.grad).copy_(local(p.grad), non_blocking=True)
        wait_for({p.device for p, _ in moved})
        for ours, theirs in zip(self.param_groups, self.host.param_groups):
            theirs.update({name: value for name, value in ours.items() if name != "params"})
        self.host.step()
        for p, copy in moved:
            local(p).copy_(local(copy), non_blocking=True)
            self.state[p] = self.host.state[copy]
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state_dict of this class or of AdamW; the moments stay on the host."""
        self.host.load_state_dict(state_dict)
        for ours, theirs in zip(self.param_groups, self.host.param_groups):
            ours.update({name: value for name, value in theirs.items() if name != "params"})
        self.state.clear()
        self.state.update({p: self.host.state[copy] for p, copy in self.copies.items() if copy in self.host.state})


def host_copy(parameter: Tensor) -> Tensor:
    """A copy of `parameter` in host memory, pinned where a GPU is to read it; of a shard, a shard."""
    pin = parameter.device.type == "cuda"
    if not isinstance(parameter, DTensor):
        return torch.empty_like(parameter, device="cpu", pin_memory=pin, requires_grad=False).copy_(parameter.detach())
    mesh = parameter.device_mesh
    if mesh.device_type != "cpu":
        mesh = DeviceMesh("cpu", mesh.mesh, mesh_dim_names=mesh.mesh_dim_names, _init_backend=False)
    return DTensor.from_local(
        host_copy(parameter.to_local()), mesh, parameter.placements, run_check=False, shape=parameter.shape, stride=parameter.stride()
    )  # fmt: skip


def wait_for(devices: set[torch.device]) -> None:
    """Until what these devices were asked to copy has arrived."""
    for device in devices:
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
