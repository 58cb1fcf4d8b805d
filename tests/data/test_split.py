"""Splits go by recording, are fixed by names, and leave no split empty."""

import numpy as np
import pytest

from roadcast.data.layout import INDEX
from roadcast.data.split import SPLITS, assign_splits, shared_pictures


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
