from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from roadcast.evaluation.pedals import pedal_plan, pedal_test
from roadcast.evaluation.protocol import make_protocol
from roadcast.evaluation.report.sweeps import PEDALS, sweep_section


def recorded(**signals) -> SimpleNamespace:
    """A reel of one recording with these signals."""
    frames = len(next(iter(signals.values())))
    return SimpleNamespace(signals=signals, videos=[SimpleNamespace(first=0, frames=frames, split="val")])


@pytest.fixture
def zooming(worlds):
    class Zooming(worlds["frozen"]):
        """Enlarges the last frame by a share of the throttle that builds up frame by frame."""

        def __init__(self, gain):
            self.gain = gain

        def imagine(self, frames, actions, known, seeds, steps=None):
            made = []
            for clip, throttle in zip(frames.numpy(), actions[:, frames.shape[1] :, 1].numpy()):
                growth = np.cumprod(1 + self.gain * throttle * np.linspace(0, 1, len(throttle)))
                moves = [cv2.getRotationMatrix2D((31.5, 15.5), 0, g) for g in growth]
                made.append([cv2.warpAffine(clip[-1], move, (64, 32), borderMode=cv2.BORDER_REFLECT) for move in moves])
            return torch.from_numpy(np.array(made))

    return Zooming


THROTTLE = recorded(throttle=np.linspace(0, 1, 201), steer=np.zeros(201))


@pytest.mark.parametrize(("gain", "follows", "rank"), [(0.06, True, 1), (0.0, False, 0), (-0.06, False, -1)])
def test_a_world_that_speeds_up_when_told_to_is_known_from_one_that_does_not(reel, zooming, gain, follows, rank):
    world = zooming(gain)
    protocol = make_protocol(world, reel, split="val", clips=8, context=4, horizon=8, steps=None, seed=0)
    plan = pedal_plan(THROTTLE, "val", world.actions)
    test = pedal_test(world, reel, protocol, plan, contexts=8, batch=8)
    assert test.follows == follows
    assert test.lag == 4
    assert test.spearman_within.mean == pytest.approx(rank, abs=0.3)
    assert set(test.p_value) == {"accelerate > coast", "coast > brake"}
    assert ("It answers to its pedals" in sweep_section(PEDALS, test, "", 10.0)) == follows


def test_pedals_are_pressed_as_hard_as_drivers_do():
    assert pedal_plan(THROTTLE, "val", ("steer", "throttle")).commands == pytest.approx([0.95, 0.5, 0.05])
    brake = np.where(np.arange(201) < 20, np.linspace(0, 0.8, 201), 0.0)
    both = pedal_plan(recorded(throttle=np.linspace(0, 1, 201), brake=brake), "val", ("throttle", "brake", "speed"))
    hardest = np.quantile(brake[brake > 0], 0.95)
    assert both.settings == [
        {"throttle": pytest.approx(0.95), "brake": 0.0},
        {"throttle": 0.0, "brake": 0.0},
        {"throttle": 0.0, "brake": pytest.approx(hardest)},
    ]
    assert set(both.rivals) == {"acceleration", "speed"}


def test_there_is_no_test_where_nothing_is_commanded_or_ever_changes():
    assert pedal_plan(THROTTLE, "val", ("steer",)) is None
    assert pedal_plan(THROTTLE, "val", ("speed",)) is None
    assert pedal_plan(THROTTLE, "test", ("throttle",)) is None
    assert pedal_plan(recorded(throttle=np.full(50, 0.5)), "val", ("throttle",)) is None
