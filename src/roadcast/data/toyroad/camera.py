"""Pinhole cameras on the ego: intrinsics, mounting, and projection of world points."""

import math
from dataclasses import dataclass

import numpy as np

from roadcast.errors import UserError

MOUNTS: dict[str, float] = {"front": 0.0, "left": math.radians(60), "right": math.radians(-60)}
"""Yaw of every camera a toy world knows, rad, positive left. All are level, so the horizon is a straight image row."""
POSITION = (0.5, 0.0, 1.45)
"""Where the cameras sit in the ego frame, m."""
NEAR = 0.5
"""Nothing nearer than this many metres along the optical axis is drawn."""


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera: x right, y down, z forward; pixel (u, v) = (0, 0) is the centre of the top left pixel.

    u = focal x / z + cx,  v = focal y / z + cy.
    """

    name: str
    height: int
    width: int
    yaw: float
    focal: float
    cx: float
    cy: float

    @property
    def K(self) -> np.ndarray:
        """Intrinsic matrix [3, 3], float64."""
        return np.array([[self.focal, 0.0, self.cx], [0.0, self.focal, self.cy], [0.0, 0.0, 1.0]])

    @property
    def camera_to_ego(self) -> np.ndarray:
        """Transform [4, 4], float64, from camera coordinates to the ego frame."""
        matrix = np.eye(4)
        matrix[:3, :3] = _axes(self.yaw)
        matrix[:3, 3] = POSITION
        return matrix

    def rows_of_sky(self) -> int:
        """How many image rows lie on or above the horizon."""
        return min(self.height, math.floor(self.cy) + 1)

    def ground_depth(self) -> np.ndarray:
        """Depth of flat ground along the optical axis, one value a row [H] in m: focal h / (v - cy); inf above it."""
        below = np.arange(self.height) - self.cy
        return np.where(below > 0, self.focal * POSITION[2] / np.where(below > 0, below, 1.0), np.inf)


@dataclass(frozen=True)
class View:
    """A camera placed in the world: position [3] and rotation [3, 3] (columns: camera axes in world coordinates)."""

    camera: Camera
    position: np.ndarray
    rotation: np.ndarray
    yaw: float

    def to_camera(self, points_N3: np.ndarray) -> np.ndarray:
        """World points [..., 3] in camera coordinates."""
        return (points_N3 - self.position) @ self.rotation

    def to_pixels(self, points_N3: np.ndarray) -> np.ndarray:
        """Camera points [..., 3] with z > 0 as pixels [..., 2] (u, v)."""
        c = self.camera
        uv = points_N3[..., :2] * (c.focal / points_N3[..., 2:])
        uv += (c.cx, c.cy)
        return uv


def make_camera(name: str, height: int, width: int) -> Camera:
    """The camera `name` at an image size in pixels: 80 degrees wide, the horizon at 0.42 of the height."""
    if name not in MOUNTS:
        raise UserError(f"toyroad has no camera {name!r}: use {', '.join(MOUNTS)}")
    return Camera(name, height, width, MOUNTS[name], 0.6 * width, (width - 1) / 2, 0.42 * height - 0.5)


def place(camera: Camera, x: float, y: float, yaw: float) -> View:
    """The camera's view from an ego at x, y (m) and yaw (rad)."""
    c, s = math.cos(yaw), math.sin(yaw)
    px, py, pz = POSITION
    position = np.array([x + c * px - s * py, y + s * px + c * py, pz])
    return View(camera, position, _axes(yaw + camera.yaw), yaw + camera.yaw)


def clip_near(polygon_N3: np.ndarray) -> np.ndarray:
    """A polygon in camera coordinates cut at z = NEAR (Sutherland and Hodgman 1974); [M, 3], M = 0 when all behind."""
    points = polygon_N3.tolist()
    kept = []
    for (x0, y0, z0), (x1, y1, z1) in zip(points[-1:] + points[:-1], points):
        if (z0 < NEAR) != (z1 < NEAR):
            f = (NEAR - z0) / (z1 - z0)
            kept.append((x0 + f * (x1 - x0), y0 + f * (y1 - y0), NEAR))
        if z1 >= NEAR:
            kept.append((x1, y1, z1))
    return np.array(kept).reshape(-1, 3)


def _axes(yaw: float) -> np.ndarray:
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[s, 0.0, c], [-c, 0.0, s], [0.0, -1.0, 0.0]])
