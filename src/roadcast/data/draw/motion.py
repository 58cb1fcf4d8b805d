"""What a sensor saw at one time, seen from the ego at another."""

import numpy as np

from roadcast.data.geometry import inverse, matrix_of
from roadcast.data.sources.base import Signal


class EgoMotion:
    """The ego's way through a recording: t_ns int64 [F] and poses [F, 7], NaN where unknown."""

    def __init__(self, t_ns: np.ndarray, poses: np.ndarray | None):
        self._poses = Signal.of(t_ns, poses if poses is not None else np.full((len(t_ns), 7), np.nan))
        self.known = len(self._poses.t_ns) > 0

    def pose(self, t_ns: int) -> np.ndarray:
        """The ego-to-world matrix float64 [4, 4] at a time; before the first pose the first, after the last the last."""
        times = self._poses.t_ns
        return matrix_of(self._poses.at(np.clip([t_ns], times[0], times[-1])))[0]

    def between(self, from_ns: int, to_ns: int) -> np.ndarray:
        """The matrix float64 [4, 4] that takes points of a world at rest from the ego's frame at one time to that at another.

        inverse(P(to)) P(from); no motion where no pose is known.
        """
        if not self.known or from_ns == to_ns:
            return np.eye(4)
        return inverse(self.pose(to_ns)) @ self.pose(from_ns)

    def path(self, t_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the ego was and will be, from its frame at a time: times [P] int64 and points float64 [P, 3]."""
        if not self.known:
            return np.zeros(0, np.int64), np.zeros((0, 3))
        to_ego = inverse(self.pose(t_ns))
        points = self._poses.values[:, :3].astype(np.float64)
        return self._poses.t_ns, points @ to_ego[:3, :3].T + to_ego[:3, 3]
