"""The course: an endless two-lane road on flat ground, given by its heading along arc length."""

import math

import numpy as np

STEP = 1.5
"""Metres of arc length between two samples of the centre line."""
LANE = 3.5
"""Lane width in metres; traffic keeps to the right, so the ego's lane centre lies at lateral -LANE / 2."""
EDGE = 3.9
"""Half width of the asphalt in metres."""
_BLOCK = 256


class Course:
    """A smooth road without end in either direction.

    The heading is theta(s) = sum_i a_i sin(2 pi s / L_i + p_i) with sum a_i < 1 rad, so the road never meets itself,
    and its curvature kappa(s) = d theta / d s is as smooth as the heading and stays below 0.04 1/m. The centre line
    is the integral of (cos theta, sin theta), computed in blocks by Simpson's rule and kept.
    """

    def __init__(self, seed: int):
        rng = np.random.default_rng([seed, 1])
        twist = rng.uniform(0.55, 1.0)
        amplitudes = twist * np.array([0.5, 0.32, 0.11])
        lengths = np.array([rng.uniform(240, 400), rng.uniform(110, 180), rng.uniform(60, 90)])
        phases = rng.uniform(0, 2 * math.pi, 3)
        self._terms = [(float(a), 2 * math.pi / float(n), float(p)) for a, n, p in zip(amplitudes, lengths, phases)]
        self._first = 0
        self._xy_N2 = np.zeros((1, 2))

    def heading(self, s):
        """The road's heading in rad at arc length `s` (number or array, m)."""
        sin = math.sin if isinstance(s, float) else np.sin
        (a, k, p), (b, m, q), (c, n, r) = self._terms
        return a * sin(k * s + p) + b * sin(m * s + q) + c * sin(n * s + r)

    def curvature(self, s):
        """The road's curvature in 1/m, positive left, at arc length `s` (number or array, m)."""
        cos = math.cos if isinstance(s, float) else np.cos
        (a, k, p), (b, m, q), (c, n, r) = self._terms
        return a * k * cos(k * s + p) + b * m * cos(m * s + q) + c * n * cos(n * s + r)

    def samples(self, indices_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centre points [N, 2] and left normals [N, 2] at the samples `indices_N` (arc length = index * STEP)."""
        self._grow(int(indices_N[0]), int(indices_N[-1]))
        theta_N = self.heading(indices_N * STEP)
        return self._xy_N2[indices_N - self._first], np.stack((-np.sin(theta_N), np.cos(theta_N)), axis=1)

    def point(self, s: float) -> tuple[float, float, float]:
        """Centre point x, y (m) and heading (rad) at arc length `s` (m)."""
        i = math.floor(s / STEP)
        self._grow(i, i + 1)
        x0, y0 = self._xy_N2[i - self._first].tolist()
        x1, y1 = self._xy_N2[i + 1 - self._first].tolist()
        f = s / STEP - i
        return x0 + f * (x1 - x0), y0 + f * (y1 - y0), self.heading(float(s))

    def locate(self, x: float, y: float, near: float) -> tuple[float, float]:
        """Arc length and lateral offset (m, positive left) of a point, by Newton's method from arc length `near`."""
        s, lateral = near, 0.0
        for _ in range(3):
            cx, cy, theta = self.point(s)
            dx, dy = x - cx, y - cy
            lateral = dy * math.cos(theta) - dx * math.sin(theta)
            along = dx * math.cos(theta) + dy * math.sin(theta)
            s += max(-20.0, min(20.0, along / max(0.3, 1.0 - lateral * self.curvature(s))))
            if abs(along) < 1e-3:
                break
        return s, lateral

    def _grow(self, low: int, high: int) -> None:
        while high >= self._first + len(self._xy_N2) - 1:
            last = self._first + len(self._xy_N2) - 1
            self._xy_N2 = np.concatenate((self._xy_N2, self._xy_N2[-1] + np.cumsum(self._steps(last), axis=0)))
        while low <= self._first:
            steps_N2 = self._steps(self._first - _BLOCK)
            back_N2 = self._xy_N2[0] - np.cumsum(steps_N2[::-1], axis=0)
            self._xy_N2 = np.concatenate((back_N2[::-1], self._xy_N2))
            self._first -= _BLOCK

    def _steps(self, first: int) -> np.ndarray:
        theta = self.heading((first + np.arange(2 * _BLOCK + 1) / 2) * STEP)
        xy = np.stack((np.cos(theta), np.sin(theta)), axis=1)
        return STEP / 6 * (xy[:-2:2] + 4 * xy[1:-1:2] + xy[2::2])
