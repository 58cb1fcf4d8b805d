"""A reel as what people drove: dataset > recording > sequence, each a thing one can hold and go through.

for drive in drives(reel, "train"):
    for sequence in drive.sequences(frames=16, stride=2):
        sequence.images()                  # uint8 [16, H, W, 3]
        sequence.actions(("steer",))       # float32 [16, 1], and which are known
        sequence.readings("lidar")         # the LiDAR's readings in that time
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from roadcast.data.geometry import from_first
from roadcast.data.reel.store import Reel, Video
from roadcast.errors import UserError


def drives(reel: Reel, split: str | None = None) -> "Iterator[Drive]":
    """Every recording of the reel, or of one split, in order."""
    for number, video in enumerate(reel.videos):
        if split in (None, video.split):
            yield Drive(reel, number)


@dataclass(frozen=True)
class Drive:
    """Recording number `number` of a reel."""

    reel: Reel
    number: int

    @property
    def video(self) -> Video:
        """Its name, source, split, calibration."""
        return self.reel.videos[self.number]

    def __len__(self) -> int:
        return self.video.frames

    def whole(self) -> "Sequence":
        """All of it as one sequence."""
        return Sequence(self, self.video.first, len(self))

    def sequences(self, frames: int, stride: int = 1, step: int | None = None) -> "Iterator[Sequence]":
        """Runs of `frames` frames, `stride` apart, one beginning every `step` frames (default: where the last one ended).

        Raises `UserError` for a number that is not positive.
        """
        span = (frames - 1) * stride + 1
        for name, value in (("frames", frames), ("stride", stride), ("step", step or span)):
            if value < 1:
                raise UserError(f"{name} = {value}; give a whole number of at least 1")
        for start in range(0, len(self) - span + 1, step or span):
            yield Sequence(self, self.video.first + start, frames, stride)


@dataclass(frozen=True)
class Sequence:
    """`frames` frames of a drive from frame `first` of the reel on, `stride` apart."""

    drive: Drive
    first: int
    frames: int
    stride: int = 1

    def __len__(self) -> int:
        return self.frames

    @property
    def rows(self) -> slice:
        """Its time steps in the reel."""
        return slice(self.first, self.first + (self.frames - 1) * self.stride + 1, self.stride)

    @property
    def t_ns(self) -> np.ndarray:
        """When each frame was taken, int64 [F]."""
        return self.drive.reel.t_ns[self.rows]

    def images(self, camera: str | None = None) -> np.ndarray:
        """The pictures of a camera (default: the first), RGB uint8 [F, H, W, 3]."""
        reel = self.drive.reel
        if camera is not None and camera not in reel.cameras:
            raise UserError(f"{reel.path}: has no camera {camera!r}; it has {', '.join(reel.cameras)}")
        view = reel.cameras.index(camera) if camera else 0
        out = np.empty((self.frames, reel.height, reel.width, 3), np.uint8)
        for f in range(self.frames):
            reel.read(self.first + f * self.stride, view, out=out[f])
        return out

    def actions(self, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Controls float32 [F, A] in their units, and which are known, bool [F, A]."""
        return self.drive.reel.actions(self.first, self.frames, self.stride, names)

    def poses(self) -> np.ndarray:
        """The ego's pose at each frame in the frame of the first one, float64 [F, 7]; NaN where unknown."""
        pose = self.drive.reel.signals.get("ego_pose")
        if pose is None:
            return np.full((self.frames, 7), np.nan)
        return from_first(pose[self.rows])

    def readings(self, sensor: str) -> Iterator[tuple[int, np.ndarray]]:
        """(t_ns, reading) of a sensor from the first frame's time to the last one's; `Readings.read` says what a reading is."""
        sensors = self.drive.reel.sensors
        if sensor not in sensors:
            have = ", ".join(sensors) or "none"
            raise UserError(f"{self.drive.reel.path}: has no sensor {sensor!r}; it has {have}")
        table, t_ns = sensors[sensor], self.t_ns
        for reading in table.of(self.drive.number):
            if t_ns[0] <= table.t_ns[reading] <= t_ns[-1]:
                yield int(table.t_ns[reading]), table.read(reading)
