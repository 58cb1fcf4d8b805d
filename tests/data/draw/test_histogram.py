"""Histograms count every known value once, on round edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadcast.data.draw.canvas import SPLIT_COLOURS
from roadcast.data.draw.histogram import draw_histograms, edges_for, histogram, histogram_lines


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50), st.integers(1, 30))
def test_every_known_value_counts_once(values, bins):
    given_values = np.array([*values, np.nan], np.float32)
    edges = edges_for(np.array(values), bins)
    assert 2 <= len(edges) <= bins + 3 and (np.diff(edges) > 0).all()
    assert histogram(given_values, edges).counts.sum() == len(values)


def test_edges_are_round_and_zero_is_among_them():
    edges = edges_for(np.linspace(-1, 1, 1001), 10)
    np.testing.assert_allclose(edges, np.arange(-5, 6) * 0.2, atol=1e-12)


def test_one_outlier_does_not_squeeze_all_others_into_one_bin():
    values = np.append(np.linspace(0, 10, 5000), 1e6)
    counted = histogram(values, edges_for(values, 10))
    assert counted.edges[-1] <= 11 and counted.counts.sum() == 5001 and (counted.counts > 400).sum() == 10


def test_lines_tell_edge_bar_and_share():
    lines = histogram_lines(np.array([0.5] * 3 + [2.5] + [np.nan]), bins=3)
    assert lines[0].split() == ["0", "#" * 24, "75.0%"]
    assert lines[-1].split()[1:] == ["#" * 8, "25.0%"]


def test_one_value_alone_and_none_at_all_are_drawn_too():
    assert len(histogram_lines(np.zeros(5))) >= 1
    for signals in ({}, {"steer": ("1", {"train": np.full(3, np.nan)})}, {"steer": ("1", {"train": np.ones(4)})}):
        assert draw_histograms("mine", signals).dtype == np.uint8


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_bars_have_the_colour_of_their_split(split):
    values = {name: np.zeros(0) for name in SPLIT_COLOURS} | {split: np.linspace(0, 1, 100)}
    below_head = draw_histograms("mine", {"speed": ("m/s", values)})[60:]
    seen = {name for name, colour in SPLIT_COLOURS.items() if (below_head == colour).all(2).sum() > 500}
    assert seen == {split}
