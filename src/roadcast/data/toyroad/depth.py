"""True depth: the same polygons as the picture, filled with their number, then every pixel's ray cut with its plane."""

import cv2
import numpy as np

from roadcast.data.toyroad.camera import View
from roadcast.data.toyroad.paint import SHIFT, visible_faces
from roadcast.data.toyroad.solids import Solids


def depth(view: View, groups: list[Solids]) -> np.ndarray:
    """Depth along the optical axis [H, W] in m, float32, inf for the sky and the hills at the horizon.

    A point X = z r of the ray r = ((u - cx) / f, (v - cy) / f, 1) on the plane n . X = d has 1 / z = n . r / d.
    """
    camera = view.camera
    result = np.repeat(camera.ground_depth().astype(np.float32)[:, None], camera.width, axis=1)
    seen = visible_faces(view, groups)
    number = np.zeros((camera.height, camera.width), dtype=np.int32)
    for i, polygon in enumerate(seen.polygons):
        cv2.fillConvexPoly(number, polygon, i + 1, cv2.LINE_8, SHIFT)
    v, u = np.nonzero(number)
    face = number[v, u] - 1
    normal_F3 = seen.normals_F3 @ view.rotation
    plane_F3 = normal_F3 / (seen.offsets_F - seen.normals_F3 @ view.position)[:, None]
    plane = plane_F3[face]
    right, down = (u - camera.cx) / camera.focal, (v - camera.cy) / camera.focal
    inverse = plane[:, 0] * right + plane[:, 1] * down + plane[:, 2]
    result[v, u] = 1.0 / np.maximum(inverse, 1e-4)
    return result
