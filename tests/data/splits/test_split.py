"""Splits go by recording, are fixed by names, and leave no split empty."""

import numpy as np
import pytest

from roadcast.data.reel.layout import INDEX
from roadcast.data.splits.split import (
    SPLITS,
    assign_splits,
    geographic_groups,
    geographic_splits,
    joined,
    shared_pictures,
    tracks_of,
)
from roadcast.errors import UserError


@pytest.mark.parametrize("count", [3, 4, 5, 10, 50])
@pytest.mark.parametrize("prefix", ["drive", "x", "2024-05-01"])
def test_every_split_has_a_recording_from_three_on(count, prefix):
    splits = assign_splits(f"{prefix}-{n}" for n in range(count))
    assert len(splits) == count and set(splits.values()) == set(SPLITS)
    assert list(splits.values()).count("train") >= count // 3


def test_fewer_than_three_all_train():
    assert assign_splits(["a", "b"]) == {"a": "train", "b": "train"}


def test_order_and_repetition_of_names_do_not_matter():
    names = [f"r{n}" for n in range(30)]
    assert assign_splits(names) == assign_splits(names[::-1] + names)


def test_most_recordings_keep_their_split_when_more_come():
    few, many = assign_splits(f"r{n}" for n in range(60)), assign_splits(f"r{n}" for n in range(120))
    assert all(many[name] == split for name, split in few.items())


def test_fractions_are_met_and_zero_means_none():
    splits = list(assign_splits((f"r{n}" for n in range(2000)), (0.7, 0.3, 0.0)).values())
    assert splits.count("test") == 0 and 0.66 < splits.count("train") / 2000 < 0.74


def test_shared_pictures_are_found_by_checksum_and_length():
    index, other = np.zeros(3, INDEX), np.zeros(4, INDEX)
    index["crc32"], index["length"] = [1, 2, 3], [10, 20, 30]
    other["crc32"], other["length"] = [3, 2, 9, 1], [30, 21, 9, 10]
    assert shared_pictures(index, other).tolist() == [0, 3]


def test_links_join_groups_through_others():
    groups = joined("abcdef", [("a", "b"), ("c", "b"), ("e", "d")])
    assert groups == {"a": "a", "b": "a", "c": "a", "d": "d", "e": "d", "f": "f"}


def test_groups_stay_together_and_fractions_are_met():
    names = [f"r{n:03d}" for n in range(300)]
    groups = {name: f"g{n // 5}" for n, name in enumerate(names)}
    splits = assign_splits(names, (0.8, 0.1, 0.1), groups)
    assert all(len({splits[n] for n in names if groups[n] == g}) == 1 for g in set(groups.values()))
    assert list(splits.values()).count("train") == pytest.approx(240, abs=5) and set(splits.values()) == set(SPLITS)


def tracks(count: int, towns: int = 12) -> dict[str, np.ndarray]:
    """Drives of 2 km inside towns 5 km apart: those of one town come near each other, or nearly."""
    chance = np.random.default_rng(1)
    found = {}
    for n in range(count):
        town = np.array([5000.0 * (n % towns), 0.0])
        steps = np.cumsum(chance.normal(0, 8, (200, 2)), 0)
        found[f"d{n:02d}"] = town + chance.uniform(-300, 300, 2) + steps
    return found


def test_no_drive_of_another_split_comes_within_the_radius():
    found = tracks(40)
    splits = geographic_splits(found, 60.0)
    assert set(splits.values()) == set(SPLITS) and splits == geographic_splits(dict(reversed(found.items())), 60.0)
    for a in found:
        for b in found:
            if splits[a] != splits[b]:
                assert np.linalg.norm(found[a][:, None] - found[b][None], axis=2).min() > 60.0


def test_tracks_near_each_other_across_the_border_of_a_cell_are_one_group():
    line = np.stack([np.linspace(0, 1000, 50), np.full(50, 99.0)], 1)
    beside = {
        "a": line,
        "b": line + np.array([0, 2]),
        "c": line + np.array([0, 500]),
        "d": line[::-1] + np.array([0, 599]),
    }
    groups = geographic_groups(beside, 100.0)
    assert groups == {"a": "a", "b": "a", "c": "c", "d": "c"}


@pytest.mark.parametrize(("latitude", "longitude"), [(60.0, 179.9999), (-45.0, 10.0), (85.0, -120.0)])
def test_gps_is_in_metres_on_all_the_earth_at_once(latitude, longitude):
    """The distances that are wanted are of a sphere, which the ellipsoid keeps within 1 %."""
    east = 0.0002 * 111_195 * np.cos(np.radians(latitude))
    places = {"a": (latitude, longitude), "b": (latitude, (longitude + 0.0002 + 180) % 360 - 180)}
    places |= {f"far{n}": (1.3 + n, 103.8) for n in range(4)}
    tracks = tracks_of({name: {"gps": np.array([[*at, 0.0]])} for name, at in places.items()})
    assert np.linalg.norm(tracks["a"] - tracks["b"]) == pytest.approx(east, rel=0.01)
    alone = {name: name for name in tracks}
    assert geographic_groups(tracks, 1.05 * east) == alone | {"b": "a"}
    assert geographic_groups(tracks, 0.5 * east) == alone


def test_what_cannot_be_split_by_place_is_told():
    with pytest.raises(UserError, match="b: has no ego_pose"):
        tracks_of({"a": {"ego_pose": np.zeros((3, 7))}, "b": {}})
    with pytest.raises(UserError, match="only 1 groups"):
        geographic_splits({name: np.zeros((4, 2)) for name in "abcd"}, 10.0)
    with pytest.raises(UserError, match="radius = 0"):
        geographic_groups({"a": np.zeros((4, 2))}, 0)


def test_no_two_groups_come_within_the_radius_however_tracks_lie():
    for seed in range(12):
        chance = np.random.default_rng(seed)
        found = {
            f"d{n:02d}": chance.uniform(0, 1500, 2) + np.cumsum(chance.normal(0, 6, (60, 2)), 0) for n in range(30)
        }
        groups = geographic_groups(found, 50.0)
        for a in found:
            for b in found:
                if groups[a] != groups[b]:
                    assert np.linalg.norm(found[a][:, None] - found[b][None], axis=2).min() > 50.0
