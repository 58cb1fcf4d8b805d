"""Which recordings train and which judge: by recording, never by frame; by what they share or where they drove, if wished."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import product

import numpy as np

from roadcast.errors import UserError

SPLITS = ("train", "val", "test")
FRACTIONS = (0.8, 0.1, 0.1)
EQUATOR, ECCENTRICITY2 = 6_378_137.0, 6.694_379_990_14e-3
"""Of the WGS 84 ellipsoid: radius in m, and squared eccentricity."""
SLACK = 1.5
"""Tracks are thinned for the comparison, which moves each by up to 0.22 of the radius: near is this many times it."""


def place(name: str) -> float:
    """A fixed number in [0, 1) for a name: the first 8 bytes of its sha256."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def assign_splits(
    names: Iterable[str],
    fractions: tuple[float, float, float] = FRACTIONS,
    groups: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The split of every name: where its `place` falls among the cumulated fractions.

    With three names or more, a split of positive fraction is never empty: it is given the name, of the split that has
    most, whose place is nearest to its own range. With fewer, everything trains.
    groups    by name, the group whose members must stay together (a name without one is alone). Then groups are placed, the
              largest first, each where its own place falls if that split has room for it, else where most is lacking.
    """
    unique = sorted(set(names))
    group_of = {name: (groups or {}).get(name, name) for name in unique}
    sizes = Counter(group_of.values())
    chosen = _place_groups(sizes, fractions) if len(sizes) < len(unique) else _place_names(unique, fractions)
    return {name: SPLITS[chosen[group_of[name] if len(sizes) < len(unique) else name]] for name in unique}


def _place_names(names: Iterable[str], fractions: tuple[float, float, float]) -> dict[str, int]:
    ordered = sorted(names, key=lambda name: (place(name), name))
    if len(ordered) < 3:
        return dict.fromkeys(ordered, 0)
    bounds = _bounds(fractions)
    chosen = {name: _split_at(name, bounds) for name in ordered}
    for split in (0, 1, 2):
        if fractions[split] > 0 and split not in chosen.values():
            largest = max((0, 1, 2), key=lambda s: (list(chosen.values()).count(s), -s))
            middle = (bounds[split] + bounds[split + 1]) / 2 / bounds[3]
            nearest = min((n for n in ordered if chosen[n] == largest), key=lambda n: (abs(place(n) - middle), n))
            chosen[nearest] = split
    return chosen


def _place_groups(sizes: Mapping[str, int], fractions: tuple[float, float, float]) -> dict[str, int]:
    if len(sizes) < 3:
        return dict.fromkeys(sizes, 0)
    bounds, total = _bounds(fractions), sum(sizes.values())
    lacking = [total * fraction / bounds[3] for fraction in fractions]
    chosen: dict[str, int] = {}
    for group in sorted(sizes, key=lambda g: (-sizes[g], place(g), g)):
        own = _split_at(group, bounds)
        if lacking[own] < sizes[group]:
            own = max((0, 1, 2), key=lambda s: (lacking[s], -s))
        chosen[group] = own
        lacking[own] -= sizes[group]
    for split in (0, 1, 2):
        if fractions[split] > 0 and split not in chosen.values():
            most = max((0, 1, 2), key=lambda s: (list(chosen.values()).count(s), -s))
            chosen[min((g for g in chosen if chosen[g] == most), key=lambda g: (sizes[g], place(g), g))] = split
    return chosen


def _bounds(fractions: tuple[float, float, float]) -> list[float]:
    return [0.0, fractions[0], fractions[0] + fractions[1], sum(fractions)]


def _split_at(name: str, bounds: list[float]) -> int:
    return next(s for s in (0, 1, 2) if place(name) * bounds[3] < bounds[s + 1] or s == 2)


def joined(names: Iterable[str], links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The group of every name, called by its first member: names that links connect, directly or through others."""
    parent = {name: name for name in sorted(set(names))}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    for a, b in links:
        first, second = sorted((root(a), root(b)))
        parent[second] = first
    return {name: root(name) for name in parent}


def geographic_groups(tracks: Mapping[str, np.ndarray], radius: float) -> dict[str, str]:
    """The group of every recording: those whose tracks [N, 2 or 3] (m, in one frame) come within `radius` m, directly or through others.

    A track counts as straight between its points. Raises `UserError` for a recording without any position.
    """
    if not radius > 0:
        raise UserError(f"radius = {radius}; give a positive number of metres")
    names, points, owners = list(tracks), [], []
    for number, name in enumerate(names):
        track = np.asarray(tracks[name], np.float64)
        track = track[np.isfinite(track).all(-1)]
        if not len(track):
            raise UserError(f"{name}: has no position (gps or ego_pose), so it cannot be split by place; split by name")
        filled = _filled(track, radius / 4)
        fine = np.floor(filled / (radius / 8)).astype(np.int64)
        _, first = np.unique(fine, axis=0, return_index=True)
        points.append(filled[first])
        owners.append(np.full(len(first), number))
    point, owner = np.concatenate(points), np.concatenate(owners)
    reach = SLACK * radius
    cells = np.floor((point - point.min(0)) / reach).astype(np.int64)
    links = _near(point, owner, cells, reach)
    return joined(names, ((names[a], names[b]) for a, b in links))


def _filled(track: np.ndarray, step: float) -> np.ndarray:
    """The track with points at most `step` apart."""
    lengths = np.linalg.norm(np.diff(track, axis=0), axis=1)
    pieces = np.maximum(1, np.ceil(lengths / step)).astype(np.int64)
    at = np.concatenate([np.repeat(np.arange(len(pieces)), pieces), [len(pieces)]]).astype(np.float64)
    at[:-1] += (np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)) / np.repeat(pieces, pieces)
    return np.stack([np.interp(at, np.arange(len(track)), column) for column in track.T], 1)


def _near(point: np.ndarray, owner: np.ndarray, cells: np.ndarray, radius: float) -> set[tuple[int, int]]:
    """Pairs of owners that have points within `radius`, all of which lie in one cell of that size or in neighbours."""
    order = np.lexsort((owner, *cells.T[::-1]))
    point, owner, cells = point[order], owner[order], cells[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(cells, axis=0) != 0).any(1)])
    spans = {tuple(cells[a].tolist()): slice(a, b) for a, b in zip(starts.tolist(), [*starts[1:].tolist(), len(cells)])}
    found: set[tuple[int, int]] = set()
    none = (0,) * cells.shape[1]
    ahead = [step for step in product((-1, 0, 1), repeat=len(none)) if step >= none]
    for cell, here in spans.items():
        for step in ahead:
            there = spans.get(tuple(map(sum, zip(cell, step))))
            if there is None:
                continue
            for a in set(owner[here].tolist()):
                others = {b for b in owner[there].tolist() if b != a and (min(a, b), max(a, b)) not in found}
                if not others:
                    continue
                mine, theirs = point[here][owner[here] == a], point[there]
                close = (np.linalg.norm(mine[:, None] - theirs[None], axis=2) <= radius).any(0)
                found |= {(min(a, b), max(a, b)) for b in set(owner[there][close].tolist()) & others}
    return found


def tracks_of(signals: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Where every recording drove, in m, from its signals: [N, 3] about the earth's centre if all have gps, else x y of ego_pose.

    ego_pose of several recordings must be of one map; poses that each begin at an origin of their own seem to be at one place,
    and so are kept together. Of gps the altitude is left out; in float32 a longitude beyond 128 degrees is in steps of 1.7 m.
    Raises `UserError` if some recordings have neither, or gps and ego_pose are mixed.
    """
    lacking: dict[str, list[str]] = {}
    for source in ("gps", "ego_pose"):
        known = {name: np.asarray(own[source], np.float64) for name, own in signals.items() if source in own}
        known = {name: rows[np.isfinite(rows).all(-1)] for name, rows in known.items()}
        lacking[source] = [name for name in signals if not len(known.get(name, ()))]
        if not lacking[source]:
            return {name: _on_earth(rows) if source == "gps" else rows[:, :2] for name, rows in known.items()}
    name = next((n for n in lacking["ego_pose"] if n in lacking["gps"]), lacking["ego_pose"][0] if signals else "")
    raise UserError(
        f"{name}: has no ego_pose, and gps is missing in {len(lacking['gps'])} of {len(signals)} recordings, so they cannot be "
        "split by place; split by name, or leave out those without a position"
    )


def _on_earth(gps: np.ndarray) -> np.ndarray:
    """Latitude and longitude (deg) [N, 2 or 3] as points [N, 3] of the WGS 84 ellipsoid, m from the earth's centre."""
    latitude, longitude = np.radians(gps[:, 0]), np.radians(gps[:, 1])
    normal = EQUATOR / np.sqrt(1 - ECCENTRICITY2 * np.sin(latitude) ** 2)
    across = normal * np.cos(latitude)
    height = normal * (1 - ECCENTRICITY2) * np.sin(latitude)
    return np.stack([across * np.cos(longitude), across * np.sin(longitude), height], 1)


def geographic_splits(
    tracks: Mapping[str, np.ndarray], radius: float = 50.0, fractions: tuple[float, float, float] = FRACTIONS
) -> dict[str, str]:
    """The split of every recording such that no two of different splits come within `radius` m of each other.

    Raises `UserError` for a recording without a position, and if the recordings form fewer groups than there are splits.
    """
    groups = geographic_groups(tracks, radius)
    if (have := len(set(groups.values()))) < len(SPLITS):
        raise UserError(
            f"the {len(groups)} recordings form only {have} groups that stay {radius:g} m apart, too few for 3 splits; "
            "give a smaller radius, or split by name"
        )
    return assign_splits(groups, fractions, groups)


def shared_pictures(index: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rows of the reel index `other` whose picture is in `index` too, by checksum and length of the encoded bytes.

    Copies of one picture in two recordings are found if both were cropped and sized alike; copies coded or sized anew are
    found by `roadcast.data.splits.leakage`.
    """
    keys, other_keys = ((i["crc32"].astype(np.uint64) << np.uint64(32)) | i["length"] for i in (index, other))
    return np.flatnonzero(np.isin(other_keys, keys))
