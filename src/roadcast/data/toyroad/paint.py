"""What a view sees of the solids, as screen polygons from far to near: pixels and depth are filled from one list."""

import math
from dataclasses import dataclass

import numpy as np

from roadcast.data.toyroad.camera import NEAR, View, clip_near
from roadcast.data.toyroad.solids import Solids
from roadcast.data.toyroad.weather import FAR

SHIFT = 4
"""Fractional bits of the screen coordinates handed to OpenCV."""
_DETAIL_FAR = 70.0
_FOUND = ("corners", "counts", "normal", "offset", "albedo", "glow", "detail", "power")


@dataclass(frozen=True)
class Seen:
    """Visible faces in painter's order: screen polygons (fixed point, SHIFT bits) and the faces they show."""

    polygons: list[np.ndarray]
    normals_F3: np.ndarray
    offsets_F: np.ndarray
    albedo_F3: np.ndarray
    glow_F: np.ndarray
    detail_F: np.ndarray
    middle_F3: np.ndarray


def visible_faces(view: View, groups: list[Solids]) -> Seen:
    """The faces of all groups that `view` can see, far to near.

    Things are sorted by the power d^2 - r^2 of the camera with respect to their bounding circles. A ray that meets two
    circles that do not overlap runs through the one of smaller power first (the product of the distances at which it
    enters and leaves a circle is that power), so no nearer thing is ever painted over by a farther one. For cars in
    neighbouring lanes, all of one radius, the sorting lines are the bisectors between them, which separate them too.
    """
    found: dict[str, list] = {name: [] for name in _FOUND}
    forward, right = view.rotation[:2, 2], view.rotation[:2, 0]
    slope = 0.5 * view.camera.width / view.camera.focal
    widen = math.hypot(1.0, slope)
    for group in groups:
        to_O2 = group.centre_O2 - view.position[:2]
        ahead_O, side_O = to_O2 @ forward, np.abs(to_O2 @ right)
        r = group.radius_O
        keep_O = (ahead_O > NEAR - r) & (ahead_O < FAR) & (side_O < ahead_O * slope + r * widen)
        keep_F = keep_O[group.owner_F]
        keep_F &= group.normals_F3 @ view.position > group.offsets_F
        keep_F &= ~group.detail_F | (ahead_O[group.owner_F] < _DETAIL_FAR)
        index = np.flatnonzero(keep_F)
        if not len(index):
            continue
        power_O = ahead_O * ahead_O + side_O * side_O - r * r
        found["corners"].append(group.corners_FK3[index])
        found["counts"].append(group.counts_F[index])
        found["normal"].append(group.normals_F3[index])
        found["offset"].append(group.offsets_F[index])
        found["albedo"].append(group.albedo_F3[index])
        found["glow"].append(group.glow_F[index])
        found["detail"].append(group.detail_F[index])
        found["power"].append(power_O[group.owner_F[index]])
    if not found["power"]:
        none = np.zeros((0, 3))
        return Seen([], none, none[:, 0], none, none[:, 0], none[:, 0] > 0, none)
    all_of = {name: np.concatenate(parts) for name, parts in found.items()}
    order = np.argsort(-all_of["power"], kind="stable")
    corners_FK3 = all_of["corners"][order]
    points_FK3 = (corners_FK3.reshape(-1, 3) - view.position) @ view.rotation
    points_FK3 = points_FK3.reshape(corners_FK3.shape)
    points_KF3 = np.ascontiguousarray(points_FK3.swapaxes(0, 1))
    z_KF = points_KF3[..., 2]
    near_F, beyond_F = z_KF.min(axis=0) < NEAR, z_KF.max(axis=0) > NEAR
    np.maximum(z_KF, NEAR, out=z_KF)
    uv_KF2 = view.to_pixels(points_KF3)
    low_F2, high_F2 = uv_KF2.min(axis=0), uv_KF2.max(axis=0)
    size_F2 = high_F2 - low_F2
    shown_F = (high_F2[:, 0] > -1) & (low_F2[:, 0] < view.camera.width) & (high_F2[:, 1] > -1)
    shown_F &= np.where(all_of["detail"][order], size_F2.min(axis=1) > 0.7, size_F2.max(axis=1) > 0.5)
    inside_F = np.where(near_F, beyond_F, shown_F)
    chosen = np.flatnonzero(inside_F)
    fixed_FK2 = np.ascontiguousarray(to_fixed(uv_KF2[:, chosen].swapaxes(0, 1)))
    counts = all_of["counts"][order][chosen].tolist()
    polygons = [polygon[:n] for polygon, n in zip(fixed_FK2, counts)]
    for i in np.flatnonzero(near_F[chosen]):
        clipped = clip_near(points_FK3[chosen[i], : counts[i]])
        polygons[i] = to_fixed(view.to_pixels(clipped))
    rows = order[chosen]
    return Seen(
        polygons,
        all_of["normal"][rows],
        all_of["offset"][rows],
        all_of["albedo"][rows],
        all_of["glow"][rows],
        all_of["detail"][rows],
        corners_FK3[chosen].mean(axis=1),
    )


def to_fixed(uv_N2: np.ndarray) -> np.ndarray:
    """Pixels as OpenCV's fixed point int32 with SHIFT fractional bits."""
    return np.rint(np.clip(uv_N2, -1e6, 1e6) * (1 << SHIFT)).astype(np.int32)
