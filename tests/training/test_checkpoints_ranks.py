"""States on several processes (gloo): saved by two with FSDP2's shards, by a pipeline and by one; loaded by one, two and four."""

import os
import socket
import subprocess
import sys

import pytest
import torch

from roadcast.training.checkpoints import Checkpoints
from roadcast.training.ema import EMA
from roadcast.training.state import TrainingState

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")

COMMON = """
import errno, os, sys
from pathlib import Path
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from roadcast.training.checkpoints import Checkpoints, checkpoints as module
from roadcast.training.ema import EMA, local
from roadcast.training.state import TrainingState

torch.set_num_threads(1)
folder, rank, ranks = Path(sys.argv[1]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])

def layers():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 10), torch.nn.Tanh(), torch.nn.Linear(10, 3))  # 3 rows on 2 or 4 ranks: uneven

def state_of(model):
    return TrainingState(model, [torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)], EMA(model, 0.9))

def sharded():
    model = layers()
    fully_shard(model, mesh=init_device_mesh("cpu", (ranks,)))
    return state_of(model)

def train(state, first, last):
    for step in range(first, last):
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        state.optimizers[0].zero_grad()
        state.model(x).square().mean().backward()
        state.optimizers[0].step()
        state.ema.update(state.model)

def whole(tensors):
    return {n: whole(v) if isinstance(v, dict) else v.full_tensor() if isinstance(v, DTensor) else v for n, v in tensors.items()}

def opened(name, **options):
    return Checkpoints(folder / name, keep=1, report=print, **options)

dist.init_process_group("gloo")
"""

TWO = (
    COMMON
    + """
state = sharded()
train(state, 0, 3)
own = {name: local(value).clone() for name, value in state.model.state_dict().items()}
x = torch.ones(1, 6)
with state.ema.swapped_into(state.model):
    averaged = state.model(x)  # which leaves FSDP's parameters unsharded
assert all(torch.equal(local(value), own[name]) for name, value in state.model.state_dict().items())
twin = layers()
twin.load_state_dict({name: value.full_tensor() for name, value in state.ema.average.items()})
torch.testing.assert_close(averaged, twin(x))

for name, background in (("sharded", False), ("background", True)):
    checkpoints = opened(name, background=background)
    state.save(checkpoints, 3, {})
    checkpoints.wait()
expected = whole(state.tensors())
if rank == 0:
    torch.save(expected, folder / "expected.pt")
train(state, 3, 5)

again = sharded()
assert again.restore(checkpoints, checkpoints.latest()) == {"step": 3, "ema_updates": 3}
train(again, 3, 5)
for name, value in state.model.state_dict().items():
    assert torch.equal(local(again.model.state_dict()[name]), local(value)), name

checkpoints = opened("sharded")  # a file that only one rank verifies
shard = folder / "sharded" / "step-00000003" / "__1_0.distcp"
content = shard.read_bytes()
dist.barrier()
if rank == 0:
    shard.write_bytes(content[:-1])
dist.barrier()
try:
    checkpoints.latest()
    raise AssertionError("damage was not found")
except ValueError as error:
    assert "__1_0.distcp is damaged" in str(error), error
dist.barrier()
if rank == 0:
    shard.write_bytes(content)
dist.barrier()

write = module.write
def failing(tensors, beside, group):
    if rank == 1:
        beside = beside / "facts.json"  # a folder that cannot be, as a file is there
        beside.touch()
    write(tensors, beside, group)
module.write = failing
try:
    state.save(checkpoints, 4, {})
    raise AssertionError("a failure on one rank was not told")
except OSError as error:
    assert error.errno == errno.EEXIST, error
module.write = write
assert checkpoints.latest().step == 3 and not list((folder / "sharded").glob("*4*")) + list((folder / "sharded").glob(".*"))

stage = layers()  # a pipeline: either rank holds one layer, under its name in the whole model, and saves what one process would
stage[2 - 2 * rank] = torch.nn.Identity()
with torch.no_grad():
    for parameter in stage.parameters():
        parameter.fill_(rank)
pipelined = state_of(stage)
(sum(p.square().sum() for p in stage.parameters()) * 0.5).backward()
pipelined.optimizers[0].step()
checkpoints = opened("pipelined")
pipelined.save(checkpoints, 1, {})
for parameter in stage.parameters():
    torch.nn.init.zeros_(parameter)
pipelined.restore(checkpoints, checkpoints.latest())
assert all(abs(p - 0.99 * rank).max() < 0.01 for p in stage.parameters())
dist.destroy_process_group()
"""
)

FOUR = (
    COMMON
    + """
state, checkpoints = sharded(), opened("sharded")
state.restore(checkpoints, checkpoints.latest())
ours, theirs = whole(state.tensors()), torch.load(folder / "expected.pt")
for part in ("model", "ema"):
    assert all(torch.equal(ours[part][name], value) for name, value in theirs[part].items())
for name, slots in theirs["optimizer"].items():
    assert all(torch.equal(ours["optimizer"][name][slot], value) for slot, value in slots.items())
dist.destroy_process_group()
"""
)


def spawn(script: str, ranks: int, folder, port: int) -> None:
    """Run a script on `ranks` processes that know each other as torchrun's do."""
    common = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", script, str(folder)],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(ranks)
    ]  # fmt: skip
    said = [process.communicate()[0] for process in processes]
    assert not any(process.returncode for process in processes), "\n".join(said)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def same(ours, theirs) -> bool:
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[name], value) for name, value in theirs.items())
    return torch.equal(ours, theirs)


def plain_state() -> TrainingState:
    model = torch.nn.Sequential(torch.nn.Linear(6, 10), torch.nn.Tanh(), torch.nn.Linear(10, 3))
    return TrainingState(model, [torch.optim.AdamW(model.parameters(), fused=True)], EMA(model, 0.9))


@pytest.mark.slow
def test_a_state_of_two_ranks_is_that_of_one_and_of_four(tmp_path):
    """FSDP2 on two ranks resumes to the bit, one rank's failure is all ranks', a damaged shard is named; others load the same."""
    spawn(TWO, 2, tmp_path, free_port())
    expected = torch.load(tmp_path / "expected.pt", weights_only=True)
    for name in ("sharded", "background"):
        checkpoints, plain = Checkpoints(tmp_path / name, keep=1, report=print), plain_state()
        plain.restore(checkpoints, checkpoints.latest())
        assert same(plain.tensors(), expected)
    checkpoints, plain = Checkpoints(tmp_path / "pipelined", keep=1, report=print), plain_state()
    plain.restore(checkpoints, checkpoints.latest())
    assert plain.tensors()["optimizer"].keys() == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert plain.model[0].weight.abs().max() == 0 and (plain.model[2].weight - 0.99).abs().max() < 0.01
    spawn(FOUR, 4, tmp_path, free_port())
