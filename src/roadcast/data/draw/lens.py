"""From a camera's frame to the pixels of a picture of any size, and where that can be said."""

from typing import Any

import cv2
import numpy as np

from roadcast.data.geometry import project

NEAR = 0.3
"""Nothing nearer than so many metres in front of a camera is drawn."""
MARGIN = 1.1
FARTHEST = 1e6


class Lens:
    """A camera's intrinsics and distortion for a picture that was enlarged by `scale` (x, y) since.

    Pixel centres are at whole numbers: u goes to s (u + 0.5) - 0.5. Distortion is k1 k2 p1 p2 k3 as OpenCV has it (Brown 1966);
    its polynomial is good only within the picture, and folds what is far outside back in, so it is not used there.
    """

    def __init__(self, calibration: dict[str, Any], height: int, width: int, scale: tuple[float, float]):
        (sx, sy), original = scale, np.array(calibration["intrinsics"], np.float64)
        self.matrix = np.array([[sx, 0, sx / 2 - 0.5], [0, sy, sy / 2 - 0.5], [0, 0, 1]]) @ original
        self.distortion = np.array(calibration.get("distortion") or (), np.float64)
        self._widest = np.inf
        if self.distortion.any():
            border = _border(height * sy, width * sx)
            straight = cv2.undistortPoints(border[:, None], self.matrix, self.distortion)[:, 0]
            self._widest = MARGIN * float(np.linalg.norm(straight, axis=1).max())

    def pixels(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points [N, 3] of the camera's frame as pixels float64 [N, 2], and which of them have any, bool [N]."""
        seen = points[:, 2] > NEAR
        safe = np.where(seen[:, None], points, (0.0, 0.0, 1.0)).astype(np.float64)
        seen &= np.hypot(safe[:, 0], safe[:, 1]) <= self._widest * safe[:, 2]
        if not self.distortion.any():
            uv = project(safe, self.matrix)
        else:
            safe[~seen] = (0.0, 0.0, 1.0)
            uv = cv2.projectPoints(safe[:, None], np.zeros(3), np.zeros(3), self.matrix, self.distortion)[0][:, 0]
        return np.clip(uv, -FARTHEST, FARTHEST), seen


def _border(height: float, width: float) -> np.ndarray:
    across, down = np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9)
    sides = [np.stack([across, np.full(9, v)], 1) for v in (0, height - 1)]
    sides += [np.stack([np.full(9, u), down], 1) for u in (0, width - 1)]
    return np.concatenate(sides)
