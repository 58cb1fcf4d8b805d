"""Motion, determinism and branching of the toy world."""

import cv2
import numpy as np
import pytest

from roadcast.data.toyroad import Driver, ToyWorld
from roadcast.data.toyroad.vehicle import VehicleState, drive, wheel_limit
from roadcast.errors import UserError


def _drive(world: ToyWorld, steps: int, seed: int = 0) -> ToyWorld:
    driver = Driver(seed)
    for _ in range(steps):
        world.step(*driver.act(world))
    return world


def test_same_seed_gives_the_same_bytes_and_another_seed_another_world():
    worlds = [_drive(ToyWorld(seed, 64, 128), 30) for seed in (5, 5, 6)]
    images = [world.render() for world in worlds]
    assert images[0].shape == (64, 128, 3) and images[0].dtype == np.uint8
    assert np.array_equal(images[0], images[1])
    assert np.array_equal(worlds[0].pose, worlds[1].pose)
    assert np.array_equal(worlds[0].lidar(), worlds[1].lidar())
    assert np.array_equal(worlds[0].radar(), worlds[1].radar())
    assert not np.array_equal(images[0], images[2])


def test_looking_does_not_change_what_comes_after():
    looked, blind = ToyWorld(3, 64, 128), ToyWorld(3, 64, 128)
    for _ in range(40):
        for world in (looked, blind):
            world.step(0.1, 0.6)
        looked.render(), looked.depth(), looked.radar()
    assert np.array_equal(looked.render(), blind.render())


def test_reset_goes_back_to_the_first_state():
    world = ToyWorld(4, 64, 128)
    first = world.render()
    _drive(world, 50)
    world.reset()
    assert np.array_equal(world.render(), first)


def test_branches_agree_under_like_commands_and_part_under_others():
    world = _drive(ToyWorld(8, 64, 128, weather="rain"), 40)
    same, other = world.copy(), world.copy()
    for _ in range(60):
        other.step(0.8, 0.2)
    for _ in range(60):
        world.step(0.0, 0.5)
    for _ in range(60):
        same.step(0.0, 0.5)
    assert np.array_equal(world.render(), same.render())
    assert not np.array_equal(world.render(), other.render())


@pytest.mark.parametrize("steer", [0.7, -0.7])
def test_steering_left_turns_left_and_moves_the_picture_right(steer):
    world = ToyWorld(2, 128, 256, weather="clear")
    yaw = world.state.yaw
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    before = cv2.cvtColor(world.render(), cv2.COLOR_RGB2GRAY)
    for _ in range(2):
        world.step(steer, 0.3)
    after = cv2.cvtColor(world.render(), cv2.COLOR_RGB2GRAY)
    assert np.sign(world.state.yaw - yaw) == np.sign(steer)
    assert np.sign(world.pose[6]) == np.sign(np.sin(world.state.yaw / 2))
    assert np.sign(world.yaw_rate) == np.sign(steer)
    mean_u = flow.calc(before, after, None)[..., 0].mean()
    assert mean_u * np.sign(steer) > 0.5


def test_bicycle_drives_the_circle_its_wheel_angle_says():
    state = VehicleState(0.0, 0.0, 0.0, 5.0)
    dt, points = 0.01, []
    for _ in range(1200):
        state = drive(VehicleState(state.x, state.y, state.yaw, 5.0), 0.8, 0.0, 0.0, dt, False)
        points.append((state.x, state.y))
    points = np.array(points)
    radius = 1 / state.curvature
    design = np.c_[2 * points, np.ones(len(points))]
    middle = np.linalg.lstsq(design, (points**2).sum(axis=1), rcond=None)[0][:2]
    assert np.allclose(np.hypot(*(points - middle).T), radius, rtol=2e-3)
    assert np.isclose(np.tan(0.8 * wheel_limit(5.0)) / 2.7, state.curvature, rtol=0.06)


def test_throttle_and_brake_change_the_speed_and_the_car_stops():
    world = ToyWorld(1, 32, 64)
    start = world.speed
    for _ in range(20):
        world.step(0.0, 1.0)
    fast = world.speed
    assert fast > start
    for _ in range(200):
        world.step(0.0, 0.0, 1.0)
    assert world.speed == 0.0
    x = world.pose.copy()
    world.step(1.0, 0.0, 0.0)
    assert np.array_equal(world.pose, x)


def test_full_steering_leaves_the_road_and_the_world_stays_drawable():
    world = ToyWorld(7, 64, 128, cameras=("front", "left", "right"))
    assert not world.off_road
    left_road = False
    for step in range(400):
        world.step(0.5 if step < 300 else -1.0, 0.8)
        left_road |= world.off_road
        if step % 20 == 0:
            for camera in ("front", "left", "right"):
                assert world.render(camera).std() > 3
                assert np.nanmin(world.depth(camera)) > 0
    assert left_road


def test_driver_keeps_the_road_most_of_the_time_yet_steers_off_the_policy():
    off, steers, speeds = [], [], []
    for seed in range(6):
        world, driver = ToyWorld(seed, 32, 64), Driver(seed)
        for _ in range(400):
            command = driver.act(world)
            world.step(*command)
            off.append(world.off_road)
            steers.append(command[0])
            speeds.append(world.speed)
    assert 0.0 < np.mean(off) < 0.3
    assert np.std(steers) > 0.1
    assert 4.0 < np.mean(speeds) < 14.0 and max(speeds) < 17.0


def test_wrong_use_is_named():
    with pytest.raises(UserError, match="hail"):
        ToyWorld(0, weather="hail")
    with pytest.raises(UserError, match="roof"):
        ToyWorld(0, cameras=("roof",))
    with pytest.raises(UserError, match="left"):
        ToyWorld(0, 32, 64).render("left")
    with pytest.raises(UserError, match="steer"):
        ToyWorld(0, 32, 64).step(float("nan"), 0.0)
    with pytest.raises(UserError, match="height"):
        ToyWorld(0, height=2)
