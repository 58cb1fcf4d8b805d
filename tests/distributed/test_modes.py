"""Every way to spread training over processes against one process: the same losses, gradients and weights.

Real processes over gloo, in float32; all modes of one number of processes run in one start of them.
"""

import multiprocessing
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

from roadcast.config import ComputeConfig
from roadcast.data.clip import Clip
from roadcast.objectives import build_objective
from roadcast.parallel.apply import parallelise
from roadcast.parallel.mesh import join, leave
from worlds import micro_config, random_actions, random_world

STEPS, MICROS, FRAMES = 3, 4, 4


@dataclass
class Mode:
    """How a stage is spread, and what is trained by it."""

    processes: int
    spread: dict = field(default_factory=dict)
    objective: str = "diffusion_forcing"
    options: dict = field(default_factory=dict)
    dynamics: dict = field(default_factory=dict)
    remat: str = "none"


ROLES = {
    "context": 2,
    "window": 1,
    "steps": 3,
    "critic_steps": 2,
}  # teacher, student and critic; of two frames made one is judged
SCORES = ROLES | {
    "matching": 0.0,
    "identity": 1.0,
    "adversarial": 0.1,
}  # gradients through frozen networks, a discriminator besides
LEARNING = ROLES | {"teacher_learns": 1}
OWN = {"context": 2, "share_from": 0.3, "share_to": 0.7}
FULL = {"attention": "full", "time_every": 2, "sink_frames": 1}
MODES = {
    "DDP": Mode(2),
    "DDP, tokenizer": Mode(2, objective="tokenizer", options={"equivariance": 0.5}),
    "DDP, adversary that speaks late": Mode(
        2, objective="tokenizer", options={"adversarial": 0.5, "adversarial_from": 5}
    ),
    "FSDP": Mode(2, {"shard": 2}),
    "FSDP, remat": Mode(2, {"shard": 2}, remat="block"),
    "FSDP, tokenizer": Mode(2, {"shard": 2}, objective="tokenizer", options={"equivariance": 0.5}, remat="block"),
    "pipeline": Mode(2, {"pipeline": 2}, dynamics={"difference_target": True}),
    "pipeline, teacher forcing": Mode(2, {"pipeline": 2}, objective="teacher_forcing", remat="block"),
    "pipeline, tokenizer": Mode(2, {"pipeline": 2}, objective="tokenizer"),
    "context": Mode(2, {"context": 2}, dynamics={"difference_target": True}),
    "context, full attention, sinks": Mode(2, {"context": 2}, dynamics=FULL, remat="selective"),
    "context, tokenizer": Mode(2, {"context": 2}, objective="tokenizer"),
    "DDP of 4": Mode(4),
    "HSDP": Mode(4, {"shard": 2}),
    "FSDP of 4": Mode(4, {"shard": 4}),
    "pipeline of 4": Mode(4, {"pipeline": 4}),
    "pipeline x DDP": Mode(4, {"pipeline": 2}),
    "pipeline x FSDP": Mode(4, {"pipeline": 2, "shard": 2}),
    "pipeline x context": Mode(4, {"pipeline": 2, "context": 2}),
    "context x DDP": Mode(4, {"context": 2}),
    "context x FSDP": Mode(4, {"context": 2, "shard": 2}, remat="block"),
    "context of 4": Mode(4, {"context": 4}),
    "DDP, roles": Mode(2, objective="self_forcing", options=ROLES),
    "FSDP, roles": Mode(2, {"shard": 2}, objective="self_forcing", options=ROLES),
    "FSDP, roles, frozen ones off-loaded": Mode(2, {"shard": 2, "offload": True}, "self_forcing", ROLES, remat="block"),
    "DDP, scores": Mode(2, objective="self_forcing", options=SCORES),
    "FSDP, scores": Mode(2, {"shard": 2}, objective="self_forcing", options=SCORES, remat="block"),
    "FSDP, a teacher that learns": Mode(2, {"shard": 2}, objective="self_forcing", options=LEARNING),
    "HSDP, roles": Mode(4, {"shard": 2}, objective="self_forcing", options=ROLES),
    "FSDP, consistency": Mode(2, {"shard": 2, "offload": True}, objective="consistency"),
    "FSDP, self-made pasts": Mode(2, {"shard": 2}, objective="self_context", options=OWN),
}


def clip(number: int) -> Clip:
    """Micro-batch `number`: two clips, pixels and latents."""
    generator = torch.Generator().manual_seed(number)
    actions, known = random_actions(2, FRAMES, seed=number)
    zeros = torch.zeros(2, dtype=torch.int64)
    return Clip(
        frames_BFHWC=torch.randint(0, 256, (2, FRAMES, 32, 64, 3), generator=generator).to(torch.uint8),
        z_BTHWC=torch.randn(2, FRAMES, 2, 4, 4, generator=generator),
        actions_BFA=actions,
        known_BFA=known,
        t_ns_BF=torch.zeros(2, FRAMES, dtype=torch.int64),
        video_B=zeros,
        first_B=zeros,
    )


@dataclass
class Result:
    """What a rank saw: terms by step, the last of a held-out clip; norms by step; on the main one first gradients, last weights."""

    terms: list[dict[str, float]]
    norms: list[float]
    gradients: dict[str, Tensor] | None
    weights: dict[str, Tensor] | None


def train(mode: Mode) -> Result:
    """A few steps of AdamW under a mode, on as many processes as there are."""
    compute = ComputeConfig(precision="float32", **(mode.spread if os.environ.get("WORLD_SIZE") else {}))
    mesh = join(compute, "cpu")
    torch.manual_seed(0)
    config = micro_config(**{f"dynamics__{name}": value for name, value in mode.dynamics.items()})
    stage = config.train["dynamics"]
    stage.objective, stage.accumulate, stage.remat = mode.objective, MICROS, mode.remat
    objective = build_objective(mode.objective, random_world(config).train(), mode.options)
    engine = parallelise(objective, stage, compute, mesh, torch.float32)
    # Small gradients are rounding, which an `eps` below them would make steps of.
    optimizer = torch.optim.AdamW(engine.model.parameters(), lr=1e-3, eps=1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    rows, norms, gradients = [], [], None
    for step in range(STEPS):
        optimizer.zero_grad()
        objective.at(step, STEPS)
        numbers = range(step * MICROS + mesh.data_rank, (step + 1) * MICROS, mesh.data_ranks)
        rows.append(engine.gradients([(clip(n), torch.Generator().manual_seed(n)) for n in numbers], scaler))
        norms.append(float(engine.norm()) / 16)
        for parameter in engine.model.parameters():
            if parameter.grad is not None:
                parameter.grad /= 16
        if step == 0:
            found = {name: p.grad for name, p in engine.model.named_parameters() if p.grad is not None}
            gradients = engine.whole(found)
        optimizer.step()
    rows.append(engine.evaluate(clip(-1), torch.Generator().manual_seed(0)))
    terms = [{name: float(mesh.mean(value)) for name, value in row.items()} for row in rows]
    return Result(terms, norms, gradients, engine.whole(engine.model.state_dict()))


def on_one_rank(rank: int, size: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    results = {name: train(mode) for name, mode in MODES.items() if mode.processes == size}
    torch.save(results, f"{folder}/{rank}.pt")
    leave()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> dict[int, list[dict[str, Result]]]:
    """By number of processes, the results of each rank by mode; a number is started when a test first asks for it."""
    return Started(tmp_path_factory)


class Started(dict):
    def __init__(self, tmp_path_factory):
        super().__init__()
        self.tmp_path_factory = tmp_path_factory

    def __missing__(self, size: int) -> list[dict[str, Result]]:
        folder = self.tmp_path_factory.mktemp("modes")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch:
            for path in (
                Path(__file__).parents[2],
                Path(__file__).parents[1],
            ):  # where a new process finds this and worlds.py
                patch.syspath_prepend(path)
            multiprocessing.set_forkserver_preload(["pytest", "roadcast.parallel.apply", "roadcast.objectives"])
            mp.start_processes(on_one_rank, (size, port, str(folder)), nprocs=size, start_method="forkserver")
        self[size] = [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]
        return self[size]


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("name", MODES)
def test_several_processes_equal_one(ranks, name):
    """Terms, norms and gradients within 1e-5 (relative, or absolute where they are small), weights after three steps of AdamW, which
    divides by small numbers, within 1e-4."""
    mode = MODES[name]
    several, one = [rank[name] for rank in ranks[mode.processes]], train(mode)
    assert all(result.terms == several[0].terms and result.norms == several[0].norms for result in several)
    for ours, theirs in zip(several[0].terms, one.terms, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    assert several[0].norms == pytest.approx(one.norms, rel=1e-5)
    assert all(result.weights is None and result.gradients is None for result in several[1:])
    assert several[0].gradients and several[0].weights and one.gradients and one.weights
    assert max(float(g.abs().max()) for g in one.gradients.values()) > 1e-2
    same(several[0].gradients, one.gradients, 1e-5)
    same(several[0].weights, one.weights, 1e-4)
