import cv2
import numpy as np
import pytest
import torch

from roadcast.config import InverseConfig
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.perception.inverse import InverseDynamics
from worlds import micro_config, random_world

LAG = 2


def drives(seed: int, clips: int = 4, frames: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures that turn by four pixels a frame at full steer, LAG frames after the command; the second control does nothing."""
    rng = np.random.default_rng(seed)
    videos, commands = [], rng.uniform(-1, 1, (clips, frames, 2)).astype(np.float32)
    for steer in commands[..., 0]:
        wall = cv2.GaussianBlur(rng.integers(0, 256, (32, 192, 3)).astype(np.float32), (0, 0), 2)
        wall = cv2.normalize(wall, wall, 0, 255, cv2.NORM_MINMAX)
        places = 64 - 4 * np.cumsum(np.concatenate([np.zeros(LAG), steer[:-LAG]]))
        moves = [np.array([[1, 0, -place], [0, 1, 0]], dtype=np.float32) for place in places]
        videos.append([cv2.warpAffine(wall, move, (64, 32)).astype(np.uint8) for move in moves])
    return torch.from_numpy(np.array(videos)), torch.from_numpy(commands)


def network(**changes) -> InverseDynamics:
    torch.manual_seed(0)
    return InverseDynamics(InverseConfig(**{"width": 8, "past": 1, "ahead": 3, **changes}), ("steer", "throttle"))


def test_it_learns_to_read_what_moved_the_picture_and_nothing_else():
    judge = network()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=4e-3)
    lessons = [drives(seed) for seed in range(10)]
    for step in range(40):
        frames, commands = lessons[step % 10]
        loss = (judge(frames) - commands[:, judge.told(12)] / judge.scale_A).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    frames, commands = drives(1000, clips=16)
    read, true = judge.read(frames), commands[:, judge.told(12)]
    steer, throttle = (np.corrcoef(read[..., a].ravel(), true[..., a].ravel())[0, 1] for a in range(2))
    assert steer > 0.95
    assert abs(throttle) < 0.3
    error, shuffled = ((read - x)[..., 0].abs().mean() for x in (true, true.roll(1, dims=0)))
    assert error < 0.3 * shuffled


@pytest.mark.parametrize(("past", "ahead"), [(0, 0), (1, 3), (2, 6)])
def test_a_command_is_told_from_its_window_alone(past, ahead):
    judge = network(past=past, ahead=ahead)
    frames = torch.randint(0, 256, (1, 14, 32, 64, 3), dtype=torch.uint8)
    told = judge.told(14)
    read = judge(frames)
    assert read.shape == (1, told.stop - told.start, 2)
    first = told.start
    assert first == past + 1
    changed = frames.clone()
    changed[:, first + ahead + 1 :] = 0
    torch.testing.assert_close(judge(changed)[:, 0], read[:, 0])
    changed[:, first + ahead] = 0
    assert (judge(changed)[:, 0] - read[:, 0]).abs().max() > 1e-5


def test_brightness_and_contrast_hardly_change_what_is_read():
    judge, (frames, _) = network(), drives(0, clips=2)
    pale = (frames * 0.6 + 40).round().to(torch.uint8)
    normal, paler = judge(frames), judge(pale)
    assert (normal - paler).abs().max() < 0.1 * normal.abs().max()


def test_a_world_has_a_judge_only_where_it_is_asked_for(tmp_path):
    assert random_world().inverse is None
    world = random_world(micro_config(inverse__width=8))
    world.save(tmp_path)
    frames, _ = drives(0, clips=1)
    kept = World.load(tmp_path).inverse
    torch.testing.assert_close(kept.read(frames), world.inverse.read(frames))
    with pytest.raises(UserError, match=r"inverse\.ahead = -1"):
        micro_config(inverse__ahead=-1)
