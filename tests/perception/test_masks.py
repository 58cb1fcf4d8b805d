"""Multi-block masks, and the figures that tell a collapse."""

import pytest
import torch

from roadcast.perception.collapse import effective_rank, spread
from roadcast.perception.masks import multi_block_cells

GRID = (4, 8, 16)


def seen_and_hidden(blocks: int, scale: float, batch: int = 64, seed: int = 0):
    return multi_block_cells(batch, GRID, blocks, scale, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("blocks", "scale"), [(8, 0.15), (2, 0.7), (1, 1.0), (1, 0.01)])
def test_every_cell_is_either_seen_or_hidden_and_none_is_both(blocks, scale):
    seen, hidden = seen_and_hidden(blocks, scale)
    together = torch.cat([seen, hidden], dim=1).sort(dim=1).values
    assert torch.equal(together, torch.arange(128).expand(64, -1))
    assert seen.shape[1] == max(1, round(128 * (1 - scale) ** blocks))


def test_masks_are_a_function_of_the_generator_and_differ_from_clip_to_clip():
    seen, _ = seen_and_hidden(8, 0.15)
    assert torch.equal(seen, seen_and_hidden(8, 0.15)[0]) and not torch.equal(seen, seen_and_hidden(8, 0.15, seed=1)[0])
    assert len({tuple(sorted(row.tolist())) for row in seen}) > 60


def test_what_is_hidden_lies_in_blocks():
    """Neighbours of a hidden cell are hidden far more often than as many cells strewn at random would have it."""
    _, hidden = seen_and_hidden(2, 0.3)
    covered = torch.zeros(64, 128).scatter(1, hidden, 1.0).view(64, 8, 16)
    share = covered.mean()
    beside = (covered[:, :, 1:] * covered[:, :, :-1]).sum() / covered[:, :, :-1].sum()
    below = (covered[:, 1:] * covered[:, :-1]).sum() / covered[:, :-1].sum()
    assert beside > share + 0.2 and below > share + 0.2


def test_spread_and_rank_count_directions_that_clips_differ_in():
    directions = torch.linalg.qr(torch.randn(12, 3)).Q
    clips = torch.randn(16, 3)
    clips = torch.linalg.qr(clips - clips.mean(dim=0)).Q  # three patterns over clips, equally strong, of mean 0
    features = (clips @ directions.T)[:, None, None] + torch.randn(2, 5, 12)  # places differ at will
    assert effective_rank(features).item() == pytest.approx(3, abs=1e-3)
    assert spread(3 * features).item() == pytest.approx(3 * spread(features).item(), rel=1e-4)


def test_an_encoder_that_says_the_same_of_every_clip_has_collapsed():
    same = torch.randn(1, 2, 5, 12).expand(8, -1, -1, -1)
    assert spread(same) == 0 and effective_rank(same) == 0
