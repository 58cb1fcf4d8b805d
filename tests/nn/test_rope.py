import torch

from roadcast.nn.rope import grid_positions, rope_tables, rotate


def test_scores_depend_on_the_difference_of_positions_alone():
    q, k = torch.randn(2, 1, 16)
    positions = torch.tensor([[3.0, 5.0], [7.0, 1.0]])
    shifted = positions + torch.tensor([100.0, -40.0])

    def score(places):
        cos, sin = rope_tables(places, 16)
        return rotate(q, (cos[:1], sin[:1])) @ rotate(k, (cos[1:], sin[1:])).T

    torch.testing.assert_close(score(positions), score(shifted), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(score(positions), score(positions * torch.tensor([1.0, 2.0])), atol=1e-3)


def test_rotation_keeps_length_and_leaves_the_origin_alone():
    x = torch.randn(6, 12)
    tables = rope_tables(grid_positions(2, 2, extra=2), 12)
    y = rotate(x, tables)
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(y[[0, 4, 5]], x[[0, 4, 5]])
    assert not torch.allclose(y[3], x[3])


def test_three_axes_share_a_head():
    cos, _ = rope_tables(torch.rand(5, 3), 24)
    assert cos.shape == (5, 12)
