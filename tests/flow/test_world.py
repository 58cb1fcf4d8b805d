import json

import pytest
import torch

from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.presets import PRESETS
from roadcast.safetensors import load_tensors, save_tensors
from worlds import micro_config, random_actions, random_world


def test_a_saved_world_comes_back_whole(tmp_path):
    world = random_world()
    world.save(tmp_path / "world")
    again = World.load(tmp_path / "world")
    assert again.config == world.config
    assert all(torch.equal(a, b) for a, b in zip(world.state_dict().values(), again.state_dict().values(), strict=True))


def test_a_world_saved_in_half_precision_is_loaded_as_float32(tmp_path):
    world = random_world()
    world.save(tmp_path, torch.float16)
    assert all(x.dtype == torch.float16 for x in load_tensors(tmp_path / "weights.safetensors").values())
    for again, exact in zip(World.load(tmp_path).state_dict().values(), world.state_dict().values(), strict=True):
        assert torch.equal(again, exact.half().float())


def test_other_shapes_and_damaged_files_are_named(tmp_path):
    random_world().save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["dynamics"]["width"] = 64
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"tensor dynamics\.\w+.* in the file and .* in the configured model"):
        World.load(tmp_path)
    whole = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        World.load(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        World.load(tmp_path / "nowhere")


@torch.no_grad()
def test_a_world_told_of_steps_takes_over_from_one_that_is_not():
    """It begins as the same function, whatever the step; anything else that is missing, or too much, is named."""
    old, new = random_world(), World(micro_config(dynamics__step_embedding=True)).eval()
    new.take_over(old)
    frames = torch.randint(0, 256, (1, 4, 32, 64, 3), dtype=torch.uint8)
    assert torch.equal(*(world.imagine(frames, *random_actions(1, 7), [0], steps=2) for world in (old, new)))
    new.dynamics.embed_step[2].bias.fill_(0.5)
    again = World(micro_config(dynamics__step_embedding=True))
    again.take_over(new)
    assert (again.dynamics.embed_step[2].bias == 0.5).all()
    with pytest.raises(UserError, match=r"tensor embed_step\S+ is .* in the file and absent"):
        old.take_over(new)
    del old.dynamics.embed_noise[0].bias
    old.dynamics.embed_noise[0].register_parameter("bias", None)
    with pytest.raises(UserError, match=r"tensor embed_noise\.0\.bias is absent in the file"):
        new.take_over(old)


def test_the_file_format_is_the_public_one(tmp_path):
    public = pytest.importorskip("safetensors.torch")
    tensors = {
        "a": torch.randn(3, 4),
        "b.half": torch.randn(5).half(),
        "c": torch.arange(6).view(2, 3),
        "d": torch.tensor(True),
        "e": torch.randn(2, 2).bfloat16(),
        "none": torch.zeros(0, 3),
    }
    save_tensors(tmp_path / "ours", tensors, {"kind": "test"})
    public.save_file(tensors, tmp_path / "theirs")
    for name, value in tensors.items():
        assert torch.equal(public.load_file(tmp_path / "ours")[name], value)
        assert torch.equal(load_tensors(tmp_path / "theirs")[name], value)


@pytest.mark.parametrize("time_stride", [1, 2])
def test_imagine_makes_the_horizon_and_depends_on_the_commands(time_stride):
    world = random_world(micro_config(tokenizer__time_stride=time_stride))
    frames = torch.randint(0, 256, (2, 4, 32, 64, 3), dtype=torch.uint8)
    actions, known = random_actions(2, 10)
    made = world.imagine(frames, actions, known, [0, 1])
    assert made.shape == (2, 6, 32, 64, 3) and made.dtype == torch.uint8
    later = actions.clone()
    later[:, -time_stride:] += 3
    other = world.imagine(frames, later, torch.ones_like(known), [0, 1])
    base = world.imagine(frames, actions, torch.ones_like(known), [0, 1])
    assert torch.equal(base[:, :-time_stride], other[:, :-time_stride]) and not torch.equal(base, other)
    with pytest.raises(UserError, match="time_stride 4"):
        random_world(micro_config(tokenizer__time_stride=4)).imagine(frames, actions, known, [0, 1])


@pytest.mark.parametrize(("name", "millions"), [("tiny", 8), ("small", 40), ("base", 150), ("large", 500)])
def test_presets_have_the_size_they_promise(name, millions):
    with torch.device("meta"):
        world = World(PRESETS[name]().validate())
    count = sum(p.numel() for p in world.parameters()) / 1e6
    assert abs(count / millions - 1) < 0.15, count
