import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from roadcast.nn.rope import RopeScaling, grid_positions, rope_tables, rotate


def first_version(positions, head_dim):
    """The tables that the first checkpoints were trained with: equal shares."""
    share = head_dim // 2 // positions.shape[-1]
    frequency = 100.0 ** (-torch.arange(share, dtype=torch.float32) / share)
    angle = (positions.float()[..., None] * frequency).flatten(-2)
    return angle.cos(), angle.sin()


@pytest.mark.parametrize("head_dim", [32, 64])
@pytest.mark.parametrize(
    "positions", [torch.arange(-31, 32)[:, None], grid_positions(16, 32, extra=5)], ids=["t", "hw"]
)
def test_one_and_two_axes_are_as_old_checkpoints_know_them_bit_for_bit(positions, head_dim):
    for new, old in zip(rope_tables(positions, head_dim), first_version(positions, head_dim), strict=True):
        assert torch.equal(new, old)


def score(q, k, positions, **options):
    cos, sin = rope_tables(positions, q.shape[-1], **options)
    return rotate(q, (cos[:1], sin[:1])) @ rotate(k, (cos[1:], sin[1:])).T


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("scaling", [None, RopeScaling("ntk", 4.0), RopeScaling("yarn", 4.0, trained=32)], ids=str)
def test_scores_depend_on_the_difference_of_positions_alone(axes, scaling):
    q, k = torch.randn(2, 1, 16)
    positions = torch.tensor([[3.0, 5.0, 2.0], [7.0, 1.0, 9.0]])[:, :axes]
    shift = torch.tensor([100.0, -40.0, 10.0])[:axes]
    here, there = (score(q, k, places, scaling=scaling) for places in (positions, positions + shift))
    torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-4)
    for axis in range(axes):
        stretched = positions.clone()
        stretched[1, axis] += 1
        assert not torch.allclose(here, score(q, k, stretched, scaling=scaling), atol=1e-3)


def test_rotation_keeps_length_and_leaves_the_origin_alone():
    x = torch.randn(6, 12)
    tables = rope_tables(grid_positions(2, 2, extra=2), 12)
    y = rotate(x, tables)
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(y[[0, 4, 5]], x[[0, 4, 5]])
    assert not torch.allclose(y[3], x[3])


@given(axes=st.integers(1, 3), pairs=st.integers(3, 40))
def test_the_first_axes_get_the_pairs_that_do_not_divide(axes, pairs):
    shares = []
    for axis in range(axes):
        positions = torch.zeros(1, axes)
        positions[0, axis] = 1.0
        _, sin = rope_tables(positions, 2 * pairs)
        assert sin.shape == (1, pairs)
        turned = sin[0].nonzero()[:, 0].tolist()
        assert turned == list(range(sum(shares), sum(shares) + len(turned)))
        shares.append(len(turned))
    assert sum(shares) == pairs and shares == sorted(shares, reverse=True) and shares[0] - shares[-1] <= 1


@pytest.mark.parametrize(
    "scaling", [RopeScaling("none", 8.0), RopeScaling("ntk"), RopeScaling("yarn", trained=16)], ids=str
)
def test_factor_one_and_none_change_nothing_at_all(scaling):
    positions = torch.randn(9, 3) * 30
    for scaled, plain in zip(rope_tables(positions, 64, scaling=scaling), rope_tables(positions, 64), strict=True):
        assert torch.equal(scaled, plain)


def frequencies(scaling):
    return scaling.frequencies(16, 100.0, torch.device("cpu"))


@pytest.mark.parametrize("scaling", [RopeScaling("ntk", 4.0), RopeScaling("yarn", 4.0, trained=32)], ids=str)
def test_the_highest_frequency_stays_and_the_lowest_is_divided_by_the_factor(scaling):
    plain, scaled = frequencies(RopeScaling("none")), frequencies(scaling)
    assert scaled[0] == plain[0]
    torch.testing.assert_close(scaled[-1], plain[-1] / 4)
    assert (scaled.diff() < 0).all() and (scaled <= plain).all() and (scaled >= plain / 4 * (1 - 1e-6)).all()


def test_yarn_goes_by_the_turns_a_pair_makes_in_training():
    plain, scaled = frequencies(RopeScaling("none")), frequencies(RopeScaling("yarn", 4.0, trained=32))
    turns = 32 * plain / (2 * math.pi)
    assert torch.equal(scaled[turns >= 2], plain[turns >= 2])
    assert torch.equal(scaled[turns <= 1], plain[turns <= 1] / 4)
    between = (turns > 1) & (turns < 2)
    assert between.any() and ((scaled < plain) & (scaled > plain / 4))[between].all()


def test_yarn_sharpens_scores_by_its_temperature():
    q, k = torch.randn(2, 1, 16)
    positions = torch.zeros(2, 3)
    sharpened = score(q, k, positions, scaling=RopeScaling("yarn", 4.0, trained=32))
    torch.testing.assert_close(sharpened, (0.1 * math.log(4) + 1) ** 2 * score(q, k, positions))


def test_scaling_is_of_the_first_axis_alone():
    plain, scaled = (
        rope_tables(torch.ones(1, 3), 24),
        rope_tables(torch.ones(1, 3), 24, scaling=RopeScaling("ntk", 4.0)),
    )
    assert torch.equal(plain[0][:, 4:], scaled[0][:, 4:])
    assert not torch.allclose(plain[0][:, :4], scaled[0][:, :4])


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("'linear' is unknown", {"method": "linear"}),
        ("factor is 0.5", {"method": "ntk", "factor": 0.5}),
        ("trained is 0", {"method": "yarn", "factor": 2.0}),
        ("alpha is 3.0 and beta 2.0", {"method": "yarn", "factor": 2.0, "trained": 8, "alpha": 3.0}),
    ],
)
def test_a_scaling_that_cannot_be_is_named(message, fault):
    with pytest.raises(ValueError, match=message):
        RopeScaling(**fault)
