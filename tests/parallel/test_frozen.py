import pytest
import torch
from torch import nn

from roadcast.parallel.frozen import lend


def test_lent_weights_are_on_the_device_while_a_call_runs_and_on_the_host_before_and_after():
    network = nn.Sequential(nn.Linear(3, 4), nn.SiLU(), nn.Linear(4, 2)).requires_grad_(False)
    lend(network, torch.device("meta"))
    seen = []
    network[2].register_forward_pre_hook(lambda part, args: seen.append(part.weight.device.type))
    x = torch.ones(5, 3, device="meta", requires_grad=True)
    y = network(x)
    assert seen == ["meta"] and y.shape == (5, 2)
    assert {p.device.type for p in network.parameters()} == {"cpu"}
    y.sum().backward()
    assert x.grad is not None, "gradients go through a lent network after it was given back"


def test_a_lent_network_answers_as_before_also_with_weights_loaded_later():
    network = nn.Linear(3, 2).requires_grad_(False)
    lend(network, torch.device("cpu"))
    network.load_state_dict({"weight": torch.ones(2, 3), "bias": torch.zeros(2)})
    assert torch.equal(network(torch.ones(1, 3)), torch.full((1, 2), 3.0))


def test_weights_are_given_back_when_a_call_fails():
    network = nn.Linear(3, 2).requires_grad_(False)
    lend(network, torch.device("meta"))
    with pytest.raises(RuntimeError):
        network(torch.ones(1, 5, device="meta"))
    assert network.weight.device.type == "cpu"
