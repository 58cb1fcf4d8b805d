import json

import numpy as np
import pytest

from roadcast.errors import UserError
from roadcast.evaluation.metrics.catalogue import METRICS
from roadcast.evaluation.protocol import make_protocol, read_clips

USUAL = {"split": "val", "clips": 12, "context": 4, "horizon": 16, "steps": None, "seed": 5}


def test_clips_lie_inside_one_recording_each_and_are_spread_over_all_of_the_split(reel, worlds):
    protocol = make_protocol(worlds["frozen"](), reel, **USUAL)
    videos = [v for v in reel.videos if v.split == "val"]
    homes = []
    for first in protocol.clips:
        home = [v for v in videos if v.first <= first and first + 20 <= v.first + v.frames]
        assert len(home) == 1
        homes.append(home[0].name)
    assert sorted(protocol.clips) == list(protocol.clips)
    assert len(set(protocol.clips)) == 12
    assert [homes.count(v.name) for v in videos] == [6, 6]
    assert protocol.recordings == 2
    assert protocol.horizons == (1, 2, 4, 8, 16)


def test_same_question_same_protocol_and_it_survives_json(reel, worlds):
    looked_at = {"metrics": ["psnr", "depth_flicker"], "networks": {"depth_flicker": "net/1"}}
    protocol = make_protocol(worlds["frozen"](), reel, **USUAL, **looked_at)
    assert protocol == make_protocol(worlds["frozen"](), reel, **USUAL, **looked_at)
    kept = json.loads(json.dumps(protocol.to_dict()))
    assert kept == protocol.to_dict()
    assert kept["dataset"] == reel.fingerprint
    assert kept["metrics"] == {"psnr": METRICS["psnr"].version, "depth_flicker": METRICS["depth_flicker"].version}
    assert kept["networks"] == {"depth_flicker": "net/1"}


def test_fewer_places_than_clips_gives_each_place_once(reel, worlds):
    protocol = make_protocol(worlds["frozen"](), reel, **{**USUAL, "clips": 1000, "horizon": 60})
    assert protocol.clips == tuple(v.first + i for v in reel.videos if v.split == "val" for i in range(70 - 64 + 1))


def test_a_slower_model_is_given_every_second_frame(reel, worlds):
    world = worlds["frozen"]()
    world.fps = 5.0
    protocol = make_protocol(world, reel, **USUAL)
    clip = read_clips(reel, protocol, [0, 3])
    first = protocol.clips[3]
    np.testing.assert_array_equal(clip.frames_BFHWC[1, 7], reel.read(first + 14))
    np.testing.assert_array_equal(clip.actions_BFA[1, :, 0], reel.signals["steer"][first : first + 40 : 2])
    assert (np.diff(clip.t_ns_BF[0]) == 200_000_000).all()
    assert reel.videos[clip.video_B[1]].first <= first < reel.videos[clip.video_B[1]].first + 70


@pytest.mark.parametrize(
    ("change", "world_has", "message"),
    [
        ({"horizon": 70}, {}, "longest recording of split 'val' has 70 frames.*need 75"),
        ({"split": "train"}, {}, "no recording is in split 'train'; splits present: test, val"),
        ({"clips": 1}, {}, "clips=1"),
        ({}, {"height": 64}, "32x64 but the model sees 64x64"),
        ({}, {"fps": 7.0}, "10 frames a second cannot be thinned to the model's 7"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_reason(reel, worlds, change, world_has, message):
    world = worlds["frozen"]()
    for name, value in world_has.items():
        setattr(world, name, value)
    with pytest.raises(UserError, match=message):
        make_protocol(world, reel, **{**USUAL, **change})
