"""Whether a source keeps its promises: what every source is tested with, and one's own should be."""

import itertools
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from roadcast.data.actions import ACTIONS, SIGNALS
from roadcast.data.sources.base import SENSOR_KINDS, Recording, Sensor, Signal, Source
from roadcast.errors import UserError

QUICK_S = 10.0
"""A recording may take so long to be listed."""
BEGINNINGS = {"lidar": ("x", "y", "z"), "radar": ("x", "y", "z")}
BOXES = ("x", "y", "z", "length", "width", "height", "yaw", "class", "track")
RIGID = 1e-3
"""How far a rotation's product with its transpose may be from 1: files store few digits."""


def check_source(source: Source, frames: int = 20, recordings: int = 3, unreadable: bool = False) -> list[str]:
    """What `source` does against its contract (`roadcast.data.sources.base`), a sentence each; an empty list if nothing.

    The first `recordings` are looked into, `frames` moments and as many readings of a sensor each. A recording that raises
    a `UserError` is a complaint unless `unreadable`; any other error is always one.
    """
    cameras = source.cameras
    if not (isinstance(cameras, tuple) and cameras and all(isinstance(name, str) and name for name in cameras)):
        return [f"cameras = {cameras!r} is no tuple of names"]
    complaints = [f"camera {name!r} comes twice" for name, count in Counter(cameras).items() if count > 1]
    begun = time.monotonic()
    try:
        first, second = list(source.recordings()), list(source.recordings())
    except Exception as error:
        return [*complaints, f"recordings() raised {error!r}; let a recording's frames() raise it (`unreadable`)"]
    if (taken := (time.monotonic() - begun) / max(1, 2 * len(first))) > QUICK_S:
        complaints.append(f"recordings() took {taken:.0f} s a recording; read pixels in frames() only")
    if not first:
        complaints.append("recordings() gives none")
    if [one.name for one in first] != [one.name for one in second]:
        complaints.append("recordings() gives other names the second time")
    complaints += [f"{n!r} names {c} recordings" for n, c in Counter(one.name for one in first).items() if c > 1]
    for one, again in zip(first[:recordings], second):
        complaints += [f"{one.name}: {what}" for what in _recording(one, again, cameras, frames, unreadable)]
    return complaints


def _recording(
    one: Recording, again: Recording, cameras: tuple[str, ...], frames: int, unreadable: bool
) -> Iterator[str]:
    if not one.name or "/" in one.name or not one.source:
        yield f"name {one.name!r} or source {one.source!r} is empty or holds a slash"
    if one.split not in (None, "train", "val", "test"):
        yield f"split = {one.split!r}"
    if one.period_ns is not None and not (isinstance(one.period_ns, int) and one.period_ns > 0):
        yield f"period_ns = {one.period_ns!r} is no time between two moments"
    try:
        moments = list(itertools.islice(one.frames(), frames))
        repeated = list(itertools.islice(again.frames(), frames))
        third = list(itertools.islice(one.frames(), frames))
    except UserError as error:
        if not unreadable:
            yield f"frames() raised: {error}"
        yield from _error(error)
        return
    except Exception as error:
        yield f"frames() raised {error!r}, which is no UserError"
        return
    if not moments:
        yield "frames() gives none; raise a UserError that says why"
        return
    if not (_same(moments, repeated) and _same(moments, third)):
        yield "frames() does not give the same pictures and times every time"
    sizes = yield from _moments(moments, cameras)
    for name, signal in one.signals.items():
        yield from (f"signal {name}: {what}" for what in _signal(name, signal, moments))
        if name in again.signals and not _equal(signal.values, again.signals[name].values):
            yield f"signal {name}: has other values the second time"
    if one.signals.keys() != again.signals.keys():
        yield "has other signals the second time"
    for name, sensor in one.sensors.items():
        if name in cameras:
            yield f"sensor {name}: bears the name of a camera"
        yield from (f"sensor {name}: {what}" for what in _sensor(sensor, again.sensors.get(name), moments, frames))
    yield from _calibration(one, cameras, sizes)


def _moments(moments: list, cameras: tuple[str, ...]) -> "Iterator[str]":
    """Complaints about times and pictures; returns each camera's (height, width) that was seen."""
    sizes: dict[str, tuple[int, int]] = {}
    last = None
    for n, (times, images) in enumerate(moments):
        all_times = times if isinstance(times, tuple) else (times,)
        if not all(type(t) is int for t in all_times):
            yield f"moment {n}: time {times!r} is no int of ns"
        if isinstance(times, tuple) and images is not None and len(times) != len(cameras):
            yield f"moment {n}: {len(times)} times for {len(cameras)} cameras"
        if last is not None and all_times[0] == last:
            yield f"moment {n}: has the time of the one before, {last} ns"
        last = all_times[0]
        if images is None:
            continue
        many = images if isinstance(images, tuple) else (images,)
        if len(many) != len(cameras):
            yield f"moment {n}: {len(many)} pictures for {len(cameras)} cameras"
            continue
        for name, image in zip(cameras, many, strict=True):
            if not (
                isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
            ):
                yield f"moment {n}: the picture of {name} is not RGB uint8 [height, width, 3]"
            elif sizes.setdefault(name, image.shape[:2]) != image.shape[:2]:
                yield f"moment {n}: the picture of {name} is {image.shape[:2]}, others are {sizes[name]}"
    if moments and not sizes:
        yield f"none of the first {len(moments)} moments has pictures"
    return sizes


def _signal(name: str, signal: Signal, moments: list) -> Iterator[str]:
    if name not in SIGNALS:
        yield f"is unknown; known: {', '.join(SIGNALS)}"
        return
    shape = (len(signal.t_ns),) if SIGNALS[name] == 1 else (len(signal.t_ns), SIGNALS[name])
    if signal.values.shape != shape or signal.values.dtype != np.float32:
        yield f"values are {signal.values.dtype} {list(signal.values.shape)}, should be float32 {list(shape)}"
        return
    if not len(signal.t_ns):
        yield "holds nothing; leave it out"
        return
    yield from _clock(signal.t_ns, moments)
    if not np.isfinite(signal.values).all():
        yield "holds NaN or infinity; leave such samples out (Signal.of does)"
    action = ACTIONS.get(name)
    if action and ((signal.values < action.low) | (signal.values > action.high)).any():
        yield f"lies outside {action.low:g} to {action.high:g}: {signal.values.min():g} to {signal.values.max():g}"
    if name == "ego_pose":
        lengths = np.linalg.norm(signal.values[:, 3:], axis=1)
        if not np.allclose(lengths, 1, atol=1e-3):
            yield f"its quaternions are of lengths {lengths.min():g} to {lengths.max():g}, not 1"
        if np.abs(signal.values[:, :3]).max() > 1e5:
            yield "lies more than 100 km from the world's origin, where float32 is coarse; move the origin to the drive"
    if name == "gps" and not (np.abs(signal.values[:, :2]) <= (90, 180)).all():
        yield "is no latitude and longitude in degrees"


def _sensor(sensor: Sensor, again: Sensor | None, moments: list, readings: int) -> Iterator[str]:
    if sensor.kind not in SENSOR_KINDS:
        yield f"kind = {sensor.kind!r} is none of {', '.join(SENSOR_KINDS)}"
        return
    beginning = BEGINNINGS.get(sensor.kind, ())
    if sensor.fields[: len(beginning)] != beginning:
        yield f"its fields {sensor.fields} do not begin with {', '.join(beginning)}"
    if sensor.kind == "boxes" and (sensor.fields != BOXES or not sensor.classes):
        yield f"boxes have the fields {', '.join(BOXES)}, and `classes`; these have {', '.join(sensor.fields)}, {sensor.classes}"
    if not len(sensor.t_ns):
        yield "has no readings; leave it out"
        return
    yield from _clock(sensor.t_ns, moments)
    count = min(readings, len(sensor.t_ns))
    try:
        read = [sensor.read(n) for n in range(count)]
        if any(not _equal(reading, sensor.read(n)) for n, reading in reversed(list(enumerate(read)))):
            yield "gives another reading the second time, or in another order"
        if again is None or any(not _equal(reading, again.read(n)) for n, reading in enumerate(read)):
            yield "gives another reading when the source is listed again"
    except UserError as error:
        yield from _error(error)
        return
    except Exception as error:
        yield f"reading it raised {error!r}, which is no UserError"
        return
    if all(reading is None for reading in read):
        yield f"none of its first {count} readings is there"
    for n, reading in enumerate(read):
        yield from (() if reading is None else (f"reading {n}: {what}" for what in _reading(sensor, reading)))


def _reading(sensor: Sensor, reading: np.ndarray) -> Iterator[str]:
    if sensor.kind == "image":
        if reading.dtype != np.uint8 or reading.ndim != 2:
            yield f"is {reading.dtype} {list(reading.shape)}, should be uint8 [height, width]"
        return
    if reading.dtype != np.float32 or reading.ndim != 2 or reading.shape[1] != len(sensor.fields):
        yield f"is {reading.dtype} {list(reading.shape)}, should be float32 [n, {len(sensor.fields)}]"
        return
    place = [sensor.fields.index(axis) for axis in "xyz"]
    if not np.isfinite(reading[:, place]).all():
        yield "holds places that are not finite; leave such points out"
    if "intensity" in sensor.fields and len(reading):
        intensity = reading[:, sensor.fields.index("intensity")]
        if intensity.min() < 0 or intensity.max() > 1:
            yield f"intensity is {intensity.min():g} to {intensity.max():g}, should be 0 to 1"
    if sensor.kind == "boxes" and len(reading):
        kinds = reading[:, BOXES.index("class")]
        if (kinds != kinds.astype(int)).any() or kinds.min() < 0 or kinds.max() >= len(sensor.classes):
            yield f"has a class that is none of the {len(sensor.classes)} named"
        if (reading[:, 3:6] <= 0).any():
            yield "has a box without length, width or height"


def _calibration(one: Recording, cameras: tuple[str, ...], sizes: dict[str, tuple[int, int]]) -> Iterator[str]:
    for name, told in (one.calibration or {}).items():
        if name not in cameras and name not in one.sensors:
            yield f"calibration of {name}, which is neither a camera nor a sensor"
        if not isinstance(told, Mapping):
            yield f"calibration of {name} is no mapping"
            continue
        for what in _entry(told, sizes.get(name)):
            yield f"calibration of {name}: {what}"


def _entry(told: Mapping[str, Any], size: tuple[int, int] | None) -> Iterator[str]:
    if "to_ego" in told:
        matrix = np.array(told["to_ego"], np.float64)
        if matrix.shape != (4, 4) or not np.allclose(matrix[3], (0, 0, 0, 1)):
            yield "to_ego is no 4x4 with last row 0 0 0 1"
        elif (
            not np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=RIGID)
            or np.linalg.det(matrix[:3, :3]) < 0
        ):
            yield f"to_ego turns by no rotation (determinant {np.linalg.det(matrix[:3, :3]):.3f})"
        elif np.abs(matrix[:3, 3]).max() > 20:
            yield f"to_ego moves by {np.abs(matrix[:3, 3]).max():.0f} m, which is no place on a car"
    if "distortion" in told and np.shape(told["distortion"]) != (5,):
        yield "distortion has not five numbers k1 k2 p1 p2 k3"
    if "intrinsics" not in told:
        return
    k = np.array(told["intrinsics"], np.float64)
    if k.shape != (3, 3) or not np.allclose(k[2], (0, 0, 1)) or not np.allclose((k[0, 1], k[1, 0]), 0, atol=1):
        yield f"intrinsics are no 3x3 rows fx 0 cx, 0 fy cy, 0 0 1: {k.tolist()}"
    elif size is not None:
        height, width = size
        if not (0.2 < k[0, 0] / width < 20 and 0.5 < k[0, 0] / k[1, 1] < 2):
            yield f"focal lengths {k[0, 0]:.0f}, {k[1, 1]:.0f} do not fit pictures of {height}x{width}"
        if not (0.1 * width < k[0, 2] < 0.9 * width and -0.5 * height < k[1, 2] < 1.5 * height):
            yield f"centre {k[0, 2]:.0f}, {k[1, 2]:.0f} is not in pictures of {height}x{width}"


def _clock(t_ns: np.ndarray, moments: list) -> Iterator[str]:
    if t_ns.dtype != np.int64 or t_ns.ndim != 1:
        yield f"t_ns is {t_ns.dtype} {list(t_ns.shape)}, should be int64 [N]"
        return
    if (np.diff(t_ns) <= 0).any():
        yield f"t_ns does not increase at sample {int(np.flatnonzero(np.diff(t_ns) <= 0)[0]) + 1}"
    times = [t for moment, _ in moments for t in (moment if isinstance(moment, tuple) else (moment,))]
    second = 10**9
    if t_ns[0] > max(times) + 60 * second or t_ns[-1] < min(times) - 60 * second:
        yield (
            f"covers {t_ns[0] / 1e9:.2f} to {t_ns[-1] / 1e9:.2f} s, but the pictures begin at {min(times) / 1e9:.2f} s: "
            "give both one clock"
        )


def _error(error: UserError) -> Iterator[str]:
    if "\n" in str(error) or len(str(error)) < 20:
        yield f"its error is not one line that names file, value and remedy: {error}"


def _same(first: list, second: list) -> bool:
    """Whether two lists of moments are alike, bit for bit."""
    if len(first) != len(second):
        return False
    for (t, a), (u, b) in zip(first, second, strict=True):
        many = [images if isinstance(images, tuple) else (images,) for images in (a, b)]
        if t != u or len(many[0]) != len(many[1]) or not all(map(_equal, *many)):
            return False
    return True


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
