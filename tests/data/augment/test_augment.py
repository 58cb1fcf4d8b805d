"""What holds for every augmentation: drawn by key alone, once a clip, and found by name."""

import dataclasses

import numpy as np
import pytest
import torch

from roadcast.data.augment import AUGMENTATIONS, Augment, Paint, register_augmentation
from roadcast.data.clip import Clip
from roadcast.errors import UserError

ACTIONS = ("steer", "throttle", "speed", "yaw_rate", "curvature")
CAMERAS = ("front", "left", "right")
ALL = {name: 0.4 if cls.always else 0.6 for name, cls in AUGMENTATIONS.items()}
PHOTOMETRIC = sorted(name for name, cls in AUGMENTATIONS.items() if issubclass(cls, Paint))
KEYS = [3, 9, 2**40 + 1, 17, 4, 8]


def full(name: str) -> dict[str, float]:
    return {name: AUGMENTATIONS[name].limit}


def batch(clips, scene, height: int = 37, width: int = 53, keys: list[int] = KEYS, views: int = 3) -> Clip:
    one = [
        [[scene(height, width, 100 * n + 10 * f + v) for v in range(views)] for f in range(4)] for n in range(len(keys))
    ]
    return clips(np.array(one), keys)


def some(clip: Clip, places: list[int]) -> Clip:
    values = {x.name: getattr(clip, x.name) for x in dataclasses.fields(clip)}
    return Clip(**{name: None if value is None else value[places] for name, value in values.items()})


def same(a: Clip, b: Clip) -> bool:
    return len(a.tensors()) == len(b.tensors()) and all(
        x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(a.tensors(), b.tensors())
    )


@pytest.mark.parametrize("amounts", [ALL, *({name: ALL[name]} for name in AUGMENTATIONS)], ids=["all", *AUGMENTATIONS])
def test_a_clip_comes_out_the_same_in_every_batch(clips, scene, amounts):
    augment = Augment(amounts, 5, actions=ACTIONS, cameras=CAMERAS)
    clip = batch(clips, scene)
    whole = augment(clip)
    assert same(whole, augment(clip))
    for places in ([5, 4, 3, 2, 1, 0], [2, 0, 2], *([n] for n in range(6))):
        assert same(augment(some(clip, places)), some(whole, places)), places


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_other_keys_and_other_seeds_give_other_clips(clips, scene, name):
    keys = list(range(16))
    clip = clips(np.broadcast_to(scene(), (16, 6, 48, 64, 3)).copy(), keys)
    clip.frames_BFHWC[:, :, :4] = torch.arange(0, 120, 20).view(1, 6, 1, 1, 1)  # pyright: ignore
    amounts = {name: 0.5}
    made = Augment(amounts, 0, actions=ACTIONS)(clip).frames_BFHWC
    other = Augment(amounts, 1, actions=ACTIONS)(clip).frames_BFHWC
    assert made is not None and other is not None
    assert len({x.numpy().tobytes() for x in made}) >= 2
    assert not torch.equal(made, other)


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_one_draw_a_clip(clips, scene, name):
    """In a static clip all frames stay alike, and what does not look at places makes all views alike."""
    clip = clips(np.broadcast_to(scene(), (6, 4, 2, 48, 64, 3)).copy())
    made = Augment(full(name), 2)(clip).views_BFVHWC
    assert made is not None
    still = torch.equal(made, made[:, :1].expand_as(made))
    assert still == (name not in ("noise", "rain"))
    if name in ("blur", "colour", "fog", "jpeg", "drop"):
        assert torch.equal(made, made[:, :, :1].expand_as(made))


def test_a_share_is_the_share_of_clips(clips, scene):
    clip = clips(np.broadcast_to(scene(16, 16), (2000, 1, 16, 16, 3)).copy())
    made = Augment({"flip": 0.3}, 0, actions=ACTIONS)(clip)
    flipped = (made.actions_BFA[:, 0, 0] < 0).float().mean()
    assert abs(flipped - 0.3) < 0.04


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("name", [*AUGMENTATIONS, "all"])
def test_the_clip_given_is_not_changed_and_bytes_stay_bytes(clips, scene, name, views):
    clip = batch(clips, scene, views=views)
    if views == 1:
        clip.views_BFVHWC, clip.frames_BFHWC = None, clip.views_BFVHWC[:, :, 0].clone()  # pyright: ignore
    before = [x.clone() for x in clip.tensors()]
    made = Augment(ALL if name == "all" else full(name), 0, actions=ACTIONS, cameras=CAMERAS)(clip)
    assert all(torch.equal(x, y) for x, y in zip(before, clip.tensors(), strict=True))
    assert made.frames_BFHWC is not None and made.frames_BFHWC.dtype == torch.uint8
    assert made.frames_BFHWC.shape == clip.frames_BFHWC.shape  # pyright: ignore
    assert (made.views_BFVHWC is None) == (views == 1)
    if made.views_BFVHWC is not None:
        assert made.frames_BFHWC.data_ptr() == made.views_BFVHWC.data_ptr()
    made.frames_BFHWC.zero_()
    made.actions_BFA.add_(0)
    assert all(torch.equal(x, y) for x, y in zip(before, clip.tensors(), strict=True))


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("name", ["blur", "drop", "jpeg", "noise", "glare", "drops"])
def test_black_and_white_do_not_wrap_round(clips, name, value):
    clip = clips(np.full((8, 2, 32, 48, 3), value, np.uint8))
    made = Augment(full(name), 0)(clip).frames_BFHWC
    assert made is not None
    off = (made.int() - value).abs().max()
    if name == "jpeg":
        assert off <= 3
    elif name in ("blur", "drop") or (value, name) in ((255, "glare"), (255, "drops")):
        assert off == 0
    else:
        assert 0 < off < {"noise": 60, "glare": 181, "drops": 7}[name]


def test_without_parts_the_clip_is_given_back(clips, scene):
    clip = batch(clips, scene)
    assert Augment({}, 0)(clip) is clip
    assert Augment({"flip": 0.0, "crop": 0.0, "noise": 0.0}, 0)(clip) is clip
    latents = dataclasses.replace(clip, frames_BFHWC=None, views_BFVHWC=None, z_BTHWC=torch.zeros(6, 4, 2, 2, 4))
    assert Augment({}, 0)(latents) is latents


@pytest.mark.parametrize("pixels_too", [False, True])
def test_latents_are_refused(clips, scene, pixels_too):
    clip = dataclasses.replace(batch(clips, scene), z_BTHWC=torch.zeros(6, 4, 2, 2, 4))
    if not pixels_too:
        clip = dataclasses.replace(clip, frames_BFHWC=None, views_BFVHWC=None)
    with pytest.raises(UserError, match="latents"):
        Augment({"noise": 1.0}, 0)(clip)


@pytest.mark.parametrize(
    ("name", "hint"), [("flop", "did you mean 'flip'"), ("color", "did you mean 'colour'"), ("xyz", "jpeg")]
)
def test_an_unknown_name_is_told_with_the_nearest(name, hint):
    with pytest.raises(UserError, match=hint) as told:
        Augment({"flip": 0.5, name: 0.5}, 0)
    assert repr(name) in str(told.value)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_number_out_of_range_is_refused(name):
    limit = AUGMENTATIONS[name].limit
    for amount in (-0.1, limit + 0.01, float("nan"), float("inf")):
        with pytest.raises(UserError, match=rf"augment\.{name} = .*from 0 to {limit:g}"):
            Augment({name: amount}, 0)
    Augment({name: limit}, 0)


def test_a_plug_in_is_found_by_its_name_and_acts_in_its_phase(clips, scene):
    seen = []

    @register_augmentation("negated")
    class Negative(Paint):
        phase = "scene"

        def paint(self, pixels_NFVCHW, shot, chance):
            seen.append(chance.uniform("any"))
            return 255 - pixels_NFVCHW

    try:
        clip = batch(clips, scene)
        made = Augment({"drop": 0.9, "negated": 1.0}, 0)
        assert [part.name for part in made.paints] == ["negated", "drop"]
        only = Augment({"negated": 1.0}, 0)(clip)
        assert torch.equal(only.views_BFVHWC, 255 - clip.views_BFVHWC)  # pyright: ignore
        assert seen[0].shape == (6,)
        with pytest.raises(UserError, match="did you mean 'negated'"):
            Augment({"negate": 1.0}, 0)
    finally:
        del AUGMENTATIONS["negated"]


def test_a_second_device_gives_the_same(clips, scene):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    clip = batch(clips, scene, 96, 160)
    for amounts in (*({name: ALL[name]} for name in ALL), ALL):
        augment = Augment(amounts, 5, actions=ACTIONS, cameras=CAMERAS)
        here, there = augment(clip), augment(clip.to("cuda")).to("cpu")
        assert torch.equal(here.actions_BFA, there.actions_BFA)
        assert torch.equal(here.pose_BF7, there.pose_BF7)  # pyright: ignore
        off = (here.views_BFVHWC.int() - there.views_BFVHWC.int()).abs()  # pyright: ignore
        assert (off > 0).float().mean() < 0.01, amounts
        if len(amounts) == 1:
            assert off.max() <= 1, amounts
