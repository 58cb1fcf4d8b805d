"""One recording of a source taken into a reel: its rate, its gaps, its size, and a report of what became of it."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.intake.decode import decoding
from roadcast.data.intake.fit import fit, fit_calibration
from roadcast.data.intake.guard import faults_told, guarded
from roadcast.data.intake.heartbeat import beat, listening
from roadcast.data.intake.limits import limited
from roadcast.data.intake.plan import Plan
from roadcast.data.intake.resample import MISSING, moment_of, resample
from roadcast.data.reel.encode import Encoder
from roadcast.data.reel.piece import Piece, new_piece
from roadcast.data.signals.egomotion import derived
from roadcast.data.sources.base import Images, Recording, Source, Times
from roadcast.data.sources.open import open_source
from roadcast.errors import UserError

SHORT = "frames of recordings shorter than min_seconds"
SHORT_RECORDINGS = "recordings shorter than min_seconds"
REPEATS_WARN = 0.05
GAP_S, GAP_STEPS = 0.3, 2.5
TELL_EVERY_S = 0.2


class Taker:
    """Takes the recordings of a plan's source by their numbers, which are best asked for in rising order.

    frames    that the recording at work has given to the reel so far
    reading   whether more of them are to come
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.frames, self.reading = 0, False
        self._source: Source | None = None
        self._recordings: Iterator[Recording] = iter(())
        self._next = 0
        self._encoder = Encoder(plan.height, plan.width, max(1, len(plan.cameras)), plan.quality, plan.threads)

    def close(self) -> None:
        """End the threads of the encoder."""
        self._encoder.__exit__()

    @contextmanager
    def telling(self, tell: Callable[[int, bool], None]) -> Iterator[None]:
        """`tell(frames, reading)` is called inside the block whenever `reading` changes and, at most, every TELL_EVERY_S."""
        due, told, every = 0.0, False, min(TELL_EVERY_S, self.plan.limits.seconds / 5)

        def listener() -> None:
            nonlocal due, told
            now = time.monotonic()
            if now >= due or told != self.reading:
                due, told = now + every, self.reading
                tell(self.frames, told)

        with listening(listener):
            yield

    def listing(self) -> dict[str, Any]:
        """The names of the source's cameras and of its recordings, each in order."""
        with self._ruled():
            names = []
            for recording in self._open().recordings():
                names.append(recording.name)
                beat()
            return {"cameras": list(self._open().cameras), "names": names}

    def take(self, ordinal: int, name: str) -> dict[str, Any]:
        """Write recording number `ordinal` of the source, listed as `name`, and report; a `UserError` rejects it."""
        self.frames = 0
        try:
            with limited(self.plan.limits), decoding(self.plan.decoder):
                recording = self._prepared(self._find(ordinal, name))
                with new_piece(Path(self.plan.partial), ordinal, recording, self._encoder) as piece:
                    piece.report = self._fill(piece)
                    return piece.report
        except UserError as error:
            return {"rejected": [name, str(error)]}
        finally:
            self._reads(False)

    @contextmanager
    def _ruled(self) -> Iterator[None]:
        with limited(self.plan.limits), faults_told(self.plan.source):
            yield

    def _open(self) -> Source:
        if self._source is None:
            self._source = open_source(self.plan.source, **self.plan.options)
        return self._source

    def _find(self, ordinal: int, name: str) -> Recording:
        """Recording number `ordinal`; the source is listed on from the last one asked for."""
        with self._ruled():
            if ordinal < self._next or not self._next:
                self._recordings, self._next = self._open().recordings(), 0
            for recording in self._recordings:
                beat()
                self._next += 1
                if self._next > ordinal:
                    if recording.name == name:
                        return recording
                    break
            raise UserError(f"{self.plan.source}: changed while it was read ({name} is not there); start again")

    def _prepared(self, recording: Recording) -> Recording:
        negative = {name: s.negative() for name, s in recording.signals.items() if name in self.plan.invert}
        recording = guarded(recording, self._reads)
        chosen = recording.sensors.keys() if self.plan.sensors is None else self.plan.sensors
        have = ", ".join(recording.sensors) or "none"
        lacking = [
            f"{recording.name}: has no sensor {n!r}; it has {have}" for n in chosen if n not in recording.sensors
        ]
        return replace(
            recording,
            signals=derived(recording.signals | negative),
            split=self.plan.split or recording.split,
            sensors={name: sensor for name, sensor in recording.sensors.items() if name in chosen},
            notes=(*recording.notes, *lacking),
        )

    def _reads(self, reading: bool) -> None:
        self.reading = reading
        beat()

    def _fill(self, piece: Piece) -> dict[str, Any]:
        recording, plan = piece.recording, self.plan
        chosen = [self._open().cameras.index(name) for name in plan.cameras]
        max_gap = usual_gap(recording.period_ns) if plan.max_gap is None else plan.max_gap
        dropped: Counter[str] = Counter()
        times: list[int] = []
        total = repeats = 0
        first_size = None
        moments = resample(recording.frames(), plan.fps, max_gap, dropped)
        for run, group in itertools.groupby(moments, key=lambda moment: moment[0]):
            piece.begin(f"{recording.name}-{run:04d}")
            run_times, run_repeats, sizes = self._put(piece, group, chosen)
            times += run_times
            first_size = first_size or sizes[0]
            if (count := len(run_times)) < plan.min_seconds * plan.fps:
                piece.abandon()
                dropped.update({SHORT: count, SHORT_RECORDINGS: 1})
                continue
            sizes_by_camera = dict(zip(plan.cameras, sizes, strict=True))
            calibration = fit_calibration(
                recording.calibration, sizes_by_camera, plan.height, plan.width, plan.crop, recording.sensors
            )
            piece.end(calibration, max_gap * 1e9)
            total, repeats = total + count, repeats + run_repeats
        if times:
            _check_overlap(recording, min(times), max(times))
        for sensor, count in piece.left_out.items():
            dropped[f"readings of {sensor} that are missing or unreadable"] = count
        notes = [*recording.notes, *self._notes(recording.name, total, repeats, first_size)]
        if lost := dropped[MISSING]:
            notes.append(
                f"{recording.name}: {lost} pictures are missing, damaged, or beyond limits.pixels; it is cut there"
            )
        return {"repeated": repeats, "dropped": dict(dropped), "notes": notes}

    def _put(
        self, piece: Piece, moments: Iterator[tuple[int, Times, Images, bool]], chosen: list[int]
    ) -> tuple[list[int], int, list[tuple[int, int]]]:
        """Put a run's frames: their times, how many of them repeat, and the (height, width) of each camera's pictures."""
        times: list[int] = []
        repeats = 0
        pictures: tuple[np.ndarray, ...] = ()
        for _, t_ns, images, repeated in moments:
            pictures = tuple(images[c] for c in chosen) if isinstance(images, tuple) else (images,)
            t_ns = tuple(t_ns[c] for c in chosen) if isinstance(t_ns, tuple) else t_ns
            piece.put(t_ns, pictures, self._fit)
            times.append(moment_of(t_ns))
            repeats += repeated
            self.frames += 1
        return times, repeats, [picture.shape[:2] for picture in pictures]

    def _fit(self, image: np.ndarray) -> np.ndarray:
        return fit(image, self.plan.height, self.plan.width, self.plan.crop)

    def _notes(self, name: str, total: int, repeats: int, size: tuple[int, int] | None) -> Iterator[str]:
        if total and repeats > REPEATS_WARN * total:
            slower = f"as the source is slower than {self.plan.fps:g} fps; ingest at a lower fps"
            yield f"{name}: {repeats} of {total} frames repeat the one before, {slower}"
        if size and (size[0] < self.plan.height or size[1] < self.plan.width):
            yield f"{name}: pictures of {size[0]}x{size[1]} (height x width) were enlarged; a smaller reel loses nothing"


def usual_gap(period_ns: int | None) -> float:
    """Seconds without a frame that cut a recording when nothing else is said: 0.3, or 2.5 usual steps if they are longer."""
    return max(GAP_S, GAP_STEPS * (period_ns or 0) / 1e9)


def _check_overlap(recording: Recording, first_ns: int, last_ns: int) -> None:
    """A `UserError` if a signal and the pictures share no time."""
    for name, signal in recording.signals.items():
        if len(signal.t_ns) and (signal.t_ns[0] > last_ns or signal.t_ns[-1] < first_ns):
            spans = [
                f"{a / 1e9:.2f} to {b / 1e9:.2f} s" for a, b in ((signal.t_ns[0], signal.t_ns[-1]), (first_ns, last_ns))
            ]
            raise UserError(
                f"{recording.source}: signal {name} covers {spans[0]} but the pictures {spans[1]}; give both the same clock"
            )
