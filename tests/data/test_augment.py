"""Augmentation as a whole: by key alone, labels true to pixels, registry and refusals."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from roadcast.data import geometry
from roadcast.data.augment import AUGMENTATIONS, Augment, Chance, Paint, register_augmentation
from roadcast.data.clip import Clip
from roadcast.data.toyroad import ToyWorld
from roadcast.errors import UserError

ACTIONS = ("steer", "throttle", "yaw_rate", "curvature")
EVERYTHING = {name: 0.3 if cls.always else 0.5 for name, cls in AUGMENTATIONS.items()}
H, W = 48, 64


def textured(batch: int, frames: int, seed: int = 0, height: int = H, width: int = W) -> np.ndarray:
    """Smooth random pictures, uint8 [B, F, H, W, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (batch * frames, height // 8, width // 8, 3), np.uint8)
    fine = np.stack([cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) for image in coarse])
    return fine.reshape(batch, frames, height, width, 3)


def clip_of(pixels: np.ndarray, keys: list[int] | None = None, **fields) -> Clip:
    """A batch of these pixels, [B, F, H, W, 3] or [B, F, V, H, W, 3], at 20 Hz."""
    batch, frames = pixels.shape[:2]
    images = torch.from_numpy(pixels)
    clip = Clip(
        frames_BFHWC=images if images.ndim == 5 else images[:, :, 0],
        z_BTHWC=None,
        actions_BFA=torch.linspace(-1, 1, batch * frames * len(ACTIONS)).view(batch, frames, len(ACTIONS)),
        known_BFA=torch.ones(batch, frames, len(ACTIONS), dtype=torch.bool),
        t_ns_BF=(torch.arange(frames) * 50_000_000).expand(batch, -1),
        video_B=torch.zeros(batch, dtype=torch.int64),
        first_B=torch.zeros(batch, dtype=torch.int64),
        key_B=torch.tensor(keys if keys is not None else list(range(batch))),
        views_BFVHWC=images if images.ndim == 6 else None,
    )
    return dataclasses.replace(clip, **fields)


def pixels_of(clip: Clip) -> np.ndarray:
    assert clip.frames_BFHWC is not None
    return clip.frames_BFHWC.numpy()


def part_of(clip: Clip, places: list[int]) -> Clip:
    return clip._map(lambda x: x[places])


def test_a_clip_comes_out_the_same_in_every_batch():
    pixels, keys = textured(12, 5), [7 * k - 3 for k in range(12)]
    clip = clip_of(pixels, keys, pose_BF7=torch.rand(12, 5, 7))
    augment = Augment(EVERYTHING, 3, actions=ACTIONS)
    whole = augment(clip)
    assert not np.array_equal(pixels_of(whole), pixels)
    for places in ([0], [5, 11], [10, 9, 8, 7, 6, 1, 0]):
        alone = augment(part_of(clip, places))
        for field in dataclasses.fields(Clip):
            one, other = getattr(alone, field.name), getattr(whole, field.name)
            assert (one is None and other is None) or torch.equal(one, other[places]), field.name


def test_blocks_of_clips_and_the_whole_batch_give_the_same(monkeypatch):
    clip, augment = clip_of(textured(7, 4)), Augment(EVERYTHING, 3, actions=ACTIONS)
    whole = pixels_of(augment(clip))
    monkeypatch.setattr("roadcast.data.augment.augment._BLOCK", 3 * 4 * H * W * 3)
    assert np.array_equal(pixels_of(augment(clip)), whole)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_another_device_gives_the_same_up_to_rounding():
    clip, augment = clip_of(textured(8, 4), pose_BF7=torch.rand(8, 4, 7)), Augment(EVERYTHING, 3, actions=ACTIONS)
    here, there = augment(clip), augment(clip.to("cuda")).to("cpu")
    assert np.abs(pixels_of(here).astype(int) - pixels_of(there)).max() <= 2
    assert torch.equal(here.actions_BFA, there.actions_BFA)


def test_the_clip_given_stays_as_it_is():
    pixels = textured(4, 3)
    clip = clip_of(pixels.copy())
    before = [x.clone() for x in clip.tensors()]
    Augment(EVERYTHING, 0, actions=ACTIONS)(clip)
    assert all(torch.equal(x, y) for x, y in zip(before, clip.tensors(), strict=True))


def test_seed_and_key_change_the_draw():
    clip = clip_of(np.repeat(textured(1, 2), 3, axis=0), [1, 1, 2])
    made = pixels_of(Augment({"crop": 0.3}, 0)(clip))
    assert np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])
    assert not np.array_equal(made, pixels_of(Augment({"crop": 0.3}, 1)(clip)))


def test_one_augmentation_more_leaves_the_draws_of_the_others():
    few, more = Augment({"flip": 0.5, "crop": 0.2}, 0), Augment({"flip": 0.5, "crop": 0.2, "noise": 1.0}, 0)
    assert all(np.array_equal(few.geometry(k, H, W), more.geometry(k, H, W)) for k in range(20))


def test_chance_is_uniform_and_independent_between_keys_and_labels():
    chance = Chance(0, np.arange(4000, dtype=np.int64), "x")
    u = chance.uniform("a", 4)
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.01 and abs(u.var() - 1 / 12) < 0.005
    others = [u[1:, 0], u[:-1, 1], chance.uniform("b")[:-1], Chance(1, chance.key_N, "x").uniform("a", 4)[:-1, 0]]
    assert all(abs(np.corrcoef(u[:-1, 0], other)[0, 1]) < 0.06 for other in others)
    assert np.array_equal(chance.uniform("a", 9)[:, :4], u)


def test_the_share_of_clips_is_the_amount():
    pixels = np.random.default_rng(0).integers(0, 256, (400, 1, 8, 8, 3), np.uint8)
    made = Augment({"flip": 0.25}, 0, actions=ACTIONS)(clip_of(pixels))
    share = (pixels_of(made) != pixels).any(axis=(1, 2, 3, 4)).mean()
    assert 0.18 < share < 0.32


def test_flip_mirrors_pixels_actions_and_poses():
    pixels, pose = textured(2, 3), torch.rand(2, 3, 7)
    pose[1, 2] = float("nan")
    clip = clip_of(pixels, pose_BF7=pose)
    made = Augment({"flip": 1.0}, 0, actions=ACTIONS)(clip)
    assert np.array_equal(pixels_of(made), pixels[:, :, :, ::-1])
    assert torch.equal(made.actions_BFA, clip.actions_BFA * torch.tensor([-1.0, 1.0, -1.0, -1.0]))
    assert made.pose_BF7 is not None
    mirror = np.diag([1.0, -1, 1, 1])
    expected = mirror @ geometry.matrix_of(pose[0].numpy()) @ mirror
    assert np.allclose(geometry.matrix_of(made.pose_BF7[0].numpy()), expected, atol=1e-6)
    assert made.pose_BF7[1, 2].isnan().all()


def test_steering_agrees_with_flow_and_with_pose_before_and_after_a_flip():
    world, pictures, poses, rates = ToyWorld(2, 64, 128, weather="clear"), [], [], []
    for _ in range(12):
        world.step(0.35, 0.3)
        pictures.append(world.render())
        poses.append(world.pose)
        rates.append(world.yaw_rate)
    to_first = geometry.inverse(geometry.matrix_of(poses[0])) @ geometry.matrix_of(np.stack(poses))
    actions = torch.zeros(1, 12, len(ACTIONS))
    actions[..., 0], actions[..., 2] = 0.35, torch.tensor(rates)
    clip = clip_of(
        np.stack(pictures)[None],
        actions_BFA=actions,
        pose_BF7=torch.from_numpy(geometry.pose_of(to_first)).float()[None],
    )
    for amount, turn in ((0.0, 1), (1.0, -1)):
        made = Augment({"flip": amount}, 0, actions=ACTIONS)(clip)
        grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:28] for image in pixels_of(made)[0]]
        flow = cv2.calcOpticalFlowFarneback(grey[-2], grey[-1], None, 0.5, 3, 15, 3, 5, 1.2, 0)
        assert np.sign(np.median(flow[..., 0])) == turn, "a turn to the left moves the picture to the right"
        assert made.actions_BFA[0, -1].sign().tolist() == [turn, 0, turn, 0]
        assert made.pose_BF7 is not None
        pose = made.pose_BF7[0, -1].double().numpy()
        assert np.sign(geometry.yaw_of(pose)) == turn and np.sign(pose[1]) == turn


@pytest.mark.parametrize("key", range(6))
def test_known_points_of_the_toy_world_project_where_the_pixels_went(key):
    """A mark drawn where a point projects is found again, to a fifth of a pixel, where the changed intrinsics put it."""
    world = ToyWorld(1, 144, 256)
    camera = world.calibration["front"]
    points = np.array([[-3.0, -1.0, 12.0], [2.5, 0.8, 9.0], [0.3, 1.0, 14.0], [-1.0, -0.4, 7.0]])
    v, u = np.mgrid[:144, :256]
    image = np.zeros((144, 256))
    uv_N2 = geometry.project(points, np.array(camera["intrinsics"]))
    for x, y in uv_N2:
        image += 250 * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * 2.0**2))
    pixels = np.repeat(np.rint(image).clip(0, 255).astype(np.uint8)[None, None, ..., None], 3, axis=-1)
    augment = Augment({"crop": 0.4, "flip": 0.5}, 5, actions=ACTIONS)
    made = pixels_of(augment(clip_of(pixels, [key])))[0, 0, :, :, 0].astype(float)
    found = 0
    entry = augment.calibration(key, {"front": camera}, 144, 256)["front"]
    mirrored = np.linalg.det(augment.geometry(key, 144, 256)) < 0
    seen = points * (-1, 1, 1) if mirrored else points
    assert np.array(entry["intrinsics"])[0, 0] > 0
    for x, y in geometry.project(seen, np.array(entry["intrinsics"])):
        left, top = round(x) - 8, round(y) - 8
        if left < 0 or top < 0 or left + 17 > 256 or top + 17 > 144:
            continue
        near = made[top : top + 17, left : left + 17]
        centre = np.array([(near * np.arange(17)).sum(), (near * np.arange(17)[:, None]).sum()]) / near.sum()
        assert np.abs(np.array([left, top]) + centre - (x, y)).max() < 0.2
        found += 1
    assert found >= 1


def test_both_ways_a_key_was_flipped_or_not_are_among_those_tested():
    augment = Augment({"crop": 0.4, "flip": 0.5}, 5)
    signs = {np.sign(np.linalg.det(augment.geometry(key, 144, 256))) for key in range(6)}
    assert signs == {-1.0, 1.0}


def test_left_and_right_cameras_change_places_with_the_flip():
    pixels = np.stack([textured(2, 2, seed) for seed in range(3)], axis=2)
    clip = clip_of(pixels)
    cameras = ("CAM_FRONT", "CAM_FRONT_LEFT", "CAM_FRONT_RIGHT")
    made = Augment({"flip": 1.0}, 0, actions=ACTIONS, cameras=cameras)(clip)
    assert made.views_BFVHWC is not None
    assert np.array_equal(made.views_BFVHWC.numpy(), pixels[:, :, [0, 2, 1], :, ::-1])
    assert np.array_equal(pixels_of(made), made.views_BFVHWC[:, :, 0].numpy())


def test_a_flipped_rig_shows_the_mirrored_world():
    """What the right camera sees of a point is what the left one of the flipped clip sees of its mirror image."""
    world = ToyWorld(0, 64, 128, cameras=("front", "left", "right"))
    augment = Augment({"flip": 1.0}, 0)
    rig = world.calibration
    flipped = augment.calibration(4, rig, 64, 128)
    point = np.array([6.0, -7.0, 0.5])

    def pixel(entry: dict, point: np.ndarray) -> np.ndarray:
        seen = geometry.moved(point, geometry.inverse(np.array(entry["to_ego"])))
        return geometry.project(seen[None], np.array(entry["intrinsics"]))[0]

    before, after = pixel(rig["right"], point), pixel(flipped["left"], point * (1, -1, 1))
    assert np.allclose(after, (127 - before[0], before[1]))
    assert np.isclose(np.linalg.det(np.array(flipped["left"]["to_ego"])), 1)
    assert np.allclose(flipped["left"]["to_ego"], rig["left"]["to_ego"]), "the toy world's rig is symmetric"


def test_all_views_get_the_same_geometry():
    views = np.repeat(textured(2, 2)[:, :, None], 3, axis=2)
    augment = Augment({"crop": 0.3, "flip": 0.5, "colour": 1.0}, 0, actions=ACTIONS, cameras=("a", "left", "right"))
    made = augment(clip_of(views)).views_BFVHWC
    assert made is not None and not np.array_equal(made.numpy(), views)
    assert torch.equal(made[:, :, 0], made[:, :, 1]) and torch.equal(made[:, :, 0], made[:, :, 2])


def test_depth_is_moved_as_the_pictures_are():
    bright = np.zeros((3, 1, H, W, 3), np.uint8)
    bright[:, :, 10:30, 15:40] = 255
    depth = torch.from_numpy(np.where(bright[..., 0] > 0, 9.0, 50.0)).float()[:, :, None]
    augment = Augment({"crop": 0.4, "flip": 0.5}, 1, actions=ACTIONS)
    clip = clip_of(bright)
    assert clip.key_B is not None
    moved, made = augment.depth(clip.key_B, depth)[:, :, 0].numpy(), pixels_of(augment(clip))[..., 0]
    assert ((moved < 20) == (made > 127)).mean() > 0.98
    assert set(np.unique(moved)) == {9.0, 50.0}


@pytest.mark.parametrize(("amounts", "words"), [
    ({"colours": 0.5}, ["'colours'", "did you mean 'colour'"]),
    ({"xyz": 0.5}, ["'xyz'", "choose from", "fog"]),
    ({"flip": 1.5}, ["augment.flip = 1.5", "0 to 1"]),
    ({"crop": -0.1}, ["augment.crop = -0.1", "0.9"]),
])  # fmt: skip
def test_a_wrong_name_or_amount_is_told(amounts, words):
    with pytest.raises(UserError) as told:
        Augment(amounts, 0)
    assert all(word in str(told.value) for word in words)


def test_latents_and_lonely_cameras_are_refused():
    clip = clip_of(textured(1, 2))
    with pytest.raises(UserError, match="latents"):
        Augment({"flip": 1.0}, 0)(dataclasses.replace(clip, frames_BFHWC=None))
    two = clip_of(textured(1, 2)[:, :, None].repeat(2, axis=2))
    with pytest.raises(UserError, match="no counterpart 'right'"):
        Augment({"flip": 1.0}, 0, actions=ACTIONS, cameras=("front", "left"))(two)
    with pytest.raises(UserError, match="2 views"):
        Augment({"flip": 1.0}, 0, actions=ACTIONS)(two)


def test_a_plug_in_is_found_by_its_name(monkeypatch):
    monkeypatch.setattr("roadcast.data.augment.base.AUGMENTATIONS", dict(AUGMENTATIONS))

    @register_augmentation("negative")
    class Negative(Paint):
        phase = "sensor"

        def paint(self, pixels_NFVCHW, shot, chance):
            return 255 - pixels_NFVCHW

    pixels = textured(2, 2)
    assert np.array_equal(pixels_of(Augment({"negative": 1.0}, 0)(clip_of(pixels))), 255 - pixels)
