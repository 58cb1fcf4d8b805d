"""Two servers, one of which is killed: its driver goes on at the other, and sees what it would have seen."""

from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("websockets", reason="the client needs websockets")

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.slow
def test_a_driver_whose_server_is_killed_goes_on_at_another_with_the_same_frames(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from serving_host import mock
    from serving_replica import resume

    resumed = resume(mock(fps=50.0, seats=1, size=(32, 64)), steps=30, after=10)
    assert resumed.seconds < 5 and resumed.steps >= 30
    assert resumed.equal == resumed.compared > 20
