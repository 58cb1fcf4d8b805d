import json

import numpy as np
import pytest
import torch

from roadcast.errors import UserError
from roadcast.evaluation.actions import action_test
from roadcast.evaluation.counterfactual import Counterfactuals, given_commands
from roadcast.evaluation.judge import floor, load_judge, readout
from roadcast.evaluation.metrics.flow import lateral_motion
from roadcast.evaluation.odometry import led_correlation, odometry_check
from roadcast.evaluation.protocol import make_protocol, read_clips
from roadcast.evaluation.report.actions import action_section
from worlds import micro_config, random_world

LAG, GAIN = 2, 4.0  # of the reel


class FlowJudge:
    """Reads steering off the flow LAG frames later, as the reel was made; of throttle it has no idea."""

    past, ahead, actions = 1, LAG, ("steer", "throttle")

    def read(self, video_BFHWC):
        moved = np.stack([lateral_motion(video) for video in video_BFHWC.numpy()])[:, LAG + 1 :] / GAIN
        return torch.from_numpy(np.stack([moved, np.zeros_like(moved)], axis=-1)).float()


@pytest.fixture(scope="module")
def answering(worlds):
    """A world that turns as the reel does, LAG frames after the command, times a gain."""

    class Answering(worlds["turning"]):
        def imagine(self, frames, actions, known, seeds, steps=None):
            context = frames.shape[1]
            led = torch.cat([actions[:, :context], actions[:, context - LAG : -LAG]], dim=1)
            return super().imagine(frames, led, known, seeds, steps)

    return Answering


@pytest.fixture(scope="module")
def protocol(reel, worlds):
    return make_protocol(worlds["frozen"](), reel, split="val", clips=8, context=6, horizon=16, steps=None, seed=0)


def found(world, reel, protocol, lag=LAG):
    return action_test(world, reel, protocol, judge=FlowJudge(), lag=lag, batch=4)


def test_a_world_that_obeys_is_closest_under_the_true_commands_and_read_as_commanded(reel, protocol, answering):
    test = found(answering(GAIN), reel, protocol)
    assert test.gain["shuffled"].low > 1
    assert test.gain["neutral"].low > 1
    assert max(test.p_value.values()) == 2**-8
    model, shuffled, floor = (test.read_back[name]["steer"] for name in ("model", "shuffled", "real"))
    assert model.r2.mean > 0.9
    assert floor.error.mean < model.error.high < 0.3 * shuffled.error.low
    assert shuffled.r2.mean < 0
    assert test.followed["shuffled"]["steer"].r2.mean > 0.9
    assert test.flow["shuffled"].low > 0.9


def test_a_world_that_ignores_its_commands_gains_nothing_by_the_true_ones(reel, protocol, worlds):
    test = found(worlds["turning"](gain=0.0, drift=1.5), reel, protocol)
    assert test.gain["shuffled"].mean == 0.0
    assert min(test.p_value.values()) == 1.0
    assert test.read_back["model"]["steer"].r2.high < 0.1
    assert test.followed["shuffled"]["steer"].r2.high < 0.1


def test_a_world_that_turns_the_other_way_is_told_as_such(reel, protocol, answering):
    test = found(answering(-GAIN), reel, protocol)
    assert test.read_back["model"]["steer"].correlation.high < -0.9
    assert test.flow["true"].high < -0.9
    assert test.p_value["neutral"] > 0.5


def test_a_world_that_answers_late_is_measured_at_its_lag(reel, protocol, answering):
    seen = Counterfactuals(answering(GAIN), reel, protocol, judge=None)
    seen.add(range(8))
    at_once, late = (led_correlation(*seen.steering("true"), seen["flow", "true"], lag) for lag in (0, LAG))
    assert at_once.high < late.low


def test_what_never_changes_cannot_be_read_and_a_frozen_picture_reads_as_its_mean(reel, protocol, worlds):
    test = found(worlds["frozen"](), reel, protocol)
    assert test.read_back["copy"]["steer"].correlation is None
    assert floor(FlowJudge(), reel, protocol) == test.read_back["real"]
    assert test.read_back["real"]["throttle"].r2 is None  # the reel's throttle is always 0.5
    assert test.read_back["real"]["throttle"].error.mean == pytest.approx(0.5)
    assert test.flow["true"] is None
    json.dumps(test.psnr["true"].mean)
    section = action_section(test, protocol.fps)
    assert "steer" in section
    assert "nan" not in section


def test_without_a_judge_there_is_no_reading_and_without_steering_no_flow(reel, worlds):
    world = worlds["frozen"]()
    world.actions = ("throttle",)
    protocol = make_protocol(world, reel, split="val", clips=4, context=2, horizon=4, steps=None, seed=0)
    test = action_test(world, reel, protocol)
    assert not any(test.read_back.values())
    assert test.flow == {}
    assert test.odometry.command == {}
    assert "commands" in action_section(test, protocol.fps)


def test_commands_differ_after_the_context_alone_and_a_speed_is_kept(reel, protocol):
    clip, other = read_clips(reel, protocol, [0]), read_clips(reel, protocol, [4])
    given = given_commands(clip, other, protocol)
    for actions, known in given.values():
        torch.testing.assert_close(actions[:, :6], clip.actions_BFA[:, :6])
        assert known.all()
    torch.testing.assert_close(given["shuffled"][0][:, 6:], other.actions_BFA[:, 6:])
    assert not given["neutral"][0][:, 6:].any()
    speed = given_commands(clip, other, type(protocol)(**{**vars(protocol), "actions": ("steer", "speed")}))
    torch.testing.assert_close(speed["neutral"][0][:, 6:, 1], clip.actions_BFA[:, 5:6, 1].expand(-1, 16))


def test_odometry_compares_what_both_know():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(10, 20))
    model = np.where(rng.random(real.shape) < 0.2, np.nan, 0.5 * real)
    steer = np.roll(real, -3, axis=1)
    check = odometry_check(model, real, False, (steer, np.ones(real.shape, dtype=bool)), lag=3)
    assert check.agreement.mean == pytest.approx(1.0)
    assert check.error.mean == pytest.approx(0.5 * np.abs(real[np.isfinite(model)]).mean())
    assert check.size.mean == pytest.approx(2 * check.error.mean)
    assert check.found["model"].mean == pytest.approx(np.isfinite(model).mean())
    assert check.command["real"].mean == pytest.approx(1.0)
    lost = odometry_check(np.full_like(real, np.nan), real, True, None, lag=0)
    assert (lost.agreement, lost.error, lost.command) == (None, None, {})


def test_a_readout_counts_known_commands_alone():
    true = np.random.default_rng(1).normal(size=(6, 9))
    known = np.random.default_rng(2).random(true.shape) < 0.5
    told = readout(np.where(known, true + 0.25, 99.0), true, known)
    assert told.error.mean == pytest.approx(0.25)
    assert told.correlation.mean == pytest.approx(1.0)
    assert readout(true, true, np.zeros_like(known)) is None


def test_a_judge_must_fit_the_clips(tmp_path, protocol):
    with_judge = random_world(micro_config(inverse__width=8, data__fps=10.0))
    for name, world in {
        "fits": with_judge,
        "none": random_world(),
        "rate": random_world(micro_config(inverse__width=8)),
        "other": random_world(micro_config(inverse__width=8, data__fps=10.0, dynamics__actions=("speed",))),
        "far": random_world(micro_config(inverse__width=8, inverse__ahead=16, data__fps=10.0)),
    }.items():
        world.save(tmp_path / name)
    assert load_judge(tmp_path / "fits", protocol).ahead == 6
    for name, message in {
        "none": "has no judge", "rate": "sees fps 20", "other": "the world takes steer", "far": "too short for the judge",
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=message):
            load_judge(tmp_path / name, protocol)
