import copy

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.optim import AdamW, Muon

from roadcast.config import StageConfig
from roadcast.errors import UserError
from roadcast.training.offload import Offloaded
from roadcast.training.optim import build_optimizers
from worlds import micro_config, random_world

STAGE = micro_config().train["dynamics"]
MUON = StageConfig("diffusion_forcing", optimizer="muon")


def fresh() -> nn.Module:
    """A dynamics that is the same every time, biases too."""
    torch.manual_seed(0)
    return random_world().dynamics


def give_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> dict[str, torch.Tensor]:
    """The weights after some steps, each of a learning rate of its own."""
    for step in steps:
        give_gradients(model, step)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (step + 1)
        optimizer.step()
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_decay_spares_gains_biases_and_tables():
    dynamics = random_world().dynamics
    [adamw] = build_optimizers(dynamics, STAGE)
    decayed, rest = (group["params"] for group in adamw.param_groups)
    assert {id(p) for p in decayed} | {id(p) for p in rest} == {id(p) for p in dynamics.parameters()}
    assert all(p.ndim >= 2 for p in decayed)
    assert any(p is dynamics.registers for p in rest) and any(p is dynamics.inlet.bias for p in rest)


def test_muon_moves_the_matrices_of_blocks_and_adamw_the_rest():
    dynamics = random_world().dynamics
    muon, adamw = build_optimizers(dynamics, MUON)
    assert isinstance(muon, Muon) and isinstance(adamw, AdamW)
    ours, theirs = ({p for g in optimizer.param_groups for p in g["params"]} for optimizer in (muon, adamw))
    assert not ours & theirs and ours | theirs == set(dynamics.parameters())
    assert dynamics.blocks[0].feed_forward.inner.weight in ours
    assert {dynamics.outlet.weight, dynamics.blocks[0].modulation.bias, dynamics.registers} <= theirs


def test_one_learning_rate_makes_steps_of_muon_as_large_as_those_of_adamw():
    """Root mean squares of what each moves a matrix by, at the same rate (Liu et al. 2025: 0.2 to 0.4 for AdamW)."""
    dynamics = random_world().dynamics
    optimizers = build_optimizers(
        dynamics, StageConfig("diffusion_forcing", optimizer="muon", weight_decay=0.0, lr=1e-3)
    )
    before = copy.deepcopy(dynamics.state_dict())
    give_gradients(dynamics, 0)
    for optimizer in optimizers:
        optimizer.step()
    weight = dynamics.blocks[0].feed_forward.inner.weight
    moved = (weight - before["blocks.0.feed_forward.inner.weight"]).square().mean().sqrt()
    assert 0.1e-3 < moved < 0.4e-3


def test_muon_is_refused_where_it_cannot_be():
    world = random_world()
    with pytest.raises(UserError, match="no transformer blocks"):
        build_optimizers(world.tokenizer, MUON)
    with pytest.raises(UserError, match=r"compute\.offload = false"):
        build_optimizers(world.dynamics, MUON, offload=True)


def test_offloading_changes_no_bit():
    here, there = fresh(), fresh()
    [plain], [offloaded] = build_optimizers(here, STAGE), build_optimizers(there, STAGE, offload=True)
    assert isinstance(offloaded, Offloaded)
    assert same(trained(here, plain, range(3)), trained(there, offloaded, range(3)))


@pytest.mark.parametrize("through_dcp", [False, True])
@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False), (True, True)])
def test_a_run_goes_on_with_or_without_offloading(before, after, through_dcp):
    whole, first = fresh(), fresh()
    expected = trained(whole, build_optimizers(whole, STAGE)[0], range(4))
    [optimizer] = build_optimizers(first, STAGE, offload=before)
    trained(first, optimizer, range(2))
    second = random_world(seed=1).dynamics
    [resumed] = build_optimizers(second, STAGE, offload=after)
    if through_dcp:
        state = copy.deepcopy(get_optimizer_state_dict(first, optimizer))
        assert "blocks.0.feed_forward.inner.weight" in state["state"]
        second.load_state_dict(first.state_dict())
        set_optimizer_state_dict(second, resumed, state)
    else:
        resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        second.load_state_dict(
            first.state_dict()
        )  # weights that come after the optimizer was made, and after its state
    assert same(trained(second, resumed, range(2, 4)), expected)


def test_a_parameter_without_a_gradient_is_left_alone():
    model = nn.Linear(16, 16)
    [optimizer] = build_optimizers(model, STAGE, offload=True)
    give_gradients(model, 0)
    optimizer.step()
    before = [p.clone() for p in model.parameters()]
    give_gradients(model, 1)
    model.bias.grad = None
    optimizer.step()
    assert [torch.equal(p, old) for p, old in zip(model.parameters(), before)] == [False, True]
    assert optimizer.state[model.weight]["step"] == 2 and optimizer.state[model.bias]["step"] == 1
