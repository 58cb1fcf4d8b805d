"""What a source of recordings looks like, and how one is recognised from a path."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from roadcast.errors import UserError

VIDEO_SUFFIXES = frozenset(".mp4 .m4v .avi .mov .mkv .webm .mpg .mpeg .ts .hevc .h265 .265 .h264 .264".split())
IMAGE_SUFFIXES = frozenset(".jpg .jpeg .png .bmp .webp .tif .tiff .ppm".split())
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz")
FORMATS = (
    "a video or a folder of videos (.mp4 .mov .mkv .avi .webm .hevc ...), a folder of images (.jpg .png ...), "
    "a donkeycar v2 tub (folder with manifest.json, .tar or .tar.gz, or a folder of such), toyroad:recordings=40,frames=200,seed=0"
)

Images = np.ndarray | tuple[np.ndarray, ...]


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
class Recording:
    """One drive as the source has it, at its own clock and size.

    frames        called, gives (t_ns, images) in the source's order: RGB uint8 HWC, one per camera (a tuple if several);
                  images is None where a picture that should be there is missing or unreadable: the recording is cut there
    signals       by name: those of `roadcast.data.actions.ACTIONS` (floats) and "ego_pose" (x y z in m, quaternion w x y z)
    calibration   by camera: {"intrinsics": 3x3 rows in the source's pixels, ...}; ingest carries intrinsics to the reel's pixels
    split         "train", "val" or "test" when the source dictates it
    notes         what a user should be told about this recording
    """

    name: str
    source: str
    frames: Callable[[], Iterator[tuple[int, Images | None]]]
    signals: dict[str, Signal]
    calibration: dict[str, Any] | None = None
    split: str | None = None
    notes: tuple[str, ...] = ()


def unreadable(name: str, source: str, error: UserError) -> Recording:
    """Stands for a recording that cannot be read: asked for frames it raises `error`, so that ingest rejects it alone."""

    def frames() -> Iterator[tuple[int, Images | None]]:
        raise error
        yield

    return Recording(name, source, frames, {})


class Source(Protocol):
    """Recordings of one kind; `recordings()` is quick, pixels are read only by a recording's `frames()`."""

    cameras: tuple[str, ...]

    def recordings(self) -> Iterator[Recording]: ...


def open_source(
    path_or_uri: str | Path, *, rate: float | None = None, signals: str | Path | None = None, fps: float = 20.0
) -> Source:
    """The source that a path or `toyroad:` address names.

    rate      frames per second of raw video streams and of images, which have no times of their own
    signals   a .csv or .jsonl of controls over time, for one video or one folder of images
    fps       rate taken for a folder of images when no other is known
    Raises `UserError` for what does not exist, is of no known format, or has no use for an option given.
    """
    address = str(path_or_uri)
    if rate is not None and not rate > 0:
        raise UserError(f"rate = {rate} is no frame rate; give frames per second, for example 25")
    if address.split(":")[0] == "toyroad":
        _no_use("toyroad", rate=rate, signals=signals)
        return _toyroad(address)
    from roadcast.data.sources.donkey import DonkeySource, is_tub
    from roadcast.data.sources.images import ImageSource
    from roadcast.data.sources.video import VideoSource

    path = Path(address)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; give {FORMATS}")
    entries = sorted(path.iterdir()) if path.is_dir() else []
    tubs = [path] if is_tub(path) else [entry for entry in entries if is_tub(entry)]
    if tubs:
        _no_use(f"{path}: a donkeycar tub", rate=rate, signals=signals)
        return DonkeySource(tubs)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    if videos := [p for p in files if p.suffix.lower() in VIDEO_SUFFIXES]:
        return VideoSource(videos, root=path if path.is_dir() else path.parent, rate=rate, signals=signals)
    if any(p.suffix.lower() in IMAGE_SUFFIXES for p in entries):
        return ImageSource(path, rate=rate, signals=signals, fps=fps)
    what = "holds nothing that can be read" if path.is_dir() else "is of no known format"
    raise UserError(f"{path}: {what}; give {FORMATS}")


def _no_use(what: str, **options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise UserError(f"{what} has no use for {name} = {value}; leave it out")


def _toyroad(address: str) -> Source:
    from roadcast.data.sources.toyroad import ToyroadSource

    known = inspect.signature(ToyroadSource).parameters
    options: dict[str, Any] = {}
    for part in filter(None, address.partition(":")[2].split(",")):
        key, equals, text = part.partition("=")
        if not equals or key not in known:
            raise UserError(f"{address}: {part!r} is no option of toyroad; write name=value, names: {', '.join(known)}")
        try:
            options[key] = float(text) if set(text) & set(".e") else int(text)
        except ValueError:
            options[key] = text
    return ToyroadSource(**options)
