"""Crop and flip: where pixels go is where `geometry` and `calibration` say."""

from functools import lru_cache

import numpy as np
import pytest
import torch

from roadcast.data.augment import Augment
from roadcast.data.geometry import inverse, moved, project
from roadcast.data.toyroad import Driver, ToyWorld
from roadcast.data.toyroad.ranges import LIDAR

HEIGHT, WIDTH = 96, 160
ACTIONS = ("steer", "throttle", "speed", "yaw_rate", "curvature")
BOTH = {"crop": 0.4, "flip": 0.5}


def marker(u: float, v: float, image: np.ndarray | None = None, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A soft green dot at (u, v) on black, or on a picture without green."""
    y, x = np.mgrid[:height, :width]
    out = np.zeros((height, width, 3), np.uint8) if image is None else image * np.array([1, 0, 1], np.uint8)
    out[..., 1] = np.rint(250 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 2.0**2)))
    return out


def centre(image_HWC: np.ndarray) -> np.ndarray:
    """Where the dot is (u, v)."""
    weight = image_HWC[..., 1].astype(float)
    v, u = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(weight * u).sum(), (weight * v).sum()]) / weight.sum()


def keys_of_both_kinds(augment: Augment, count: int = 3) -> list[int]:
    """Keys of clips that are flipped, and as many of such that are not."""
    mirrored = [np.linalg.det(augment.geometry(key, HEIGHT, WIDTH)) < 0 for key in range(40)]
    return [key for kind in (True, False) for key in [k for k in range(40) if mirrored[k] == kind][:count]]


@pytest.mark.parametrize("amounts", [{"crop": 0.4}, {"flip": 0.5}, BOTH], ids=str)
def test_a_drawn_point_is_where_geometry_says(clips, amounts):
    augment = Augment(amounts, 3, actions=ACTIONS)
    u, v = 83.3, 46.7
    pixels = np.broadcast_to(marker(u, v), (24, 2, HEIGHT, WIDTH, 3)).copy()
    made = augment(clips(pixels)).frames_BFHWC
    assert made is not None
    checked, farthest = 0, 0.0
    for key in range(24):
        u2, v2, one = augment.geometry(key, HEIGHT, WIDTH) @ (u, v, 1)
        assert one == 1
        farthest = max(farthest, abs(u2 - u) + abs(v2 - v))
        if 16 < u2 < WIDTH - 17 and 16 < v2 < HEIGHT - 17:
            checked += 1
            assert np.abs(centre(made[key, 1].numpy()) - (u2, v2)).max() < 0.05, key
    assert checked > 12 and farthest > 6


def test_a_crop_shows_only_the_picture_and_its_size_is_what_the_number_says(clips):
    augment = Augment({"crop": 0.3}, 0)
    kept = []
    for key in range(300):
        corner = np.linalg.inv(augment.geometry(key, HEIGHT, WIDTH)) @ [
            [-0.5, WIDTH - 0.5],
            [-0.5, HEIGHT - 0.5],
            [1, 1],
        ]
        size = corner[:2, 1] - corner[:2, 0]
        assert (corner[:2, 0] >= -0.5 - 1e-9).all() and (
            corner[:2, 1] <= (WIDTH - 0.5 + 1e-9, HEIGHT - 0.5 + 1e-9)
        ).all()
        assert np.isclose(size[0] / WIDTH, size[1] / HEIGHT)
        kept.append(size[0] / WIDTH)
    assert 0.7 <= min(kept) < 0.71 and 0.99 < max(kept) <= 1


def test_a_flip_alone_moves_pixels_and_makes_none_up(clips, scene):
    made = Augment({"flip": 1.0}, 0, actions=ACTIONS)(clip := clips(scene()[None, None])).frames_BFHWC
    assert made is not None and clip.frames_BFHWC is not None
    assert torch.equal(made, clip.frames_BFHWC.flip(3))


@lru_cache
def drive() -> tuple[ToyWorld, dict]:
    """A toy world under way, and its calibration with its LiDAR's place."""
    world, driver = ToyWorld(4, HEIGHT, WIDTH, cameras=("front", "left", "right"), weather="clear"), Driver(4)
    for _ in range(30):
        world.step(*driver.act(world))
    place = np.eye(4)
    place[:3, 3] = LIDAR
    return world, world.calibration | {"lidar": {"to_ego": place.tolist()}}


def seen(points: np.ndarray, entry: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of points in the ego frame those a camera sees: which, their pixels and their depth."""
    local = moved(points, inverse(np.array(entry["to_ego"])))
    which = np.flatnonzero(local[:, 2] > 1)
    uv = project(local[which], np.array(entry["intrinsics"]))
    inside = (uv >= 1).all(axis=1) & (uv < (WIDTH - 2, HEIGHT - 2)).all(axis=1)
    return which[inside], uv[inside], local[which[inside], 2]


def test_points_of_the_toy_world_are_where_its_new_calibration_says(clips):
    """A dot is drawn where a LiDAR point projects; in the changed clip it is where the point of the changed world projects."""
    world, calibration = drive()
    augment = Augment(BOTH, 3, actions=ACTIONS)
    which, uv, _ = seen(points := world.lidar().astype(float), calibration["front"])
    chosen = np.abs(uv - (WIDTH / 2, HEIGHT / 2)).sum(axis=1).argsort()[:4]
    checked = 0
    for key in keys_of_both_kinds(augment):
        mirrored = np.linalg.det(augment.geometry(key, HEIGHT, WIDTH)) < 0
        after = augment.calibration(key, calibration, HEIGHT, WIDTH)
        rotation = np.array(after["front"]["to_ego"])[:3, :3]
        assert np.allclose(rotation @ rotation.T, np.eye(3)) and np.linalg.det(rotation) > 0
        assert after["front"]["intrinsics"][0][0] > 0
        for n in chosen:
            point = points[which][n] * (1, -1 if mirrored else 1, 1)
            local = moved(point[None], inverse(np.array(after["front"]["to_ego"])))
            u2, v2 = project(local, np.array(after["front"]["intrinsics"]))[0]
            if not (16 < u2 < WIDTH - 17 and 16 < v2 < HEIGHT - 17):
                continue
            checked += 1
            made = augment(clips(marker(*uv[n], world.render())[None, None], [key])).frames_BFHWC
            assert made is not None
            assert np.abs(centre(made[0, 0].numpy()) - (u2, v2)).max() < 0.05
    assert checked > 8


def test_depth_lidar_and_three_cameras_of_the_changed_world_agree():
    """LiDAR points lie on the changed depth maps by the changed calibration, in clips that are flipped and that are not."""
    world, calibration = drive()
    cameras = ("front", "left", "right")
    augment = Augment(BOTH, 3, actions=ACTIONS, cameras=cameras)
    depth = torch.from_numpy(np.stack([world.depth(name) for name in cameras]))[None, None]
    points = world.lidar().astype(float) - LIDAR
    for key in keys_of_both_kinds(augment):
        mirrored = np.linalg.det(augment.geometry(key, HEIGHT, WIDTH)) < 0
        after = augment.calibration(key, calibration, HEIGHT, WIDTH)
        changed = augment.depth(torch.tensor([key]), depth)[0, 0].numpy()
        ego = moved(points * (1, -1 if mirrored else 1, 1), np.array(after["lidar"]["to_ego"]))
        for view, name in enumerate(cameras):
            _, uv, z = seen(ego, after[name])
            u, v = np.rint(uv).astype(int).T
            around = np.stack([changed[view, v + dv, u + du] for dv in (-1, 0, 1) for du in (-1, 0, 1)])
            on = (z > 0.95 * around.min(0) - 0.1) & (z < 1.05 * around.max(0) + 0.1)
            assert len(z) > 50 and on.mean() > 0.9, (key, name, len(z), on.mean())


def test_depth_is_moved_by_nearest_pixels_and_keeps_its_values():
    depth = torch.rand(4, 2, 1, 24, 32) * 100
    depth[:, :, :, :8] = float("inf")
    made = Augment({"crop": 0.5}, 0).depth(torch.arange(4), depth)
    assert made.dtype == torch.float32 and torch.isin(made, depth).all() and not torch.equal(made, depth)
