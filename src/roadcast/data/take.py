"""One recording of a source taken into a reel: its rate, its gaps, its size, and a report of what became of it."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roadcast.data.fit import fit, fit_calibration
from roadcast.data.piece import Piece
from roadcast.data.resample import resample
from roadcast.data.sources.base import Images, Recording
from roadcast.data.writer import ReelWriter
from roadcast.errors import UserError

SHORT = "frames of recordings shorter than min_seconds"
SHORT_RECORDINGS = "recordings shorter than min_seconds"
REPEATS_WARN = 0.05
PROGRESS_EVERY = 100


@dataclass
class Taker:
    """Takes recordings into `writer`'s reel, all in one way; `ingest` says what the settings mean.

    cameras   the numbers of the source's cameras that the reel has, in the reel's order
    stopped   set from another thread, makes a `take` that is under way end with `InterruptedError`
    """

    writer: ReelWriter
    cameras: list[int]
    crop: str
    split: str | None
    max_gap: float
    min_seconds: float
    invert: tuple[str, ...]
    progress: Callable[[str, int], None]
    stopped: bool = False

    def take(self, ordinal: int, recording: Recording) -> dict[str, Any]:
        """Write one recording of the source, unless that is done, and report; a `UserError` rejects it."""
        if (report := self.writer.report_of(ordinal, recording)) is not None:
            return report
        inverted = {name: signal.negative() for name, signal in recording.signals.items() if name in self.invert}
        recording = replace(recording, signals=recording.signals | inverted, split=self.split or recording.split)
        try:
            with self.writer.piece(ordinal, recording) as piece:
                piece.report = self._fill(piece)
                return piece.report
        except UserError as error:
            return {"rejected": [recording.name, str(error)]}

    def _fill(self, piece: Piece) -> dict[str, Any]:
        recording, writer = piece.recording, self.writer
        dropped: Counter[str] = Counter()
        times: list[int] = []
        total = repeats = 0
        first_size = None
        moments = resample(recording.frames(), writer.fps, self.max_gap, dropped)
        for run, group in itertools.groupby(moments, key=lambda moment: moment[0]):
            piece.begin(f"{recording.name}-{run:04d}")
            run_times, run_repeats, sizes = self._put(piece, group, total)
            times += run_times
            first_size = first_size or sizes[0]
            if (count := len(run_times)) < self.min_seconds * writer.fps:
                piece.abandon()
                dropped.update({SHORT: count, SHORT_RECORDINGS: 1})
                continue
            sizes_by_camera = dict(zip(writer.cameras, sizes, strict=True))
            calibration = fit_calibration(
                recording.calibration, sizes_by_camera, writer.height, writer.width, self.crop
            )
            piece.end(calibration, self.max_gap * 1e9)
            total, repeats = total + count, repeats + run_repeats
        if times:
            _check_overlap(recording, min(times), max(times))
        self.progress(recording.name, total)
        notes = [*recording.notes, *self._notes(recording.name, total, repeats, first_size)]
        return {"repeated": repeats, "dropped": dict(dropped), "notes": notes}

    def _put(
        self, piece: Piece, moments: Iterator[tuple[int, int, Images, bool]], before: int
    ) -> tuple[list[int], int, list[tuple[int, int]]]:
        """Put a run's frames: their times, how many of them repeat, and the (height, width) of each camera's pictures."""
        times: list[int] = []
        repeats = 0
        chosen: tuple[np.ndarray, ...] = ()
        for _, t_ns, images, repeated in moments:
            if self.stopped:
                raise InterruptedError
            chosen = tuple(images[c] for c in self.cameras) if isinstance(images, tuple) else (images,)
            piece.put(t_ns, chosen, self._fit)
            times.append(t_ns)
            repeats += repeated
            if (before + len(times)) % PROGRESS_EVERY == 0:
                self.progress(piece.recording.name, before + len(times))
        return times, repeats, [image.shape[:2] for image in chosen]

    def _fit(self, image: np.ndarray) -> np.ndarray:
        return fit(image, self.writer.height, self.writer.width, self.crop)

    def _notes(self, name: str, total: int, repeats: int, size: tuple[int, int] | None) -> Iterator[str]:
        if total and repeats > REPEATS_WARN * total:
            slower = f"as the source is slower than {self.writer.fps:g} fps; ingest at a lower fps"
            yield f"{name}: {repeats} of {total} frames repeat the one before, {slower}"
        if size and (size[0] < self.writer.height or size[1] < self.writer.width):
            yield f"{name}: pictures of {size[0]}x{size[1]} (height x width) were enlarged; a smaller reel loses nothing"


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
