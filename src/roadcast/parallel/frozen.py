"""Where the networks lie that an objective calls and does not train: in shards, as those it trains, or in host memory between calls."""

from collections.abc import Iterable

import torch
from torch import nn

from roadcast.parallel.mesh import Mesh
from roadcast.parallel.shard import shard


def place_frozen(networks: Iterable[nn.Module], mesh: Mesh, dtype: torch.dtype, *, offload: bool) -> None:
    """Shard each network where weights are sharded; under `offload` its weights, or shards, stay in host memory between its passes."""
    for network in networks:
        if mesh.sharded:
            shard(network, mesh.weights, dtype, offload=offload)
        elif offload:
            lend(network, mesh.device)


def lend(network: nn.Module, device: torch.device) -> None:
    """Keep the weights of `network` in host memory, and have them on `device` while a call runs.

    A graph that goes through the call keeps what it needs of their copies until its backward pass. A block that is computed again in
    that pass would find them gone, so remat is not for such a network.
    """
    pin = device.type == "cuda"
    own = [(part, name, p) for part in network.modules() for name, p in part._parameters.items() if p is not None]
    for _, name, p in own:
        assert not p.requires_grad, name
        p.data = p.data.cpu().pin_memory() if pin else p.data.cpu()

    def fetch(*_: object) -> None:
        for part, name, p in own:
            part._parameters[name] = nn.Parameter(p.to(device, non_blocking=True), requires_grad=False)

    def release(*_: object) -> None:
        for part, name, p in own:
            part._parameters[name] = p

    network.register_forward_pre_hook(fetch)
    network.register_forward_hook(release, always_call=True)
