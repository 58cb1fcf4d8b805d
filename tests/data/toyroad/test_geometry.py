"""Pixels, depth, LiDAR, radar and pose of the toy world agree."""

import cv2
import numpy as np
import pytest

from roadcast.data.toyroad import Driver, ToyWorld
from roadcast.data.toyroad.brush import paint
from roadcast.data.toyroad.camera import POSITION, make_camera, place
from roadcast.data.toyroad.depth import depth
from roadcast.data.toyroad.paint import visible_faces
from roadcast.data.toyroad.ranges import RADAR, cast
from roadcast.data.toyroad.sketch import Sketchbook
from roadcast.data.toyroad.solids import Builder, Solids, box, join
from roadcast.data.toyroad.weather import make_weather


def _world(seed: int, cameras=("front",)) -> ToyWorld:
    world, driver = ToyWorld(seed, 128, 256, cameras=cameras, weather="clear"), Driver(seed)
    for _ in range(40):
        world.step(*driver.act(world))
    return world


def _cube(x: float, y: float, half: float, top: float, colour: tuple) -> Solids:
    build = Builder(float(np.hypot(half, half)))
    build.part(box(-half, half, -half, half, 0, top), [colour] * 6)
    return build.build().moved(np.array([[x, y, 0.0]]))


@pytest.mark.parametrize("camera", ["front", "left", "right"])
def test_lidar_points_lie_on_the_depth_map(camera):
    agree, total = 0, 0
    for seed in range(3):
        world = _world(seed, ("front", "left", "right"))
        calibration = world.calibration[camera]
        ego_to_camera = np.linalg.inv(np.array(calibration["to_ego"]))
        points = world.lidar().astype(np.float64) @ ego_to_camera[:3, :3].T + ego_to_camera[:3, 3]
        points = points[points[:, 2] > 1.0]
        uv = points @ np.array(calibration["intrinsics"]).T
        uv = np.rint(uv[:, :2] / uv[:, 2:]).astype(int)
        inside = (uv >= 1).all(axis=1) & (uv[:, 0] < 255) & (uv[:, 1] < 127)
        z, (u, v) = points[inside, 2], uv[inside].T
        metres = world.depth(camera)
        nearest, farthest = cv2.erode(metres, np.ones((3, 3)))[v, u], cv2.dilate(metres, np.ones((3, 3)))[v, u]
        in_front = z < 0.98 * nearest - 0.05
        assert in_front.mean() < 0.002, "a LiDAR point floats before the surface that the camera sees"
        agree += (~in_front & (z < 1.02 * farthest + 0.05)).sum()
        total += len(z)
    assert total > 1000 and agree / total > 0.97


def test_depth_of_bare_ground_is_the_analytic_value():
    camera = make_camera("front", 128, 256)
    metres = depth(place(camera, 3.0, -2.0, 0.7), [_cube(-50.0, 0.0, 1.0, 2.0, (9, 9, 9))])
    v = np.arange(128)
    below = v > camera.cy
    expected = camera.focal * POSITION[2] / (v[below] - camera.cy)
    assert np.allclose(metres[below], expected[:, None], rtol=1e-6)
    assert np.isinf(metres[~below]).all()


def test_depth_of_a_wall_is_its_distance_and_near_things_hide_far_ones():
    near, far = _cube(12.0, 0.5, 1.0, 3.0, (250, 0, 0)), _cube(20.0, 0.0, 3.0, 6.0, (0, 0, 250))
    view = place(make_camera("front", 128, 256), 0.0, 0.0, 0.0)
    for groups in ([near, far], [far, near], [join([near, far])]):
        metres = depth(view, groups)
        seen = visible_faces(view, groups)
        assert seen.albedo_F3[-1, 0] == 250, "the nearer cube is painted last"
        u, v = view.to_pixels(view.to_camera(np.array([11.0, 0.5, 1.5])))
        assert np.isclose(metres[round(v), round(u)], 11.0 - POSITION[0], rtol=1e-6)
        u, v = view.to_pixels(view.to_camera(np.array([17.0, -2.0, 4.0])))
        assert np.isclose(metres[round(v), round(u)], 17.0 - POSITION[0], rtol=1e-6)


def test_painting_order_agrees_with_ray_casting():
    compared = 0
    for seed in range(5):
        world = _world(seed)
        solids = join(world.solids())
        view = world.view("front")
        camera = view.camera
        column = np.arange(8, 248, 12)
        azimuth = view.yaw + np.arctan2(camera.cx - column, camera.focal)
        row = round(camera.cy) - 4
        metres = world.depth()
        for a, u in zip(azimuth, column):
            rise = (camera.cy - row) / np.hypot(camera.focal, camera.cx - u)
            ranges, _ = cast(solids, view.position, np.array([a]), np.array([rise]))
            expected = ranges[0, 0] * np.cos(a - view.yaw)
            window = metres[row - 1 : row + 2, u - 1 : u + 2]
            if window.max() < 1.05 * window.min() and window.max() < 100:
                assert 0.97 * window.min() < expected < 1.03 * window.max()
                compared += 1
    assert compared > 10


def test_solids_in_the_picture_stand_where_the_depth_map_says():
    world = _world(3)
    image, metres = world.render().astype(int), world.depth()
    sky = np.isinf(metres)
    assert 0.05 < sky.mean() < 0.45
    ground = make_camera("front", 128, 256).ground_depth().astype(np.float32)[:, None]
    solid = metres < 0.98 * np.minimum(ground, 1e6)
    inner = cv2.erode(solid.astype(np.uint8), np.ones((5, 5))) > 0
    sky_inner = cv2.erode(sky.astype(np.uint8), np.ones((5, 5))) > 0
    assert inner.sum() > 100
    blue_minus_red = image[..., 2] - image[..., 0]
    assert blue_minus_red[sky_inner].mean() > blue_minus_red[inner].mean() + 15


@pytest.mark.parametrize("x", [2.2, 7.0, 23.0, 61.0])
def test_picture_and_depth_show_a_thing_at_the_same_pixels(x):
    weather = make_weather("overcast", 0)
    view = place(make_camera("front", 128, 256), 0.7, -0.4, 0.06)
    cube = _cube(x + 1.0, 0.5, 1.0, 3.0, (250, 0, 0))
    image = np.zeros((128, 256, 3), dtype=np.uint8)
    paint(image, view, weather, Sketchbook(weather).at(view, cube))
    ground = np.broadcast_to(view.camera.ground_depth()[:, None], (128, 256))
    solid = depth(view, [cube]) < 0.999 * np.minimum(ground, 1e6)
    painted = image.any(axis=2)
    assert solid.sum() > 30
    assert (painted & ~cv2.dilate(solid.astype(np.uint8), np.ones((3, 3))).astype(bool)).sum() == 0
    assert (solid & ~painted).sum() == 0


def test_radar_sees_standing_things_closing_at_the_ego_speed():
    world = ToyWorld(5, 32, 64)
    for _ in range(20):
        world.step(0.0, 0.4)
    returns = world.radar()
    assert returns.shape[1] == 3 and len(returns) > 5
    closing = -returns[:, 2] / (world.speed * np.cos(returns[:, 1]))
    assert np.mean(np.abs(closing - 1) < 1e-3) > 0.5, "most things stand still"


def test_radar_speed_is_the_rate_of_the_range_to_a_car():
    world = ToyWorld(6, 32, 64)
    before = world.copy()
    world.step(0.0, 0.3)
    offset = []
    for w in (before, world):
        c, s = np.cos(w.state.yaw), np.sin(w.state.yaw)
        mount = w.pose[:2] + RADAR[0] * np.array([c, s])
        offset.append(np.hypot(*(w.cars()[:, :2] - mount).T))
    rate = (offset[1] - offset[0]) * world.fps
    towards = [r for r in world.radar() if min(abs(r[2] - rate)) < 0.3]
    assert towards
