"""The scaling benchmark's arithmetic: exponents, and the operations that a frame's attention takes."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks_are_at_hand(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def test_exponents_of_a_power_law_that_bends():
    from scaling import exponent, exponents

    x = [1.0, 2.0, 4.0, 8.0]
    assert exponent(x, [3 * v**0.5 for v in x]) == pytest.approx(0.5)
    assert exponents(x, [1.0, 1.0, 1.0, 2.0]) == {"exponent": 0.3, "at the end": 1.0}


def test_a_longer_context_costs_its_attention_and_no_more():
    """Attention over time takes `4 L D` operations for each frame in sight and query; the one pass has two queries, the frame that
    goes into the cache and the new one, but in its last time layer, where the new one alone goes on.
    """
    from scaling import TINY, Setting
    from scaling_fleet import Fleet, flop_of_a_step, random_world

    short, long = (flop_of_a_step(Fleet(random_world(Setting(context=n).config()), [0], 1).step) for n in (4, 64))
    tokens = TINY.data.height * TINY.data.width // TINY.tokenizer.stride**2 + TINY.dynamics.registers + 1
    queries = 2 * (TINY.dynamics.depth // TINY.dynamics.time_every) - 1
    assert long - short == 60 * queries * 4 * tokens * TINY.dynamics.width


def test_the_picture_has_a_panel_for_everything_that_grows():
    import numpy as np
    from scaling_chart import Panel, chart

    panel = Panel("worlds", ["1", "2"], [1, 2], [10.0, 8.0], [1.0, 1.0])
    at, ms = np.array([25.0, 75.0]), np.array([9.0, 9.5])
    one, three = (chart([panel] * n, (at, ms, ms), "eager") for n in (1, 3))
    assert one.dtype == np.uint8 and three.shape[0] == one.shape[0] and three.shape[1] > one.shape[1]
    left, right = three[:, : one.shape[1] // 3], three[:, one.shape[1] :]
    assert (left < 200).any() and (right < 200).any()
