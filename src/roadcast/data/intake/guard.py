"""A recording held to its limits, and whatever goes wrong in reading it told as the recording's own fault."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from roadcast.data.intake.heartbeat import beat
from roadcast.data.intake.limits import check_size, limits_now
from roadcast.data.sources.base import Frames, Recording, Sensor
from roadcast.errors import UserError
from roadcast.files import FULL

CV_NO_MEMORY = -4
LATEST_NS = 2**62


@contextmanager
def faults_told(what: object) -> Iterator[None]:
    """Any error in reading `what` told as a `UserError`; only a disk of ours that is full stays an `OSError`."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.errno in FULL:
            raise
        raise UserError(f"{what}: cannot be read ({error}); copy it again or leave it out") from None
    except Exception as error:
        if isinstance(error, MemoryError) or (isinstance(error, cv2.error) and error.code == CV_NO_MEMORY):
            raise UserError(
                f"{what}: asks for more than {limits_now().memory_gib:g} GiB of memory; repair it, or raise limits.memory_gib"
            ) from None
        where = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(
            f"{what}: is damaged in a way nobody foresaw ({words}; {Path(where.filename).name}:{where.lineno}); repair it or leave it out"
        ) from error


def guarded(recording: Recording, reading: Callable[[bool], None]) -> Recording:
    """The recording, whose frames and readings are held to the limits and give signs of life as they come.

    reading   called with True when frames begin to come, and with False when there are no more
    """

    def frames() -> Frames:
        reading(True)
        with faults_told(recording.source):
            source = recording.frames()
        most = limits_now().frames
        for n in range(most + 1):
            with faults_told(recording.source):
                beat()
                if (moment := next(source, None)) is None:
                    reading(False)
                    return
                times, images = moment
                for t_ns in times if isinstance(times, tuple) else (times,):
                    if not -LATEST_NS < t_ns < LATEST_NS:
                        raise UserError(f"{recording.source}: frame {n} has the time {t_ns} ns; correct its times")
                for image in images if isinstance(images, tuple) else (images,):
                    if image is not None:
                        check_size(recording.source, *image.shape[:2])
            yield moment
        raise UserError(f"{recording.source}: has more than {most} frames; cut it, or raise limits.frames")

    def guarded_sensor(sensor: Sensor) -> Sensor:
        def read(number: int) -> np.ndarray | None:
            beat()
            with faults_told(recording.source):
                return sensor.read(number)

        return replace(sensor, read=read)

    sensors = {name: guarded_sensor(sensor) for name, sensor in recording.sensors.items()}
    return replace(recording, frames=frames, sensors=sensors)
