"""Paints a sketch into a picture, from far to near, in the light and the air of the weather."""

import math

import cv2
import numpy as np

from roadcast.data.toyroad.camera import NEAR, View, clip_near
from roadcast.data.toyroad.paint import SHIFT, to_fixed
from roadcast.data.toyroad.sketch import Sketch
from roadcast.data.toyroad.weather import Weather


def paint(image: np.ndarray, view: View, weather: Weather, sketch: Sketch) -> None:
    """Fills the faces that look at the camera, sorted as `visible_faces` tells."""
    camera, axes = view.camera, view.rotation
    (x, y, z), (x0, y0) = view.position.tolist(), sketch.origin_2.tolist()
    here_4 = np.array((x - x0, y - y0, z, 1.0), dtype=np.float32)
    ahead_O, right_O = axes[:2, ::-2].T.astype(np.float32) @ (sketch.things_O4[:, :2] - here_4[:2]).T
    square_O = ahead_O * ahead_O + right_O * right_O
    slope = 0.5 * camera.width / camera.focal
    shown_O = np.abs(right_O) - slope * ahead_O < math.hypot(1.0, slope) * sketch.things_O4[:, 2]
    owner_F = sketch.owner_F
    shown_F = shown_O[owner_F] & (sketch.planes_F4 @ here_4 > 0)
    order = np.argsort((sketch.things_O4[:, 3] - square_O)[owner_F], kind="stable")
    order = order[shown_F[order]]
    owner_F = owner_F[order]
    clear_O1 = (1 - weather.fade(np.sqrt(square_O)))[:, None]
    colours_F3 = sketch.contrast_F3[order]
    if weather.lamps > 0.5:
        c, s = math.cos(camera.yaw), math.sin(camera.yaw)
        beam_O3 = weather.headlight(c * ahead_O + s * right_O, s * ahead_O - c * right_O)
        colours_F3 += sketch.albedo_F3[order] * (0.8 * beam_O3)[owner_F]
    colours_F3 = weather.haze + colours_F3 * clear_O1[owner_F]
    for polygon, colour in zip(_polygons(view, here_4[:3], sketch, order), colours_F3.tolist()):
        cv2.fillConvexPoly(image, polygon, colour, cv2.LINE_8, SHIFT)


def _polygons(view: View, here_3: np.ndarray, sketch: Sketch, order: np.ndarray) -> list[np.ndarray]:
    """The faces `order` of a sketch in fixed point, as seen from `here_3`."""
    camera, one = view.camera, 1 << SHIFT
    to_camera = np.empty((3, 4), dtype=np.float32)
    to_camera[:, :3] = view.rotation.T
    to_camera[:, 3] = -(view.rotation.T @ here_3)
    corners_4FK = sketch.corners_4FK[:, order]
    x, y, z = (to_camera @ corners_4FK.reshape(4, -1)).reshape(3, *corners_4FK.shape[1:])
    scale = np.float32(one * camera.focal) / np.maximum(z, np.float32(NEAR))
    fixed_FK2: np.ndarray = np.empty((*z.shape, 2), dtype=np.int32)
    fixed_FK2[..., 0] = x * scale + np.float32(one * camera.cx + 0.5)
    fixed_FK2[..., 1] = y * scale + np.float32(one * camera.cy + 0.5)
    polygons = list(fixed_FK2)
    if z.size and z.min() < NEAR:
        for i in np.flatnonzero(z.min(axis=1) < NEAR).tolist():
            clipped = clip_near(np.stack((x[i], y[i], z[i]), axis=1))
            polygons[i] = to_fixed(view.to_pixels(clipped))
    return polygons
