import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from roadcast.training.gradients import statistics
from worlds import random_world


def with_gradients():
    """A dynamics whose every gradient is random."""
    dynamics, generator = random_world().dynamics, torch.Generator().manual_seed(0)
    for parameter in dynamics.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return dynamics


def test_the_norms_of_all_blocks_make_that_of_the_whole():
    dynamics = with_gradients()
    figures = statistics(dynamics)
    whole = torch.nn.utils.get_total_norm([p.grad for p in dynamics.parameters()])
    assert math.hypot(*(v for name, v in figures.items() if name.startswith("grad/"))) == pytest.approx(float(whole))
    block = torch.nn.utils.get_total_norm([p.grad for p in dynamics.blocks[3].parameters()])
    assert figures["grad/blocks.3"] == pytest.approx(float(block))
    assert {"grad/inlet", "grad/registers", "vanishing/blocks.0", "dead/blocks.0"} <= figures.keys()
    assert all(figures[name] == 0 for name in figures if name.startswith(("vanishing", "dead")))


def test_the_loss_scale_is_taken_out_of_norms_alone():
    dynamics = with_gradients()
    plain = statistics(dynamics)
    for parameter in dynamics.parameters():
        parameter.grad *= 1024
    assert statistics(dynamics, scale=1024.0) == pytest.approx(plain)


def test_vanishing_gradients_and_dead_units_are_counted():
    dynamics = with_gradients()
    block = dynamics.blocks[1]
    inner = block.feed_forward.inner.weight.grad
    units = len(inner) // 2
    inner[[0, 1, units]] = 0  # of unit 0 both rows, of unit 1 only one
    dynamics.outlet.bias.grad.fill_(1e-9)
    figures = statistics(dynamics)
    assert figures["dead/blocks.1"] == pytest.approx(1 / units) and figures["dead/blocks.0"] == 0
    numbers = sum(p.numel() for p in block.parameters())
    assert figures["vanishing/blocks.1"] == pytest.approx(3 * inner.shape[1] / numbers)
    outlet = dynamics.outlet
    assert figures["vanishing/outlet"] == pytest.approx(len(outlet.bias) / (outlet.weight.numel() + len(outlet.bias)))


def test_residual_blocks_have_figures_of_their_own():
    tokenizer = random_world().tokenizer
    tokenizer.decode_raw(torch.randn(1, 2, 2, 4, 4)).square().mean().backward()
    figures = statistics(tokenizer)
    assert any(name.startswith("grad/decoder.layers.") for name in figures) and "grad/decoder" in figures
    assert not [name for name in figures if "encoder" in name]  # nothing came to it


def test_without_gradients_there_is_nothing_to_tell():
    assert statistics(random_world().dynamics) == {}


SHARDED = """
import sys
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from test_optim import STAGE, fresh
from roadcast.config import StageConfig
from roadcast.errors import UserError
from roadcast.training.gradients import statistics
from roadcast.training.optim import build_optimizers

dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2)
mesh = init_device_mesh("cpu", (2,))

def shard(model):
    for module in model.modules():
        for name, p in list(module.named_parameters(recurse=False)):
            setattr(module, name, torch.nn.Parameter(distribute_tensor(p.detach(), mesh, [Shard(0)])))
    return model

def give(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        gradient = torch.randn(p.shape, generator=generator)
        gradient[0] = 0
        p.grad = distribute_tensor(gradient, mesh, [Shard(0)]) if isinstance(p, DTensor) else gradient

def moved(model, offload):
    [optimizer] = build_optimizers(model, STAGE, offload=offload)
    for step in range(3):
        give(model, step)
        optimizer.step()
    if offload and isinstance(next(model.parameters()), DTensor):
        assert all(isinstance(s["exp_avg"], DTensor) for s in optimizer.state.values())
    return [p.full_tensor() if isinstance(p, DTensor) else p for p in model.parameters()]

whole, sharded = fresh(), shard(fresh())
give(whole, 0), give(sharded, 0)
ours, theirs = statistics(whole), statistics(sharded)
assert ours.keys() == theirs.keys() and max(abs(ours[k] - theirs[k]) / max(ours[k], 1e-9) for k in ours) < 1e-6
assert ours["dead/blocks.0"] == 0 and ours["vanishing/blocks.0"] > 0
for offload in (False, True):
    pairs = zip(moved(fresh(), False), moved(shard(fresh()), offload), strict=True)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-7) for a, b in pairs)
try:
    build_optimizers(sharded, StageConfig("diffusion_forcing", optimizer="muon"))
    raise SystemExit("muon took shards")
except UserError as error:
    assert "compute.shard = 1" in str(error)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_shards_have_the_figures_and_the_steps_of_the_whole(tmp_path):
    """Statistics, offloaded AdamW and Muon's refusal, on two processes that share every parameter."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)]),
    }
    processes = [
        subprocess.Popen([sys.executable, "-c", SHARDED, str(tmp_path / "store"), str(rank)], env=environment)
        for rank in range(2)
    ]
    assert [process.wait(100) for process in processes] == [0, 0]
