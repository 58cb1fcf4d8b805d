import pytest
import torch
from torch import Tensor

from roadcast.data.toyroad import Driver, ToyWorld
from roadcast.errors import UserError
from roadcast.evaluation.metrics.depth import depth_errors
from roadcast.nn.depth_pro import DepthPro, Shape
from roadcast.perception.depth import FARTHEST, NEAREST, WEIGHTS, DepthNet, load_depth
from roadcast.safetensors import save_tensors

MICRO = Shape(width=32, depth=2, heads=2, side=32, patch=4, taps=(0, 1), channels=(8, 12, 16, 16), features=16)


def drawn(seed: int, height: int = 64, steps: int = 30) -> tuple[Tensor, Tensor]:
    """A frame uint8 [H, 2 H, 3] of a world that was never trained on, and its true depth."""
    world, driver = ToyWorld(seed, height, 2 * height), Driver(seed)
    for _ in range(steps):
        world.step(*driver.act(world))
    return torch.from_numpy(world.render()), torch.from_numpy(world.depth())


def test_it_is_small_on_the_disk_and_in_memory():
    assert sum(p.numel() for p in DepthNet().parameters()) <= 250_000
    assert WEIGHTS.stat().st_size < 600_000


def test_it_tells_the_depth_of_worlds_it_has_never_seen():
    frames, true = (torch.stack(part) for part in zip(*(drawn(seed) for seed in range(30_000, 30_006)), strict=True))
    model = load_depth()
    errors = depth_errors(model(frames).numpy(), true.numpy())
    upside_down = depth_errors(model(frames.flip(1)).flip(1).numpy(), true.numpy())
    assert errors.abs_rel < 0.2 and errors.delta > 0.85 and errors.silog < 0.35, errors
    assert upside_down.abs_rel > 2 * errors.abs_rel, "what it says must come from the picture"


def test_depth_is_of_the_frames_shape_and_within_its_bounds_and_hardly_hangs_on_the_pictures_size():
    model = load_depth()
    large, small = (drawn(30_000, height)[0] for height in (128, 64))
    deep, shallow = model(large), model(small)
    assert deep.shape == (128, 256) and deep.min() >= NEAREST and deep.max() <= FARTHEST
    halves = deep[::2, ::2].log() - shallow.log()
    assert halves.abs().median() < 0.05
    assert model(large[None, None, :100, :90]).shape == (1, 1, 100, 90)


def test_frames_in_bytes_and_in_floats_are_told_alike_and_alone_as_together():
    model = load_depth()
    frames = torch.stack([drawn(seed)[0] for seed in (30_000, 30_001)])[None]
    told = model(frames)
    torch.testing.assert_close(model.network(frames.float() / 127.5 - 1), told, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model(frames[0, 1]), told[0, 1], rtol=1e-4, atol=1e-4)


def test_weights_are_frozen_and_gradients_reach_the_frames():
    network = load_depth().network
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    frames = torch.rand(1, 64, 128, 3, requires_grad=True)
    network(frames).log().mean().backward()
    assert frames.grad is not None and torch.isfinite(frames.grad).all() and frames.grad.abs().max() > 0


def test_depth_pro_comes_from_either_kind_of_file_and_bears_the_files_identity(tmp_path, monkeypatch):
    whole = DepthPro.from_tensors
    monkeypatch.setattr(DepthPro, "from_tensors", lambda tensors: whole(tensors, MICRO))
    tensors = DepthPro(MICRO).state_dict()
    torch.save(tensors, tmp_path / "depth_pro.pt")
    save_tensors(tmp_path / "depth_pro.safetensors", tensors)
    one, other = (load_depth(tmp_path / name) for name in ("depth_pro.pt", "depth_pro.safetensors"))
    frames = torch.randint(0, 256, (2, 48, 64, 3), dtype=torch.uint8)
    assert one(frames).shape == (2, 48, 64) and torch.equal(one(frames), other(frames))
    assert one.identity.startswith("depth-pro/") and one.identity != other.identity
    assert load_depth().identity.startswith("depthnet-toyroad/")


def test_files_that_are_not_depth_pro_are_told_with_the_first_tensor_that_is_wrong(tmp_path):
    with pytest.raises(UserError, match=r"absent\.pt: no such file"):
        load_depth(tmp_path / "absent.pt")
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(
        UserError, match=r"other\.pt: is not Depth Pro's checkpoint \(weight encoder\.patch_encoder\.cls_token"
    ):
        load_depth(tmp_path / "other.pt")
    (tmp_path / "broken.pt").write_bytes(b"\x80\x02nonsense")
    with pytest.raises(UserError, match=r"broken\.pt: is not Depth Pro's checkpoint"):
        load_depth(tmp_path / "broken.pt")
