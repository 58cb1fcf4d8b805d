import cv2
import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from roadcast.perception.flow import backward_flow, seen_in_both

WALL = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (64, 300, 3)).astype(np.float32), (0, 0), 3)
WALL = ((WALL - WALL.min()) / np.ptp(WALL) * 255).astype(np.uint8)


def pan(pixels: int, frames: int = 4, height: int = 64, width: int = 128) -> torch.Tensor:
    """uint8 [F, H, W, 3]: the picture moves right by so many pixels a frame."""
    return torch.from_numpy(np.stack([WALL[:height, 80 - pixels * f : 80 - pixels * f + width] for f in range(frames)]))


def test_the_flow_of_each_clip_leads_back_to_the_frame_before():
    flow, seen = backward_flow(torch.stack([pan(3), pan(-2)]))
    assert flow.shape == (2, 3, 64, 128, 2) and seen.shape == (2, 3, 64, 128)
    middle = flow[:, :, 16:48, 32:96].mean(dim=(1, 2, 3))
    torch.testing.assert_close(middle, torch.tensor([[-3.0, 0.0], [2.0, 0.0]]), atol=0.2, rtol=0)


def test_what_came_into_the_picture_was_not_seen_before():
    seen = backward_flow(pan(6)[None])[1][0]
    assert not seen[:, :, :4].any() and seen[:, 16:48, 32:96].float().mean() > 0.95


def test_flows_that_disagree_are_not_trusted():
    there, back = np.full((8, 16, 2), 1.0, np.float32), np.full((8, 16, 2), -1.0, np.float32)
    assert seen_in_both(there, back)[2:, 2:].all() and not seen_in_both(there, -back).any()


def test_the_flow_has_a_shape_before_it_has_numbers():
    with FakeTensorMode():
        flow, seen = backward_flow(torch.zeros(2, 5, 16, 32, 3, dtype=torch.uint8))
    assert flow.shape == (2, 4, 16, 32, 2) and flow.dtype == torch.float32
    assert seen.shape == (2, 4, 16, 32) and seen.dtype == torch.bool
