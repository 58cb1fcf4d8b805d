import pytest
import torch
from torch import Tensor

from roadcast.config import override
from roadcast.data.clip import Clip
from roadcast.dynamics.model import Block
from roadcast.flow.world import World
from roadcast.nn.causal_conv import Stream
from roadcast.objectives import Objective, build_objective
from roadcast.parallel import apply
from roadcast.parallel.remat import apply_remat
from roadcast.safetensors import load_tensors
from roadcast.training import run
from roadcast.training.live_bytes import LiveBytes
from worlds import micro_config, random_actions, random_world

STAGES = ("tokenizer", "dynamics")


def same_world() -> World:
    """The same random weights, biases too, whenever it is called; and the same chance from there on."""
    torch.manual_seed(0)
    return random_world()


def objective_of(stage: str, mode: str) -> tuple[Objective, Clip]:
    """The objective of a micro world's stage under a mode, and a clip of eight frames for it."""
    world = same_world().train()
    objective = build_objective(world.config.train[stage].objective, world, {})
    apply_remat(objective.trained, mode)
    generator = torch.Generator().manual_seed(0)
    actions, known = random_actions(2, 8)
    zeros = torch.zeros(2, dtype=torch.int64)
    return objective, Clip(
        frames_BFHWC=torch.randint(0, 256, (2, 8, world.height, world.width, 3), generator=generator).to(torch.uint8),
        z_BTHWC=torch.randn(2, 8, 2, 4, 4, generator=generator),
        actions_BFA=actions,
        known_BFA=known,
        t_ns_BF=torch.zeros(2, 8, dtype=torch.int64),
        video_B=zeros,
        first_B=zeros,
    )


def loss_and_gradients(objective: Objective, clip: Clip) -> list[Tensor | None]:
    loss, _ = objective.loss(clip, torch.Generator().manual_seed(0))
    loss.backward()
    return [loss.detach(), *(p.grad for p in objective.trained.parameters())]


def same(ours: list[Tensor | None], theirs: list[Tensor | None]) -> bool:
    pairs = list(zip(ours, theirs, strict=True))
    assert any(a is not None and a.any() for a in ours)
    return all(b is None if a is None else b is not None and torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("stage", STAGES)
def test_losses_and_gradients_are_the_same_bits(stage):
    plain = loss_and_gradients(*objective_of(stage, "none"))
    for mode in ("selective", "block"):
        assert same(loss_and_gradients(*objective_of(stage, mode)), plain), mode


@pytest.mark.parametrize("stage", STAGES)
def test_less_is_kept_for_the_backward_pass(stage):
    kept = {}
    for mode in ("none", "selective", "block"):
        objective, clip = objective_of(stage, mode)
        with LiveBytes() as live:
            loss = objective.loss(clip, torch.Generator().manual_seed(0))[0]
            kept[mode] = live.now
        assert loss.requires_grad
    assert kept["none"] > kept["selective"] > kept["block"]


@pytest.mark.parametrize("mode", ["selective", "block"])
def test_weights_keep_their_names(mode):
    world, names = random_world(), list(random_world().state_dict())
    apply_remat(world, mode)
    assert list(world.state_dict()) == names


@pytest.mark.parametrize("mode", ["selective", "block"])
def test_a_clip_read_in_pieces_hands_on_its_past_and_its_gradients(mode):
    def pieces(world: World) -> list[Tensor | None]:
        stream = Stream()
        frames = torch.randint(0, 256, (1, 5, 32, 64, 3), generator=torch.Generator().manual_seed(0))
        z = torch.cat([world.tokenizer.encode_raw(piece, stream) for piece in frames.split(2, dim=1)], dim=1)
        z.square().sum().backward()
        return [z.detach(), *stream.past, *(p.grad for p in world.tokenizer.encoder.parameters())]

    world = same_world()
    apply_remat(world, mode)
    assert same(pieces(world), pieces(same_world()))


@pytest.mark.parametrize("mode", ["selective", "block"])
def test_a_rollout_that_moves_on_keeps_its_gradients(mode):
    """The cache has changed by the time of the backward pass: blocks that read it must not read it again then."""

    def ahead(world: World) -> list[Tensor | None]:
        actions, known = random_actions(1, 8)
        rollout = world.rollout(steps=1)
        state = rollout.start(torch.randn(1, 6, 2, 4, 4), actions[:, :6], known[:, :6], [0])
        made = [rollout.step(state, actions[:, f : f + 1], known[:, f : f + 1]) for f in (6, 7)]
        torch.cat(made).square().sum().backward()
        return [made[1].detach(), *(p.grad for p in world.dynamics.parameters())]

    world = same_world()
    apply_remat(world, mode)
    ours = ahead(world)
    assert same(ours, ahead(same_world()))


def test_a_stage_is_trained_in_its_mode_to_the_same_weights(toy_reel, tmp_path, monkeypatch):
    modes = []
    monkeypatch.setattr(apply, "apply_remat", lambda module, mode: (modes.append(mode), apply_remat(module, mode)))
    config = override(micro_config(), [f"data.reel={toy_reel}", "train.tokenizer.steps=1", "train.dynamics.steps=2"])
    again = override(config, ["train.dynamics.remat=block"])
    plain, remat = (
        load_tensors(run.train(chosen, tmp_path / name, report=lambda *_: None) / "weights.safetensors")
        for name, chosen in {"plain": config, "remat": again}.items()
    )
    assert modes == ["none", "none", "none", "block"]
    assert all(torch.equal(plain[name], remat[name]) for name in plain | remat)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["selective", "block"])
def test_compiled_block_by_block_the_gradients_are_the_same(mode):
    plain = loss_and_gradients(*objective_of("dynamics", "none"))
    objective, clip = objective_of("dynamics", mode)
    for block in objective.trained.blocks:
        assert isinstance(block, Block)
        block.compile(backend="aot_eager")
    assert same(loss_and_gradients(objective, clip), plain)
