"""Which recordings train and which judge: by recording, never by frame."""

import hashlib
from collections.abc import Iterable

import numpy as np

SPLITS = ("train", "val", "test")
FRACTIONS = (0.8, 0.1, 0.1)


def place(name: str) -> float:
    """A fixed number in [0, 1) for a name: the first 8 bytes of its sha256."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def assign_splits(names: Iterable[str], fractions: tuple[float, float, float] = FRACTIONS) -> dict[str, str]:
    """The split of every name: where its `place` falls among the cumulated fractions.

    With three names or more, a split of positive fraction is never empty: it is given the name, of the split that has
    most, whose place is nearest to its own range. With fewer, everything trains.
    """
    ordered = sorted(set(names), key=lambda name: (place(name), name))
    if len(ordered) < 3:
        return dict.fromkeys(ordered, "train")
    bounds = [0.0, fractions[0], fractions[0] + fractions[1], sum(fractions)]
    chosen = {name: next(s for s in (0, 1, 2) if place(name) * bounds[3] < bounds[s + 1] or s == 2) for name in ordered}
    for split in (0, 1, 2):
        if fractions[split] > 0 and split not in chosen.values():
            largest = max((0, 1, 2), key=lambda s: (list(chosen.values()).count(s), -s))
            middle = (bounds[split] + bounds[split + 1]) / 2 / bounds[3]
            nearest = min((n for n in ordered if chosen[n] == largest), key=lambda n: (abs(place(n) - middle), n))
            chosen[nearest] = split
    return {name: SPLITS[split] for name, split in chosen.items()}


def shared_pictures(index: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rows of the reel index `other` whose picture is in `index` too, by checksum and length of the encoded bytes.

    Copies of one picture in two recordings are found if both were cropped and sized alike.
    """
    keys, other_keys = ((i["crc32"].astype(np.uint64) << np.uint64(32)) | i["length"] for i in (index, other))
    return np.flatnonzero(np.isin(other_keys, keys))
