"""Whether what is in a reel can be decoded, beyond being what was written."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import cv2
import numpy as np

from roadcast.data.reel.readings import decode_reading
from roadcast.data.reel.store import Reel

BATCH = 256


def undecodable(reel: Reel, progress: Callable[[int, int], None]) -> Iterator[str]:
    """A line for every picture and reading that cannot be decoded to what the reel says it is; decodes all, in threads."""
    views = len(reel.cameras)
    items: list[tuple[str, int]] = [("", row) for row in range(len(reel.index))]
    items += [(name, n) for name, sensor in reel.sensors.items() for n in range(len(sensor))]

    def fault(item: tuple[str, int]) -> str | None:
        name, number = item
        if not name:
            return _picture_fault(reel, number // views, number % views)
        return _reading_fault(reel, name, number)

    done = 0
    with ThreadPoolExecutor() as pool:
        for batch in _batches(items):
            yield from filter(None, pool.map(fault, batch))
            done += len(batch)
            progress(done, len(items))


def _picture_fault(reel: Reel, frame: int, camera: int) -> str | None:
    image = cv2.imdecode(np.frombuffer(reel.jpeg(frame, camera), np.uint8), cv2.IMREAD_COLOR)
    if image is not None and image.shape == (reel.height, reel.width, 3):
        return None
    what = "cannot be decoded" if image is None else f"is {image.shape[0]}x{image.shape[1]}"
    video = reel.video_of(frame)
    return f"{reel.path}: frame {frame - video.first} of {video.name!r}, camera {reel.cameras[camera]!r}: {what}"


def _reading_fault(reel: Reel, name: str, number: int) -> str | None:
    sensor = reel.sensors[name]
    try:
        decode_reading(sensor.kind, sensor.fields, sensor.raw(number))
    except (AssertionError, ValueError):
        return f"{reel.path}: reading {number} of sensor {name!r}: cannot be decoded"
    return None


def _batches(items: Iterable[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch
