"""Visual odometry reads turning and travel from pictures alone, and says where it cannot."""

import cv2
import numpy as np
import pytest

from roadcast.data.ingest import ingest
from roadcast.data.reel.store import Reel
from roadcast.data.signals.odometry import odometry, odometry_of
from roadcast.data.sources.base import Signal
from roadcast.errors import UserError


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Reel:
    path = tmp_path_factory.mktemp("odometry") / "reel"
    source = "toyroad:recordings=2,frames=80,seed=1,height=128,width=256,weather=clear"
    ingest(source, path, height=128, width=256, workers=0)
    return Reel(path)


@pytest.fixture(scope="module")
def found(toy):
    return [odometry(toy, video) for video in toy.videos]


def test_yaw_rate_follows_the_truth(toy, found):
    mine = np.concatenate([one.yaw_rate for one in found])
    true = toy.signals["yaw_rate"]
    known = np.isfinite(mine)
    assert known.mean() > 0.8
    assert np.corrcoef(mine[known], true[known])[0, 1] > 0.96
    assert np.sqrt(np.mean((mine[known] - true[known]) ** 2)) < 0.03


def test_a_turn_is_not_taken_for_a_step_to_the_side(found):
    direction = np.concatenate([one.direction for one in found])
    known = np.isfinite(direction).all(1)
    assert np.quantile(np.abs(direction[known, 1]), 0.95) < 0.05


def test_the_car_travels_forward(found):
    direction = np.concatenate([one.direction for one in found])
    known = np.isfinite(direction).all(1)
    assert known.mean() > 0.5 and np.median(direction[known, 0]) > 0.98
    np.testing.assert_allclose(np.linalg.norm(direction[known], axis=1), 1, atol=1e-5)


def test_it_is_the_same_each_time(toy, found):
    again = odometry(toy, toy.videos[0])
    np.testing.assert_array_equal(again.yaw_rate, found[0].yaw_rate)
    np.testing.assert_array_equal(again.direction, found[0].direction)


def test_a_mirrored_film_turns_the_other_way(toy, found):
    video = toy.videos[0]
    frames = [toy.read(n)[:, ::-1].copy() for n in range(video.first, video.first + video.frames)]
    mirrored = odometry_of(found[0].t_ns, frames, video.calibration["front"]["intrinsics"])
    both = np.isfinite(mirrored.yaw_rate) & np.isfinite(found[0].yaw_rate)
    assert np.corrcoef(mirrored.yaw_rate[both], -found[0].yaw_rate[both])[0, 1] > 0.8


def test_pictures_that_stand_still_do_not_turn(toy):
    image, chance = toy.read(10), np.random.default_rng(0)
    frames = [np.clip(image + chance.normal(0, 2, image.shape), 0, 255).astype(np.uint8) for _ in range(6)]
    t_ns = np.arange(6) * 50_000_000
    for film in (frames, [image] * 6):
        still = odometry_of(t_ns, film)
        assert (still.yaw_rate[1:] == 0).all() and np.isnan(still.direction[1:]).all()


def test_what_has_no_corners_is_unknown_and_not_made_up(toy):
    plain = [np.full((128, 256, 3), 100 + n, np.uint8) for n in range(4)]
    blind = odometry_of(np.arange(4) * 50_000_000, plain)
    assert np.isnan(blind.yaw_rate).all() and not blind.inliers.any() and blind.guessed
    blurred = [cv2.GaussianBlur(toy.read(n), (0, 0), 25) for n in range(20, 24)]
    assert np.isnan(odometry_of(np.arange(4) * 50_000_000, blurred).direction).all()


def test_with_a_speed_it_makes_a_path(toy, found):
    video = toy.videos[0]
    rows = slice(video.first, video.first + video.frames)
    path = found[0].path(Signal.of(toy.t_ns[rows], toy.signals["speed"][rows]))
    length = np.linalg.norm(np.diff(path.values[:, :2], axis=0), axis=1).sum()
    true = np.linalg.norm(np.diff(toy.signals["ego_pose"][rows, :2], axis=0), axis=1).sum()
    assert length == pytest.approx(true, rel=0.1)


def test_intrinsics_of_no_camera_are_refused():
    with pytest.raises(UserError, match="intrinsics"):
        odometry_of(np.zeros(2), [np.zeros((8, 8), np.uint8)] * 2, np.zeros((3, 3)))
