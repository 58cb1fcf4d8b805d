"""What a view sees of the solids, as screen polygons from far to near, without error and without omission."""

import math
from dataclasses import dataclass

import numpy as np

from roadcast.data.toyroad.camera import NEAR, View, clip_near
from roadcast.data.toyroad.solids import Solids, join
from roadcast.data.toyroad.weather import FAR

SHIFT = 4
"""Fractional bits of the screen coordinates handed to OpenCV."""


@dataclass(frozen=True)
class Seen:
    """Visible surfaces in painter's order: fixed point screen polygons, planes n . p = offset, colours."""

    polygons: list[np.ndarray]
    normals_F3: np.ndarray
    offsets_F: np.ndarray
    albedo_F3: np.ndarray


def visible_faces(view: View, groups: list[Solids]) -> Seen:
    """The surfaces of all groups that `view` can see, far to near; paint on them is left out.

    Things are sorted by the power d^2 - r^2 of the camera with respect to their bounding circles. A ray that meets two
    circles that do not overlap runs through the one of smaller power first (the product of the distances at which it
    enters and leaves a circle is that power), so no nearer thing is ever painted over by a farther one. For cars in
    neighbouring lanes, all of one radius, the sorting lines are the bisectors between them, which separate them too.
    """
    group = join(groups)
    numbers_O, place_O2 = things_in_view(view, group)
    power_O = np.square(place_O2).sum(axis=1) - np.square(group.radius_O[numbers_O])
    index, _ = members(group.faces_O, numbers_O[np.argsort(-power_O, kind="stable")])
    index = index[~group.detail_F[index] & (group.normals_F3[index] @ view.position > group.offsets_F[index])]
    uv_FK2, near_F, points_FK3 = project(view, group.corners_FK3[index])
    polygons = screen_polygons(view, uv_FK2, near_F, points_FK3)
    kept = [i for i, polygon in enumerate(polygons) if len(polygon)]
    index = index[kept]
    return Seen([polygons[i] for i in kept], group.normals_F3[index], group.offsets_F[index], group.albedo_F3[index])


def things_in_view(
    view: View, group: Solids, slack: float = 0.0, turn: float = 0.0, smallest: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers [O] of the things that may be seen, and their places [O, 2]: depth and offset to the right, m.

    With `slack` (m) and `turn` (rad), for all cameras that far from this one. Things less than `smallest` pixels in
    radius are left out.
    """
    camera = view.camera
    slope = math.tan(math.atan(0.5 * camera.width / camera.focal) + turn)
    place_O2 = (group.centre_O2 - view.position[:2]) @ view.rotation[:2, ::-2]
    ahead_O, reach_O = place_O2[:, 0] + slack, group.radius_O
    keep_O = np.abs(place_O2[:, 1]) < ahead_O * slope + (reach_O + slack) * math.hypot(1.0, slope)
    keep_O &= (ahead_O > NEAR - reach_O) & (place_O2[:, 0] < FAR)
    keep_O &= smallest * place_O2[:, 0] <= camera.focal * reach_O
    numbers = np.flatnonzero(keep_O)
    return numbers, place_O2[numbers]


def members(count_O: np.ndarray, numbers_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that belong to the things `numbers_N`, given how many rows every thing has; and whose each row is."""
    count_N = count_O[numbers_N]
    thing_R = np.repeat(np.arange(len(numbers_N)), count_N)
    before_N = np.cumsum(count_O)[numbers_N] - np.cumsum(count_N)
    return before_N[thing_R] + np.arange(len(thing_R)), thing_R


def project(view: View, corners_FK3: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels [F, K, 2], which faces [F] reach behind NEAR (their pixels are wrong), and camera coordinates."""
    camera = view.camera
    points_FK3 = (corners_FK3 - view.position) @ view.rotation
    z_FK = points_FK3[..., 2]
    uv_FK2 = points_FK3[..., :2] * (camera.focal / np.maximum(z_FK, NEAR))[..., None]
    uv_FK2 += (camera.cx, camera.cy)
    return uv_FK2, z_FK.min(axis=1) < NEAR, points_FK3


def screen_polygons(view: View, uv_FK2: np.ndarray, near_F: np.ndarray, points_FK3: np.ndarray) -> list[np.ndarray]:
    """What `project` gives as polygons in fixed point, cut at NEAR; empty when all behind."""
    polygons = list(to_fixed(uv_FK2))
    for i in np.flatnonzero(near_F).tolist():
        polygons[i] = to_fixed(view.to_pixels(clip_near(points_FK3[i])))
    return polygons


def to_fixed(uv_N2: np.ndarray) -> np.ndarray:
    """Pixels as OpenCV's fixed point int32 with SHIFT fractional bits."""
    return np.rint(np.minimum(np.maximum(uv_N2, -1e6), 1e6) * (1 << SHIFT)).astype(np.int32)
