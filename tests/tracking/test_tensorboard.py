"""What is logged can be read back, and a resumed log hides what it overtook."""

import time

import pytest

from roadcast.tracking.tensorboard import TensorBoardLog, installed

pytestmark = pytest.mark.skipif(not installed(), reason="tensorboard is not installed: pip install 'roadcast[track]'")


def read(folder, name: str) -> dict[int, float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(name)}


def test_scalars_are_read_back(tmp_path):
    log = TensorBoardLog(tmp_path)
    log.log(1, {"loss": 0.5, "psnr": 20.0})
    log.log(2, {"loss": 0.25})
    log.close()
    assert read(tmp_path, "loss") == {1: 0.5, 2: 0.25}
    assert read(tmp_path, "psnr") == {1: 20.0}


def test_resumed_log_hides_the_steps_it_does_again(tmp_path):
    for steps, value in (((1, 2, 3), 1.0), ((2, 3), 0.5)):
        log = TensorBoardLog(tmp_path)
        for step in steps:
            log.log(step, {"loss": value})
        log.close()
        time.sleep(1.1)  # event files are told apart, and put in order, by the second they were opened in
    assert read(tmp_path, "loss") == {1: 1.0, 2: 0.5, 3: 0.5}


def test_log_of_nothing_makes_no_file(tmp_path):
    TensorBoardLog(tmp_path / "none").close()
    assert not (tmp_path / "none").exists()
