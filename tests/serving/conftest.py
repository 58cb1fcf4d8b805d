import pytest


class Clock:
    """Seconds that pass when a test says so: `clock.now += 5`."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()
