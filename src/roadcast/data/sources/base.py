"""What a source of recordings looks like."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from roadcast.errors import UserError

VIDEO_SUFFIXES = frozenset(".mp4 .m4v .avi .mov .mkv .webm .mpg .mpeg .ts .hevc .h265 .265 .h264 .264".split())
IMAGE_SUFFIXES = frozenset(".jpg .jpeg .png .bmp .webp .tif .tiff .ppm".split())
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz")

Images = np.ndarray | tuple[np.ndarray, ...]
Times = int | tuple[int, ...]
Frames = Iterator[tuple[Times, Images | None]]

SENSOR_KINDS = ("lidar", "radar", "boxes", "image")


@dataclass
class Signal:
    """One measured quantity over time: t_ns int64 [N], strictly increasing; values float32 [N] or [N, k]."""

    t_ns: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, t_ns: np.ndarray, values: np.ndarray) -> "Signal":
        """The signal of samples in any order; of samples at one time the last counts, and samples that are NaN do not."""
        t_ns, values = np.asarray(t_ns, np.int64), np.asarray(values, np.float32)
        known = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        t_ns, values = t_ns[known][::-1], values[known][::-1]
        t_ns, order = np.unique(t_ns, return_index=True)
        return cls(t_ns, values[order])

    def negative(self) -> "Signal":
        """The signal with its sign turned."""
        return Signal(self.t_ns, -self.values)

    def at(self, t_ns: np.ndarray, max_gap_ns: float = float("inf")) -> np.ndarray:
        """The signal at times `t_ns` [M], interpolated linearly: float32 [M] or [M, k].

        NaN outside the signal's range, and inside a hole longer than both `max_gap_ns` and three usual steps.
        Seven values are a pose (x y z, quaternion w x y z); its quaternion is interpolated linearly and normalised.
        """
        out = np.full((len(t_ns), *self.values.shape[1:]), np.nan, np.float32)
        if not len(self.t_ns):
            return out
        inside = (t_ns >= self.t_ns[0]) & (t_ns <= self.t_ns[-1])
        right = np.clip(np.searchsorted(self.t_ns, t_ns, side="left"), 0, len(self.t_ns) - 1)
        left = np.where(self.t_ns[right] == t_ns, right, np.maximum(right - 1, 0))
        step = (self.t_ns[right] - self.t_ns[left]).astype(np.float64)
        if len(self.t_ns) > 1:
            inside &= step <= max(max_gap_ns, 3 * float(np.median(np.diff(self.t_ns))))
        weight = (t_ns - self.t_ns[left]) / np.maximum(step, 1)
        before, after = self.values[left].astype(np.float64), self.values[right].astype(np.float64)
        weight = weight.reshape(-1, *[1] * (before.ndim - 1))
        pose = before.shape[1:] == (7,)
        if pose:
            flip = np.sum(before[:, 3:] * after[:, 3:], axis=1, keepdims=True) < 0
            after[:, 3:] = np.where(flip, -after[:, 3:], after[:, 3:])
        mixed = before + weight * (after - before)
        if pose:
            mixed[:, 3:] /= np.maximum(np.linalg.norm(mixed[:, 3:], axis=1, keepdims=True), 1e-12)
        out[inside] = mixed[inside]
        return out


@dataclass
class Sensor:
    """A LiDAR, a radar, or boxes that were drawn by hand: readings at the sensor's own times, each read when it is asked for.

    kind     one of SENSOR_KINDS: "lidar", "radar" and "boxes" are tables of one row a point or box, "image" is a picture
    fields   the names of a table's columns. Points begin with x y z (m, in the sensor's own frame: x forward, y left, z up);
             LiDAR goes on with intensity (in [0, 1]), radar with vx vy (m/s) and rcs (dBsm), where it has them. Boxes are
             x y z length width height (m) yaw (rad, from x to y) class track, in the frame of the sensor they were drawn in.
    t_ns     int64 [N], strictly increasing, on the clock of the recording's pictures
    read     reading number n: float32 [P, len(fields)] of a table, uint8 [H, W] of a picture (lossless in the reel);
             None where it is missing or unreadable, and so left out
    classes  of boxes, the name of each class number
    """

    kind: str
    fields: tuple[str, ...]
    t_ns: np.ndarray
    read: Callable[[int], np.ndarray | None]
    classes: tuple[str, ...] = ()


@dataclass
class Recording:
    """One drive as the source has it, at its own clock and size.

    frames        called, gives (t_ns, images) in the source's order: RGB uint8 HWC, one per camera (a tuple if several);
                  t_ns is one time, or one a camera where they fire apart (the first camera's is the moment's);
                  images is None where a picture that should be there is missing or unreadable: the recording is cut there
    signals       by name: those of `roadcast.data.actions.SIGNALS`, in SI units
    calibration   by camera or sensor: "intrinsics" 3x3 rows in the source's pixels; "distortion" (k1 k2 p1 p2 k3, as OpenCV's);
                  "to_ego" 4x4 rows, from the sensor's frame (a camera's: x right, y down, z forward) to the ego's (x forward,
                  y left, z up), m; and what else there is to know. Ingest carries intrinsics to the reel's pixels.
    sensors       by name, what there is besides cameras
    period_ns     the usual time between two moments, where the source knows it
    split         "train", "val" or "test" when the source dictates it
    notes         what a user should be told about this recording
    """

    name: str
    source: str
    frames: Callable[[], Frames]
    signals: dict[str, Signal]
    calibration: dict[str, Any] | None = None
    split: str | None = None
    notes: tuple[str, ...] = ()
    sensors: dict[str, Sensor] = field(default_factory=dict)
    period_ns: int | None = None


def unreadable(name: str, source: str, error: UserError) -> Recording:
    """Stands for a recording that cannot be read: asked for frames it raises `error`, so that ingest rejects it alone."""

    def frames() -> Frames:
        raise error
        yield

    return Recording(name, source, frames, {})


class Source(Protocol):
    """Recordings of one kind; `recordings()` is quick, pixels are read only by a recording's `frames()`."""

    cameras: tuple[str, ...]

    def recordings(self) -> Iterator[Recording]: ...
