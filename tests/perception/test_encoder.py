"""The encoder of videos: what reaches it, through which cells, and how its features are pooled."""

import pytest
import torch

from roadcast.config import FeaturesConfig
from roadcast.errors import UserError
from roadcast.perception.encoder import VideoEncoder, pick, pooled

CONFIG = FeaturesConfig(depth=2, width=24, heads=2, patch=8, tubelet=2)


def encoder() -> VideoEncoder:
    torch.manual_seed(0)
    return VideoEncoder(CONFIG)


def video(batch: int = 2, frames: int = 4, seed: int = 0) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, frames, 16, 32, 3), dtype=torch.uint8, generator=chance)


def test_bytes_and_floats_of_one_picture_give_the_same_features():
    frames, network = video(), encoder()
    features = network(frames)
    assert features.shape == (2, 2, 8, 24) and network.grid(frames) == (2, 2, 4)
    torch.testing.assert_close(features, network(frames.float() / 127.5 - 1))


def test_seeing_all_cells_in_any_order_is_seeing_the_clip_whole():
    frames, network = video(), encoder()
    order = torch.stack([torch.randperm(8), torch.randperm(8)])
    torch.testing.assert_close(network(frames, order), pick(network(frames), order), atol=1e-5, rtol=1e-4)


def test_no_pixel_of_a_hidden_cell_reaches_the_features():
    frames = (video().float() / 127.5 - 1).requires_grad_(True)
    cells = torch.tensor([[0, 5], [7, 2]])
    encoder()(frames, cells).square().sum().backward()
    assert frames.grad is not None
    touched = frames.grad.abs().sum(dim=-1).unflatten(2, (2, 8)).unflatten(4, (4, 8)).sum(dim=(3, 5)).flatten(2)
    for clip, seen in enumerate(cells.tolist()):
        assert [cell for cell in range(8) if touched[clip, :, cell].any()] == sorted(seen)
        assert (touched[clip][:, seen] > 0).all(), "a seen cell is seen at all times"


def test_features_know_where_and_when_things_are():
    """Tokens are no bag: the same tubelets at other distances from each other give other features."""
    frames, network = video(1), encoder()
    near, far = (network(frames, torch.tensor([[0, cell]]))[:, :, 0] for cell in (1, 7))
    frames[:, :, 8:, 24:] = frames[:, :, :8, 8:16]  # cell 7 shows what cell 1 does
    moved = network(frames, torch.tensor([[0, 7]]))[:, :, 0]
    assert not torch.allclose(near, moved, atol=1e-4) and not torch.allclose(far, moved, atol=1e-4)
    swapped = network(frames.roll(CONFIG.tubelet, dims=1)).roll(1, dims=1)  # the second tubelet before the first
    assert not torch.allclose(swapped, network(frames), atol=1e-4)


def test_pooling_keeps_times_and_fields_of_the_picture_apart():
    features = torch.arange(8.0).view(1, 1, 8, 1) + torch.tensor([0.0, 100.0]).view(1, 2, 1, 1)
    assert pooled(features, (2, 2, 4)).tolist() == [[3.5, 103.5]]
    assert pooled(features, (2, 2, 4), 2, 2).tolist() == [[0.5, 2.5, 4.5, 6.5, 100.5, 102.5, 104.5, 106.5]]


@pytest.mark.parametrize("shape", [(1, 3, 16, 32, 3), (1, 4, 12, 32, 3), (1, 4, 16, 36, 3)])
def test_frames_that_tubelets_do_not_fill_are_refused(shape):
    with pytest.raises(UserError, match="do not fill tubelets of 2 frames and 8x8 pixels"):
        encoder()(torch.zeros(shape))
