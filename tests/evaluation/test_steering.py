import numpy as np
import pytest
import torch

from roadcast.evaluation.protocol import make_protocol
from roadcast.evaluation.runner import evaluate
from roadcast.evaluation.steering import real_steering, steering_test, usual_amount

SMALL = {"split": "val", "clips": 10, "context": 4, "horizon": 6, "batch": 5}


def test_a_world_that_turns_with_the_command_steers_the_right_way(reel, worlds):
    test = evaluate(worlds["turning"](gain=4.0), reel, **SMALL).steering
    assert test.follows
    assert test.ordered == 1.0
    assert test.spearman > 0.95
    assert test.effect["left - right"].low > 2
    assert max(test.p_value.values()) == 2**-10
    amount = usual_amount(reel, "val", "steer")
    assert [e.mean for e in test.mean] == pytest.approx([4.0 * amount * s for s in (1, 0.5, 0, -0.5, -1)], abs=0.25)
    assert test.shown.shape == (2, 3, 7, 32, 64, 3)


@pytest.mark.parametrize("world", ["deaf", "frozen", "mirrored"])
def test_a_world_that_does_not_follow_the_command_does_not_pass(reel, worlds, world):
    made = {
        "deaf": worlds["turning"](gain=0.0, drift=1.5),
        "frozen": worlds["frozen"](),
        "mirrored": worlds["turning"](gain=-4.0),
    }[world]
    test = evaluate(made, reel, **SMALL).steering
    assert not test.follows
    assert min(test.p_value.values()) > 0.05
    if world == "mirrored":
        assert test.spearman < -0.95
        assert test.ordered == 0.0


def test_a_world_of_noise_does_not_pass(reel, worlds):
    class Noise(worlds["frozen"]):
        def imagine(self, frames, actions, known, seeds, steps=None):
            made = super().imagine(frames, actions, known, seeds, steps)
            for clip, seed, command in zip(made, seeds, actions[:, -1, 0]):
                rng = np.random.default_rng([seed, int(1000 * float(command) + 1000)])
                clip.copy_(clip.new_tensor(rng.integers(0, 256, tuple(clip.shape))))
            return made

    assert not evaluate(Noise(), reel, **SMALL).steering.follows


def test_other_controls_are_held_and_rival_lateral_ones_are_unknown(reel, worlds):
    seen = []

    class Watching(worlds["frozen"]):
        actions = ("yaw_rate", "throttle", "steer")

        def imagine(self, frames, actions, known, seeds, steps=None):
            seen.append((actions.numpy(), known.numpy(), list(seeds)))
            return super().imagine(frames, actions, known, seeds, steps)

    result = evaluate(Watching(), reel, **{**SMALL, "batch": 10})
    sweep = seen[1:]
    assert result.steering.control == "steer"
    assert [a[0, 4, 2] for a, _, _ in sweep] == pytest.approx(result.steering.commands)
    assert result.steering.commands == sorted(result.steering.commands, reverse=True)
    for actions, known, seeds in sweep:
        np.testing.assert_array_equal(actions[:, :4], seen[0][0][:, :4])
        assert (actions[:, 4:, 1] == actions[:, 3:4, 1]).all()
        assert known[:, 4:, 2].all()
        assert not known[:, 4:, 0].any()
        assert seeds == sweep[0][2]


def test_why_there_is_no_test_is_said(reel, worlds):
    world = worlds["frozen"]()
    world.actions = ("throttle",)
    result = evaluate(world, reel, **SMALL)
    assert result.steering is None
    assert result.real_steering is None
    assert "takes no steering command (its controls: throttle)" in result.steering_note
    world.actions = ("yaw_rate",)
    assert "No recording of split 'val' has yaw_rate" in evaluate(world, reel, **SMALL).steering_note
    few = evaluate(worlds["frozen"](), reel, **{**SMALL, "clips": 4})
    assert "at least 7 contexts, here 4" in few.steering_note


def test_real_drives_tell_how_long_before_the_picture_the_command_comes(reel, worlds):
    found = evaluate(worlds["frozen"](), reel, **{**SMALL, "horizon": 30, "steering_contexts": 0}).real_steering
    assert found.best_lag == 2  # the reel was made so
    assert found.best.mean > 0.9
    assert found.best.low > 0.8
    assert found.clips == 10


def test_a_drive_without_commands_or_without_turns_says_nothing():
    flow = np.random.default_rng(0).normal(size=(3, 19))
    steer = np.random.default_rng(1).normal(size=(3, 20))
    everywhere = np.ones((3, 20), dtype=bool)
    assert real_steering("steer", steer, ~everywhere, flow) is None
    assert real_steering("steer", np.zeros((3, 20)), everywhere, flow) is None
    assert abs(real_steering("steer", steer, everywhere, flow).best.mean) < 0.5


def test_a_world_that_answers_late_is_measured_from_its_lag_on(reel, worlds):
    class Late(worlds["turning"]):
        def imagine(self, frames, actions, known, seeds, steps=None):
            actions[:, frames.shape[1] : frames.shape[1] + 2] = 0.0
            return super().imagine(frames, actions, known, seeds, steps)

    protocol = make_protocol(Late(4.0), reel, split="val", clips=8, context=4, horizon=6, steps=None, seed=0)
    settings = dict(control="steer", amount=1.0, contexts=8, batch=8)
    left = {lag: steering_test(Late(4.0), reel, protocol, **settings, lag=lag).mean[0].mean for lag in (0, 2)}
    assert left[2] == pytest.approx(4.0, abs=0.25)
    assert left[0] == pytest.approx(4.0 * 4 / 6, abs=0.25)


def test_contexts_that_disagree_are_seen_within_them(reel, worlds):
    class Moody(worlds["turning"]):
        def imagine(self, frames, actions, known, seeds, steps=None):
            actions[:, :, 0] *= torch.tensor([1 - 2 * (seed % 2) for seed in seeds])[:, None]
            return super().imagine(frames, actions, known, seeds, steps)

    test = evaluate(Moody(4.0), reel, **SMALL).steering
    assert test.spearman_within.low < 0 < test.spearman_within.high
    assert test.ordered == 0.5
    assert not test.follows
