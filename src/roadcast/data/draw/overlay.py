"""All that a reel knows of a moment in one picture: cameras with points and boxes, the ground from above, the controls."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from roadcast.data.actions import ACTIONS
from roadcast.data.draw.birdseye import BirdsEye
from roadcast.data.draw.boxes import Boxes, boxes_of
from roadcast.data.draw.canvas import (
    INK,
    QUIET,
    SPLIT_COLOURS,
    below,
    beside,
    blank,
    framed,
    grid,
    label,
    scaled,
    shortened,
    write,
)
from roadcast.data.draw.contact_sheet import clock
from roadcast.data.draw.gauges import CELL, HEIGHT, draw_gauges
from roadcast.data.draw.in_picture import draw_boxes, draw_points
from roadcast.data.draw.lens import Lens
from roadcast.data.draw.motion import EgoMotion
from roadcast.data.draw.radar_picture import draw_radar_picture
from roadcast.data.geometry import inverse, moved
from roadcast.data.reel.readings import Readings
from roadcast.data.reel.store import Reel

TILE_WIDTHS = {1: 800, 2: 600, 3: 480, 4: 520}
NARROWEST = 400
ALONE_NS = 500_000_000
REACHES = (20.0, 40.0, 60.0, 100.0)
SAMPLED = 5
ACROSS = np.radians(95)
"""A camera that looks farther than this from straight ahead looks back."""
NEGATIVE = 0.02
"""A signal that is never below this share of its bar under zero needs no bar for what is negative."""


@dataclass(frozen=True)
class _Seen:
    """One reading: points or boxes in the ego's frame at the time it was taken."""

    sensor: Readings
    t_ns: int
    points: np.ndarray
    boxes: Boxes | None = None
    velocities: np.ndarray | None = None


class Overlay:
    """Draws the moments of recording number `number` of a reel; what the recording does not have is left out.

    A reading is drawn at the moment that is nearest in time, moved by what `ego_pose` says the ego moved between the two times.
    """

    def __init__(self, reel: Reel, number: int):
        self.reel, self.number, self.video = reel, number, reel.videos[number]
        rows = slice(self.video.first, self.video.first + self.video.frames)
        self.t_ns = np.array(reel.t_ns[rows])
        self.signals = {name: reel.signals[name][rows] for name in ACTIONS if name in reel.signals}
        self.signals = {name: values for name, values in self.signals.items() if np.isfinite(values).any()}
        pose = reel.signals.get("ego_pose")
        self.motion = EgoMotion(self.t_ns, None if pose is None else pose[rows])
        self.calibration = self.video.calibration or {}
        self.sensors = [sensor for sensor in reel.sensors.values() if len(sensor.of(number))]
        self._spans = {name: _span(name, values) for name, values in self.signals.items()}
        self._order = self._choose_order()
        self._reach = self._choose_reach()

    def __len__(self) -> int:
        return self.video.frames

    def frames(self, first: int, count: int) -> Iterator[np.ndarray]:
        """The pictures of so many moments from the recording's number `first` on."""
        for moment in range(first, min(first + count, len(self))):
            yield self.draw(moment)

    def draw(self, moment: int) -> np.ndarray:
        """The picture of the recording's moment number `moment`, RGB uint8, of one even size throughout the recording."""
        t_ns = int(self.t_ns[moment])
        seen = [self._seen(s, t_ns) for s in self.sensors if s.kind != "image"]
        seen = [reading for reading in seen if reading is not None]
        cameras = grid([self._camera(moment, c, seen) for c in self._order], _columns(len(self._order)))
        side = max(360, min(cameras.shape[0], 640))
        panels = [cameras]
        if self._reach:
            panels.append(self._birdseye(t_ns, seen, side))
        panels += [self._radar_picture(s, t_ns, seen, side) for s in self.sensors if s.kind == "image"]
        top = beside(*panels)
        return framed(below(top, self._dashboard(moment, top.shape[1])), even=True)

    def _camera(self, moment: int, camera: int, seen: list[_Seen]) -> np.ndarray:
        reel, name = self.reel, self.reel.cameras[camera]
        width = TILE_WIDTHS.get(len(reel.cameras), NARROWEST)
        height = max(1, round(width * reel.height / reel.width))
        frame = self.video.first + moment
        image = scaled(reel.read(frame, camera), height, width)
        entry = self.calibration.get(name) or {}
        if "intrinsics" in entry and "to_ego" in entry:
            lens = Lens(entry, reel.height, reel.width, (width / reel.width, height / reel.height))
            t_ns = int(reel.index["t_ns"][frame * len(reel.cameras) + camera])
            to_camera = inverse(np.array(entry["to_ego"], np.float64))
            for reading in seen:
                if not self._placed(reading.sensor):
                    continue
                matrix = to_camera @ self.motion.between(reading.t_ns, t_ns)
                if reading.boxes is None:
                    draw_points(image, moved(reading.points, matrix), lens, 3 if reading.sensor.kind == "radar" else 1)
                else:
                    draw_boxes(image, reading.boxes.moved(matrix), lens)
        label(image, name)
        return image

    def _birdseye(self, t_ns: int, seen: list[_Seen], side: int) -> np.ndarray:
        panel = BirdsEye(side, self._reach)
        times, path = self.motion.path(t_ns)
        panel.path(path[times <= t_ns], path[times >= t_ns])
        panel.ego()
        for reading in sorted(seen, key=lambda reading: ("lidar", "radar", "boxes").index(reading.sensor.kind)):
            matrix = self.motion.between(reading.t_ns, t_ns)
            if reading.boxes is not None:
                panel.boxes(reading.boxes.moved(matrix))
            elif reading.sensor.kind == "radar":
                turned = reading.velocities
                panel.moving(moved(reading.points, matrix), turned if turned is None else turned @ matrix[:2, :2].T)
            else:
                panel.points(moved(reading.points, matrix))
        names = [reading.sensor.name for reading in seen]
        label(panel.image, ", ".join([*names, *(["driven path"] if self.motion.known else [])]))
        return panel.image

    def _radar_picture(self, sensor: Readings, t_ns: int, seen: list[_Seen], side: int) -> np.ndarray:
        number = sensor.nearest(self.number, t_ns, _half_step(sensor, self.number))
        if number is None:
            panel = blank(side, side)
            label(panel, sensor.name)
            return panel
        at = int(sensor.t_ns[number])
        to_sensor = inverse(self._to_ego(sensor))
        drawn = [s.boxes.moved(to_sensor @ self.motion.between(s.t_ns, at)) for s in seen if s.boxes is not None]
        panel = draw_radar_picture(sensor.read(number), side, self.calibration.get(sensor.name) or {}, drawn)
        label(panel, sensor.name)
        return panel

    def _dashboard(self, moment: int, width: int) -> np.ndarray:
        image = blank(HEIGHT, width)
        fitting = list(self.signals)[: max(0, (width - 230) // CELL)]
        values = {name: float(self.signals[name][moment]) for name in fitting}
        if values:
            gauges = draw_gauges(values, self._spans)
            image[:, width - gauges.shape[1] :] = gauges
        image[:, :4] = SPLIT_COLOURS[self.video.split]
        room = width - 24 - len(values) * CELL
        seconds = (int(self.t_ns[moment]) - self.video.t0_ns) / 1e9
        write(image, shortened(self.video.name, room, 0.5), 16, 30, INK, 0.5)
        write(image, shortened(f"{clock(seconds)}   frame {moment} of {len(self)}", room), 16, 56, QUIET)
        write(image, self.video.split, 16, 82, QUIET)
        return image

    def _seen(self, sensor: Readings, t_ns: int) -> _Seen | None:
        number = sensor.nearest(self.number, t_ns, _half_step(sensor, self.number))
        if number is None:
            return None
        table, at, to_ego = sensor.read(number), int(sensor.t_ns[number]), self._to_ego(sensor)
        if sensor.kind == "boxes":
            return _Seen(sensor, at, np.zeros((0, 3)), boxes_of(sensor, table).moved(to_ego))
        velocities = None
        if {"vx", "vy"} <= set(sensor.fields):
            columns = [sensor.fields.index(name) for name in ("vx", "vy")]
            velocities = table[:, columns].astype(np.float64) @ to_ego[:2, :2].T
        return _Seen(sensor, at, moved(table[:, :3].astype(np.float64), to_ego), velocities=velocities)

    def _to_ego(self, sensor: Readings) -> np.ndarray:
        entry = self.calibration.get(sensor.name) or {}
        return np.array(entry.get("to_ego", np.eye(4)), np.float64)

    def _placed(self, sensor: Readings) -> bool:
        """Whether it is known where the sensor is; one that is not is drawn from above only."""
        return "to_ego" in (self.calibration.get(sensor.name) or {})

    def _choose_order(self) -> list[int]:
        """The reel's cameras as one sees them: those that look ahead from left to right, then those that look back.

        In the reel's own order if it is not known of one where it looks.
        """
        entries = [self.calibration.get(name) or {} for name in self.reel.cameras]
        if not all("to_ego" in entry for entry in entries):
            return list(range(len(entries)))
        ahead = np.array([entry["to_ego"] for entry in entries], np.float64)[:, :2, 2]
        left = np.arctan2(ahead[:, 1], ahead[:, 0])
        back = np.abs(left) > ACROSS
        return sorted(range(len(entries)), key=lambda c: (back[c], left[c] % (2 * np.pi) if back[c] else -left[c]))

    def _choose_reach(self) -> float:
        """How many m the ground from above shows to the front; 0 where there is nothing to show."""
        tables = [sensor for sensor in self.sensors if sensor.kind != "image"]
        if not tables:
            return REACHES[1] if self.motion.known else 0.0
        far = [0.0]
        for sensor in tables:
            rows = sensor.of(self.number)
            for n in np.linspace(0, len(rows) - 1, min(SAMPLED, len(rows))).astype(int):
                xy = sensor.read(rows[n])[:, :2]
                far += [float(np.quantile(np.hypot(*xy.T), 0.9))] if len(xy) else []
        return next((reach for reach in REACHES if reach >= max(far)), REACHES[-1])


def _columns(views: int) -> int:
    return views if views <= 3 else 2 if views == 4 else 3


def _span(name: str, values: np.ndarray) -> tuple[float, float]:
    """What the ends of a bar stand for: the signal's own bounds or its largest value, and 0 below if it is never clearly negative."""
    action, largest = ACTIONS[name], float(np.nanmax(np.abs(values)))
    high = action.high if np.isfinite(action.high) else max(largest, action.scale / 2)
    return (-high if np.nanmin(values) < -NEGATIVE * high else 0.0), high


def _half_step(sensor: Readings, number: int) -> int:
    """How far in time from a moment a reading may be to belong to it: a little over half the sensor's step, or half a second."""
    rows = sensor.of(number)
    times = sensor.t_ns[rows.start : rows.stop]
    return round(0.75 * float(np.median(np.diff(times)))) if len(times) > 1 else ALONE_NS
