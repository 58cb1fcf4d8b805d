"""Labels of a mirrored world: signs, poses, sides, and what the pictures of the toy world show."""

import itertools

import cv2
import numpy as np
import pytest
import torch

from roadcast.data.actions import ACTIONS
from roadcast.data.augment import Augment
from roadcast.data.geometry import matrix_of
from roadcast.data.toyroad import ToyWorld
from roadcast.errors import UserError

NAMES = tuple(ACTIONS)
FLIP = {"flip": 1.0}


def test_steering_yaw_and_curvature_are_mirrored_speed_and_pedals_are_not(clips, scene):
    values = np.array([0.5, 0.4, 0.1, 7.0, 0.2, 0.03, -1.5], np.float32)
    clip = clips(scene()[None, None], actions=values[None, None])
    made = Augment(FLIP, 0, actions=NAMES)(clip)
    told = dict(zip(NAMES, (made.actions_BFA / clip.actions_BFA)[0, 0].tolist(), strict=True))
    assert told == {
        "steer": -1, "throttle": 1, "brake": 1, "speed": 1, "yaw_rate": -1, "curvature": -1, "acceleration": 1,
    }  # fmt: skip
    assert torch.equal(made.known_BFA, clip.known_BFA) and torch.equal(made.t_ns_BF, clip.t_ns_BF)


def test_only_the_clips_that_are_flipped_have_their_labels_changed(clips, scene):
    clip = clips(np.broadcast_to(scene(), (30, 2, 48, 64, 3)).copy())
    made = Augment({"flip": 0.5}, 0, actions=("steer", "throttle", "speed", "yaw_rate", "curvature"))(clip)
    assert made.frames_BFHWC is not None and clip.frames_BFHWC is not None
    flipped = (made.frames_BFHWC == clip.frames_BFHWC.flip(3)).flatten(1).all(1)
    assert 5 < flipped.sum() < 25
    assert torch.equal(made.actions_BFA[:, 0, 0] < 0, flipped)
    assert made.pose_BF7 is not None
    assert torch.equal(made.pose_BF7[:, 0, 1] < 0, flipped)


def test_a_pose_moves_the_mirror_images_of_points(clips, scene):
    clip = clips(scene()[None, None])
    made = Augment(FLIP, 0, actions=NAMES[:5])(clip)
    assert clip.pose_BF7 is not None and made.pose_BF7 is not None
    before, after = matrix_of(clip.pose_BF7[0, 0].numpy()), matrix_of(made.pose_BF7[0, 0].numpy())
    mirror = np.diag([1.0, -1, 1, 1])
    assert np.allclose(after, mirror @ before @ mirror, atol=1e-6)
    assert not np.allclose(after, before, atol=0.1)


def sideways(frames_FHWC: np.ndarray) -> np.ndarray:
    """Median horizontal motion of the picture from each frame to the next, in pixels; positive is right."""
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in frames_FHWC]
    flows = [
        cv2.calcOpticalFlowFarneback(a, b, np.zeros((*a.shape, 2), np.float32), 0.5, 3, 21, 3, 5, 1.1, 0)
        for a, b in itertools.pairwise(grey)
    ]
    return np.array([np.median(flow[20:70, :, 0]) for flow in flows])


@pytest.mark.parametrize("steer", [0.35, -0.35])
def test_the_toy_worlds_picture_moves_as_its_yaw_rate_says_flipped_or_not(clips, steer):
    """The car turns left (yaw rate > 0), what is ahead moves right, and the other way round in the mirror."""
    world = ToyWorld(1, 96, 160, weather="clear")
    pictures, actions = [], []
    for n in range(16):
        world.step(steer, 0.3)
        if n >= 8:
            pictures.append(world.render())
            actions.append((steer, world.yaw_rate))
    clip = clips(np.stack(pictures)[None], actions=np.array(actions, np.float32)[None])
    made = Augment(FLIP, 0, actions=("steer", "yaw_rate"))(clip)
    for x in (clip, made):
        assert x.frames_BFHWC is not None
        flow, yaw_rate = sideways(x.frames_BFHWC[0].numpy()), x.actions_BFA[0, 1:, 1].numpy()
        assert (np.abs(yaw_rate) > 0.1).all() and (np.abs(flow) > 0.3).all()
        assert (np.sign(flow) == np.sign(yaw_rate)).all()
    assert (made.actions_BFA[0, :, 1] * steer < 0).all() and (
        made.actions_BFA[0, :, 0] == -clip.actions_BFA[0, :, 0]
    ).all()


@pytest.mark.parametrize(
    ("cameras", "order"),
    [
        (("front", "left", "right"), [0, 2, 1]),
        (("CAM_FRONT_LEFT", "CAM_BACK_RIGHT", "CAM_FRONT_RIGHT", "CAM_BACK_LEFT"), [2, 3, 0, 1]),
        (("rgb_Left_wide", "rear", "rgb_Right_wide"), [2, 1, 0]),
    ],
)
def test_left_and_right_cameras_change_places(clips, scene, cameras, order):
    pixels = np.stack([scene(seed=n) for n in range(len(cameras))])[None, None]
    clip = clips(pixels)
    made = Augment(FLIP, 0, actions=NAMES[:5], cameras=cameras)(clip)
    assert made.views_BFVHWC is not None and clip.views_BFVHWC is not None
    assert torch.equal(made.views_BFVHWC, clip.views_BFVHWC[:, :, order].flip(4))
    assert made.frames_BFHWC is not None
    assert torch.equal(made.frames_BFHWC, made.views_BFVHWC[:, :, 0])


def test_a_flip_of_views_needs_to_know_their_sides(clips, scene):
    clip = clips(np.stack([scene(), scene()])[None, None])
    with pytest.raises(UserError, match="the clips have 2 views"):
        Augment(FLIP, 0, actions=NAMES[:5])(clip)
    with pytest.raises(UserError, match="'left' has no counterpart 'right' among front, left"):
        Augment(FLIP, 0, actions=NAMES[:5], cameras=("front", "left"))(clip)


def test_lens_distortion_is_mirrored():
    """OpenCV's own projection of mirrored points by the mirrored calibration gives the mirrored pixels."""
    k = np.array([[100.0, 0, 70], [0, 110, 45], [0, 0, 1]])
    distortion = [-0.2, 0.05, 0.01, -0.02, 0.003]
    points = np.random.default_rng(0).uniform((-2, -1, 4), (2, 1, 8), (20, 3))
    augment = Augment(FLIP | {"crop": 0.3}, 0, actions=NAMES)
    after = augment.calibration(7, {"front": {"intrinsics": k.tolist(), "distortion": distortion}}, 96, 160)["front"]
    none = np.zeros(3)
    before_uv = cv2.projectPoints(points, none, none, k, np.array(distortion))[0][:, 0]
    after_uv = cv2.projectPoints(
        points * (-1, 1, 1), none, none, np.array(after["intrinsics"]), np.array(after["distortion"])
    )[0][:, 0]
    expected = np.concatenate([before_uv, np.ones((20, 1))], 1) @ augment.geometry(7, 96, 160).T
    assert np.allclose(after_uv, expected[:, :2], atol=1e-6)
