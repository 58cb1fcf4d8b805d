import time

import pytest
import torch

from roadcast.parallel import precision
from roadcast.parallel.precision import (
    FEED_FORWARD,
    GLANCE,
    best_seconds,
    dtype_for,
    fastest_precision,
    measure_bandwidth,
    measure_matmul,
    product_error,
)

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16


@pytest.fixture
def machine(monkeypatch):
    """Makes a machine of given seconds for the large product by format, the tiny one taking a thousandth; it tells what was tried."""

    def make(**seconds: float) -> list[tuple[torch.dtype, tuple[int, ...]]]:
        tried = []

        def product_seconds(device, dtype, *shape):
            tried.append((dtype, shape))
            return seconds[str(dtype).removeprefix("torch.")] * (1e-3 if shape == GLANCE else 1)

        monkeypatch.setattr(precision, "product_seconds", product_seconds)
        return tried

    return make


def test_the_fastest_wins_and_a_narrower_range_must_earn_it(machine):
    machine(float32=4, bfloat16=1, float16=2)
    assert fastest_precision("cpu") == BF16
    machine(float32=4, bfloat16=2, float16=1)
    assert fastest_precision("cpu") == F16
    machine(float32=4, bfloat16=1, float16=0.95)
    assert fastest_precision("cpu") == BF16
    machine(float32=1, bfloat16=0.95, float16=1.5)
    assert fastest_precision("cpu") == F32


def test_a_hopeless_format_is_never_tried_on_the_large_product(machine):
    tried = machine(float32=1, bfloat16=300, float16=1.5)
    assert fastest_precision("cpu") == F32
    assert (BF16, GLANCE) in tried and (BF16, FEED_FORWARD) not in tried and (F16, FEED_FORWARD) in tried


def test_a_format_that_errs_too_much_does_not_count(machine, monkeypatch):
    machine(float32=4, bfloat16=1, float16=2)
    monkeypatch.setattr(precision, "product_error", lambda device, dtype: 0.02 if dtype == BF16 else 0.001)
    assert fastest_precision("cpu") == F16


def test_errors_of_a_product_are_those_of_rounding():
    """Inputs and output rounded, each by up to 2^-9 (bfloat16) or 2^-12 (float16) of its value."""
    assert 2**-10 < product_error("cpu", BF16) < 3 * 2**-9
    assert 2**-13 < product_error("cpu", F16) < 3 * 2**-12
    assert product_error("cpu", F32) < 1e-6


def test_this_machine_is_measured_in_a_moment():
    begun = time.perf_counter()
    assert fastest_precision("cpu") in precision.FORMATS
    assert measure_matmul("cpu", BF16) > 0
    assert time.perf_counter() - begun < 3  # 0.4 s on a machine that does nothing else


def test_operations_and_bytes_are_counted(monkeypatch):
    """A second for every product and every pass: the largest size that is tried gives the rate."""
    monkeypatch.setattr(precision, "product_seconds", lambda *_: 0.01)
    assert measure_matmul("cpu", F32) == 2 * 8192**3 / 0.01
    monkeypatch.setattr(precision, "product_seconds", lambda *_: 1.0)
    assert measure_matmul("cpu", F32) == 2 * 64**3
    monkeypatch.setattr(precision, "best_seconds", lambda *_, budget: 0.5)
    assert measure_bandwidth("cpu") == 2**28 / 0.5


def test_the_first_run_is_left_out_and_slow_work_is_done_once():
    runs = []

    def work():
        runs.append(time.sleep(0.2 if not runs else 0.001))

    assert 0.001 <= best_seconds(work, "cpu", budget=0.3) < 0.2
    runs.clear()
    assert best_seconds(work, "cpu", budget=0.01) >= 0.2 and len(runs) == 1


def test_training_on_a_cpu_is_in_float32_and_elsewhere_as_measured(machine, monkeypatch):
    monkeypatch.setattr(precision, "product_error", lambda device, dtype: 0.001)
    machine(float32=4, bfloat16=1, float16=2)
    assert dtype_for("auto", "cpu") == F32 and dtype_for("auto", "cuda") == BF16
    assert dtype_for("float16", "cpu") == F16 and dtype_for("fp8", "cuda") == BF16
