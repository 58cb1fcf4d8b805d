"""Solid things made of convex parts: the one geometry that pixels, depth and ranges are all computed from."""

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

CORNERS = 6
"""Most corners a face may have; shorter faces repeat their last corner."""
PLANES = 14
"""Most faces a convex part may have."""


@dataclass(frozen=True)
class Solids:
    """O things of F faces and P convex parts, in one frame; the faces of a thing are in painter's order.

    corners_FK3, counts_F         the polygons of the faces, m
    normals_F3, offsets_F         outward unit normal n and n . p of every face's plane, m
    albedo_F3, glow_F             colour in [0, 255] and how much of it shines by itself at night, in [0, 1]
    detail_F, under_F3            paint on a face (window, lamp), no surface of its own, and the colour it is put on
    cards_CK2, card_albedo_C3     outlines for a look from afar, m: (to the right as seen, up), and their colours
    card_far_C                    which cards are for a look from very far, in place of the others
    owner_F, owner_C, owner_P     which thing a face, a card or a part belongs to
    planes_PK4                    parts as half-spaces n . p - d <= 0; unused rows are (0, 0, 0, 1)
    centre_O2, radius_O, top_O    upright cylinder around the thing, m
    """

    corners_FK3: np.ndarray
    counts_F: np.ndarray
    normals_F3: np.ndarray
    offsets_F: np.ndarray
    albedo_F3: np.ndarray
    glow_F: np.ndarray
    detail_F: np.ndarray
    under_F3: np.ndarray
    cards_CK2: np.ndarray
    card_albedo_C3: np.ndarray
    card_far_C: np.ndarray
    owner_F: np.ndarray
    owner_C: np.ndarray
    owner_P: np.ndarray
    planes_PK4: np.ndarray
    centre_O2: np.ndarray
    radius_O: np.ndarray
    top_O: np.ndarray

    @cached_property
    def faces_O(self) -> np.ndarray:
        """How many faces every thing has; the faces of a thing lie together, in the order of the things."""
        return np.bincount(self.owner_F, minlength=len(self.radius_O))

    @cached_property
    def cards_O(self) -> np.ndarray:
        """How many cards every thing has; they lie together as faces do."""
        return np.bincount(self.owner_C, minlength=len(self.radius_O))

    def moved(self, poses_O3: np.ndarray) -> "Solids":
        """The same things, each turned by its yaw (rad) about the origin and then shifted: rows x, y (m), yaw."""
        turn_O4 = np.stack((np.cos(poses_O3[:, 2]), np.sin(poses_O3[:, 2]), poses_O3[:, 0], poses_O3[:, 1]), axis=1)
        c, s, x, y = turn_O4[self.owner_F].T
        corners_FK3, normals_F3 = self.corners_FK3.copy(), self.normals_F3.copy()
        corners_FK3[..., :2] = _turned(self.corners_FK3, c[:, None], s[:, None])
        corners_FK3[..., 0] += x[:, None]
        corners_FK3[..., 1] += y[:, None]
        normals_F3[:, :2] = _turned(self.normals_F3, c, s)
        offsets_F = self.offsets_F + normals_F3[:, 0] * x + normals_F3[:, 1] * y
        c, s, x, y = turn_O4[self.owner_P].T[..., None]
        planes_PK4 = self.planes_PK4.copy()
        planes_PK4[..., :2] = _turned(self.planes_PK4, c, s)
        planes_PK4[..., 3] += planes_PK4[..., 0] * x + planes_PK4[..., 1] * y
        return replace(
            self,
            corners_FK3=corners_FK3,
            normals_F3=normals_F3,
            offsets_F=offsets_F,
            planes_PK4=planes_PK4,
            centre_O2=_turned(self.centre_O2, turn_O4[:, 0], turn_O4[:, 1]) + poses_O3[:, :2],
        )

    def tinted(self, gain_O3: np.ndarray) -> "Solids":
        """The same things, the colours of each times its RGB gain."""
        face_F3, card_C3 = gain_O3[self.owner_F], gain_O3[self.owner_C]
        return replace(
            self,
            albedo_F3=np.minimum(self.albedo_F3 * face_F3, 255.0),
            under_F3=np.minimum(self.under_F3 * face_F3, 255.0),
            card_albedo_C3=np.minimum(self.card_albedo_C3 * card_C3, 255.0),
        )


def _turned(vectors: np.ndarray, c: np.ndarray, s: np.ndarray) -> np.ndarray:
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack((c * x - s * y, s * x + c * y), axis=-1)


def join(groups: list[Solids]) -> Solids:
    """All things of several groups as one group, in order."""
    firsts = np.cumsum([0] + [len(g.radius_O) for g in groups])
    values = {}
    for field in fields(Solids):
        parts = [getattr(g, field.name) for g in groups]
        if field.name.startswith("owner"):
            parts = [p + first for p, first in zip(parts, firsts)]
        values[field.name] = np.concatenate(parts)
    return Solids(**values)


class Builder:
    """Collects the convex parts and the paint of one thing, in painter's order, in the thing's own frame."""

    def __init__(self, radius: float):
        self._radius = radius
        self._faces: list[tuple[np.ndarray, np.ndarray, tuple, float, bool]] = []
        self._under: list[tuple] = []
        self._cards: list[tuple[list, tuple, bool]] = []
        self._parts: list[np.ndarray] = []

    def part(self, polygons: list, colours: list) -> None:
        """A convex part given by all its faces (polygons of 3D corners) and their colours."""
        polygons = [np.asarray(p, dtype=np.float64) for p in polygons]
        inside = np.mean(np.concatenate(polygons), axis=0)
        planes = np.tile(np.array([0.0, 0.0, 0.0, 1.0]), (PLANES, 1))
        for i, (polygon, colour) in enumerate(zip(polygons, colours, strict=True)):
            normal = _normal(polygon)
            if normal @ (polygon[0] - inside) < 0:
                normal = -normal
            planes[i] = *normal, normal @ polygon[0]
            self._faces.append((polygon, normal, colour, 0.0, False))
            self._under.append(colour)
        self._parts.append(planes)

    def paint(self, polygon, colour: tuple, outward: tuple, glow: float = 0.0) -> None:
        """A coloured patch on a face drawn before; `outward` tells which side of it is seen."""
        polygon = np.asarray(polygon, dtype=np.float64)
        normal = _normal(polygon)
        self._faces.append((polygon, normal if normal @ np.asarray(outward) > 0 else -normal, colour, glow, True))
        self._under.append(self._under[-1])

    def card(self, levels: list[tuple[float, float]], colour: tuple, very_far: bool = False) -> None:
        """An upright outline that stands for the thing far away, from two or three (z, half width) levels, in m."""
        outline = [(-w, z) for z, w in levels] + [(w, z) for z, w in levels[::-1]]
        outline += outline[-1:] * (CORNERS - len(outline))
        self._cards.append((outline, colour, very_far))

    def build(self) -> Solids:
        """The thing as a group of one."""
        corners = np.stack([p[np.minimum(np.arange(CORNERS), len(p) - 1)] for p, *_ in self._faces])
        normals = np.stack([n for _, n, *_ in self._faces])
        return Solids(
            corners_FK3=corners,
            counts_F=np.array([len(p) for p, *_ in self._faces]),
            normals_F3=normals,
            offsets_F=np.einsum("fk,fk->f", normals, corners[:, 0]),
            albedo_F3=np.array([c for _, _, c, _, _ in self._faces], dtype=np.float64),
            glow_F=np.array([g for *_, g, _ in self._faces], dtype=np.float64),
            detail_F=np.array([d for *_, d in self._faces]),
            under_F3=np.array(self._under, dtype=np.float64),
            cards_CK2=np.array([c for c, *_ in self._cards]).reshape(-1, CORNERS, 2),
            card_albedo_C3=np.array([c for _, c, _ in self._cards], dtype=np.float64).reshape(-1, 3),
            card_far_C=np.array([f for *_, f in self._cards], dtype=bool),
            owner_F=np.zeros(len(self._faces), dtype=np.int64),
            owner_C=np.zeros(len(self._cards), dtype=np.int64),
            owner_P=np.zeros(len(self._parts), dtype=np.int64),
            planes_PK4=np.stack(self._parts),
            centre_O2=np.zeros((1, 2)),
            radius_O=np.array([self._radius]),
            top_O=np.array([corners[..., 2].max()]),
        )


def box(x0: float, x1: float, y0: float, y1: float, z0: float, z1: float, taper: float = 0.0) -> list:
    """Faces of a box, in m: front (x1), back, left (y1), right, top, bottom; its top is `taper` smaller each side."""
    b = [(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)]
    t = [(x0 + taper, y0 + taper, z1), (x1 - taper, y0 + taper, z1)]
    t += [(x1 - taper, y1 - taper, z1), (x0 + taper, y1 - taper, z1)]
    sides = [[b[i], b[j], t[j], t[i]] for i, j in ((1, 2), (3, 0), (2, 3), (0, 1))]
    return [*sides, t, b]


def rings(levels: list[tuple[float, float]], sides: int = 6) -> list:
    """Faces of a body of revolution, in m, from (z, radius) levels bottom to top; convex if the profile is."""
    angles = np.arange(sides) * 2 * math.pi / sides
    hoops = [np.stack((r * np.cos(angles), r * np.sin(angles), np.full(sides, z)), axis=1) for z, r in levels]
    faces = [hoops[0], hoops[-1]]
    for low, high in pairwise(hoops):
        faces += [np.stack((low[i], low[i - 1], high[i - 1], high[i])) for i in range(sides)]
    return faces


def within(polygon, across: tuple[float, float], up: tuple[float, float]) -> np.ndarray:
    """The part of a quadrilateral (low left, low right, high right, high left) between fractions of its sides."""
    a, b, c, d = np.asarray(polygon, dtype=np.float64)[:4]
    corners = []
    for f, g in ((across[0], up[0]), (across[1], up[0]), (across[1], up[1]), (across[0], up[1])):
        corners.append((1 - g) * ((1 - f) * a + f * b) + g * ((1 - f) * d + f * c))
    return np.array(corners)


def _normal(polygon: np.ndarray) -> np.ndarray:
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = polygon[:3].tolist()
    bx, by, bz, cx, cy, cz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    x, y, z = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    length = math.sqrt(x * x + y * y + z * z)
    return np.array([x / length, y / length, z / length])
