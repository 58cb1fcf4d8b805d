"""From a source of recordings to a reel: constant rate, one size, gaps cut, splits by recording."""

import hashlib
import itertools
import json
import os
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from roadcast.data.actions import ACTIONS
from roadcast.data.sources.base import Images, Recording, Source, open_source
from roadcast.data.split import SPLITS
from roadcast.data.store import Piece, Reel, ReelWriter
from roadcast.errors import UserError

CROPS = ("center", "bottom", "top")
TIMES_REPEATED = "frames whose time does not advance"
MISSING = "missing or unreadable images"
SKIPPED = "frames more than the reel's rate needs"
SHORT = "frames of recordings shorter than min_seconds"
SHORT_RECORDINGS = "recordings shorter than min_seconds"
REPEATS_WARN = 0.05


@dataclass
class Summary:
    """What an ingest made, left out, and noticed; `repeated` frames show the picture of the one before."""

    path: Path
    recordings: int
    frames: int
    fps: float
    splits: dict[str, int]
    bytes_jpeg: int
    bytes_raw: int
    repeated: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    already_done: bool = False

    @property
    def storage_ratio(self) -> float:
        """How many times smaller the reel's pictures are than raw uint8 RGB of the same size."""
        return self.bytes_raw / self.bytes_jpeg

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


def ingest(
    source: str | Path,
    out: str | Path,
    *,
    height: int,
    width: int,
    fps: float = 20.0,
    crop: str = "center",
    quality: int = 95,
    split: str | None = None,
    max_gap: float = 0.3,
    min_seconds: float = 2.0,
    cameras: tuple[str, ...] | None = None,
    workers: int | None = None,
    rate: float | None = None,
    signals: str | Path | None = None,
    invert: tuple[str, ...] = (),
    progress: Callable[[str, int], None] | None = None,
) -> Summary:
    """Make the reel `out` from `source` (a path or a `toyroad:` address) and tell what was made.

    Frames are resampled to `fps` by their times (`at_rate`), and each keeps the time its picture was taken, at which
    the signals are interpolated. A gap longer than `max_gap` seconds, a missing image, or a clock that steps back cuts
    the recording; pieces are named name-0000, name-0001, ... and those shorter than `min_seconds` are dropped.
    Pictures are cropped to the aspect of height x width (`crop` says which part stays when they are too tall) and resized.
    `rate` and `signals` go to the source; `invert` names signals recorded with the wrong
    sign, as some cars' steering is; `progress(recording, frames so far)` is called as work proceeds.
    A reel that is there already, made by the same call, is left as it is. An ingest that was killed goes on.
    Raises `UserError` if nothing can be made of the source; a part of it that is bad is in `Summary.rejected`.
    """
    out = Path(out)
    _check(
        fps=fps,
        height=height,
        width=width,
        crop=crop,
        quality=quality,
        split=split,
        max_gap=max_gap,
        min_seconds=min_seconds,
        invert=invert,
    )
    opened = open_source(source, rate=rate, signals=signals, fps=fps)
    chosen = _choose_cameras(opened, cameras)
    origin = {
        "source": _name(source), "listing": _listing(source), "signals": _listing(signals) if signals else None, "rate": rate,
        "crop": crop, "split": split, "max_gap": max_gap, "min_seconds": min_seconds,
        "invert": sorted(invert),
    }  # fmt: skip
    names = tuple(opened.cameras[c] for c in chosen)
    workers = workers or min(8, os.cpu_count() or 1)
    writer = ReelWriter(
        out, fps=fps, height=height, width=width, cameras=names, quality=quality, origin=origin, workers=workers
    )
    if out.exists():
        return _already(out, writer.header)
    job = _Job(writer, chosen, crop, split, fps, max_gap, min_seconds, invert, progress or (lambda name, frames: None))
    with writer:
        recordings = list(opened.recordings())
        with ThreadPoolExecutor(min(workers, max(1, len(recordings))), thread_name_prefix="ingest") as pool:
            futures = [pool.submit(job.take, ordinal, recording) for ordinal, recording in enumerate(recordings)]
            try:
                reports = [future.result() for future in futures]
            except BaseException:
                job.stopped = True
                for future in futures:
                    future.cancel()
                raise
        writer.finish(_report(out, reports, writer))
    return _summary(out)


def resample(
    frames: Iterable[tuple[int, Images | None]], fps: float, max_gap: float, dropped: Counter[str]
) -> Iterator[tuple[int, int, Images, bool]]:
    """(run, t_ns, images, repeated) at a constant `fps`; a new run where the source has a gap, counted from 0."""
    for run, group in itertools.groupby(_runs(frames, round(max_gap * 1e9), dropped), key=lambda item: item[0]):
        for t_ns, images, repeated in at_rate(((t, images) for _, t, images in group), fps, dropped):
            yield run, t_ns, images, repeated


def _runs(
    frames: Iterable[tuple[int, Images | None]], max_gap_ns: int, dropped: Counter[str]
) -> Iterator[tuple[int, int, Images]]:
    run, last = -1, None
    for t_ns, images in frames:
        if images is None:
            dropped[MISSING] += 1
            last = None
            continue
        if last is not None and -max_gap_ns <= t_ns - last <= 0:
            dropped[TIMES_REPEATED] += 1
            continue
        if last is None or not 0 < t_ns - last <= max_gap_ns:
            run += 1
        last = t_ns
        yield run, t_ns, images


def at_rate(
    frames: Iterable[tuple[int, Images]], fps: float, dropped: Counter[str]
) -> Iterator[tuple[int, Images, bool]]:
    """Frames of increasing times brought to ticks k / fps after the first: (t_ns, images, whether it repeats the one before).

    A tick takes the latest frame at or before it, within tolerances that make a jittered camera of about the same rate pass
    one to one: the next frame is taken though it is up to 1/2 period late, and is skipped only if the one after it is no more
    than 1/4 period late. Between a repeat and a skip the camera's phase must move by 1/4 period, so jitter does not make both.
    No frame is made up after the last one.
    """
    source = iter(frames)
    window: deque[tuple[int, Images]] = deque(itertools.islice(source, 2))
    if not window:
        return
    held = window.popleft()
    yield *held, False
    start, period = held[0], 1e9 / fps
    for k in itertools.count(1):
        tick = start + round(k * period)
        window.extend(itertools.islice(source, 2 - len(window)))
        while len(window) == 2 and window[1][0] <= tick + period / 4:
            window.popleft()
            dropped[SKIPPED] += 1
            window.extend(itertools.islice(source, 1))
        if not window:
            return
        fresh = window[0][0] <= tick + period / 2
        if fresh:
            held = window.popleft()
        yield *held, not fresh


def fit_view(height: int, width: int, to_height: int, to_width: int, crop: str) -> tuple[int, int, int, int]:
    """The part (top, left, height, width) of a picture that has the aspect of to_height x to_width and is as large as can be."""
    if width * to_height > height * to_width:
        inner = max(1, round(height * to_width / to_height))
        return 0, (width - inner) // 2, height, inner
    inner = max(1, round(width * to_height / to_width))
    return {"top": 0, "center": (height - inner) // 2, "bottom": height - inner}[crop], 0, inner, width


def fit(image: np.ndarray, height: int, width: int, crop: str) -> np.ndarray:
    """`image` HWC cropped to the aspect and resized: areas averaged when it shrinks, linear when it grows."""
    top, left, h, w = fit_view(*image.shape[:2], height, width, crop)
    view = image[top : top + h, left : left + w]
    if (h, w) == (height, width):
        return np.ascontiguousarray(view)
    return cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA if h >= height else cv2.INTER_LINEAR)


@dataclass
class _Job:
    """The settings that every recording is taken in with."""

    writer: ReelWriter
    cameras: list[int]
    crop: str
    split: str | None
    fps: float
    max_gap: float
    min_seconds: float
    invert: tuple[str, ...]
    progress: Callable[[str, int], None]
    stopped: bool = False

    def take(self, ordinal: int, recording: Recording) -> dict[str, Any]:
        """Write one recording of the source, unless that is done, and report; a `UserError` rejects it."""
        if (report := self.writer.piece_report(ordinal, recording.name)) is not None:
            return report
        try:
            with self.writer.piece(ordinal, recording.name) as piece:
                piece.report = self._write(piece, recording)
                return piece.report
        except UserError as error:
            return {"rejected": [recording.name, str(error)]}

    def _write(self, piece: Piece, recording: Recording) -> dict[str, Any]:
        dropped: Counter[str] = Counter()
        total = repeats = 0
        size: tuple[int, int] | None = None
        span = [2**63 - 1, -(2**63)]
        moments = resample(recording.frames(), self.fps, self.max_gap, dropped)
        for run, group in itertools.groupby(moments, key=lambda moment: moment[0]):
            piece.begin(f"{recording.name}-{run:04d}")
            count = repeated_here = 0
            for _, t_ns, images, repeated in group:
                if self.stopped:
                    raise InterruptedError
                chosen = tuple(images[c] for c in self.cameras) if isinstance(images, tuple) else (images,)
                size = size or chosen[0].shape[:2]
                piece.put(t_ns, chosen, self._fit)
                span = [min(span[0], t_ns), max(span[1], t_ns)]
                count += 1
                repeated_here += repeated
                if (total + count) % 100 == 0:
                    self.progress(recording.name, total + count)
            if count < self.min_seconds * self.fps:
                piece.abandon()
                dropped[SHORT] += count
                dropped[SHORT_RECORDINGS] += 1
                continue
            signals = recording.signals | {
                name: recording.signals[name].negative() for name in self.invert if name in recording.signals
            }
            calibration = _to_view(
                recording.calibration, chosen, [piece.writer.cameras[c] for c in range(len(chosen))], self
            )
            split = self.split or recording.split
            piece.end(recording.source, split, recording.name, calibration, signals, self.max_gap * 1e9)
            total, repeats = total + count, repeats + repeated_here
        _check_overlap(recording, *span)
        self.progress(recording.name, total)
        return {
            "repeated": repeats,
            "dropped": dict(dropped),
            "notes": [*recording.notes, *self._notes(recording.name, total, repeats, size)],
        }

    def _notes(self, name: str, total: int, repeats: int, size: tuple[int, int] | None) -> Iterator[str]:
        if total and repeats > REPEATS_WARN * total:
            slower = f"as the source is slower than {self.fps:g} fps; ingest at a lower fps"
            yield f"{name}: {repeats} of {total} frames repeat the one before, {slower}"
        if size and (size[0] < self.writer.height or size[1] < self.writer.width):
            yield f"{name}: pictures of {size[0]}x{size[1]} (height x width) were enlarged; a smaller reel loses nothing"

    def _fit(self, image: np.ndarray) -> np.ndarray:
        return fit(image, self.writer.height, self.writer.width, self.crop)


def _to_view(
    calibration: dict[str, Any] | None, images: tuple[np.ndarray, ...], cameras: list[str], job: _Job
) -> dict[str, Any] | None:
    """`calibration` of the chosen cameras with intrinsics in the reel's pixels (pixel centres at whole numbers)."""
    if calibration is None:
        return None
    out = {}
    for name, image in zip(cameras, images, strict=True):
        if (entry := calibration.get(name)) is None:
            continue
        out[name] = dict(entry)
        if "intrinsics" in entry:
            top, left, h, w = fit_view(*image.shape[:2], job.writer.height, job.writer.width, job.crop)
            sx, sy = job.writer.width / w, job.writer.height / h
            shift = np.array([[sx, 0, sx * (0.5 - left) - 0.5], [0, sy, sy * (0.5 - top) - 0.5], [0, 0, 1]])
            out[name]["intrinsics"] = (shift @ np.array(entry["intrinsics"], np.float64)).tolist()
    return out


def _check_overlap(recording: Recording, first_ns: int, last_ns: int) -> None:
    """A `UserError` if a signal and the pictures share no time."""
    for name, signal in recording.signals.items():
        if len(signal.t_ns) and first_ns <= last_ns and (signal.t_ns[0] > last_ns or signal.t_ns[-1] < first_ns):
            spans = [
                f"{a / 1e9:.2f} to {b / 1e9:.2f} s" for a, b in ((signal.t_ns[0], signal.t_ns[-1]), (first_ns, last_ns))
            ]
            raise UserError(
                f"{recording.source}: signal {name} covers {spans[0]} but the pictures {spans[1]}; give both the same clock"
            )


def _check(**given: Any) -> None:
    for name in ("fps", "height", "width", "max_gap"):
        if not given[name] > 0:
            raise UserError(f"{name} = {given[name]}; give a positive number")
    if given["min_seconds"] < 0:
        raise UserError(f"min_seconds = {given['min_seconds']}; give 0 or more")
    if not 1 <= given["quality"] <= 100:
        raise UserError(f"quality = {given['quality']}; give a JPEG quality from 1 to 100")
    if given["crop"] not in CROPS:
        raise UserError(f"crop = {given['crop']!r}; choose one of {', '.join(CROPS)}")
    for name in given["invert"]:
        if name not in ACTIONS or ACTIONS[name].low == 0:
            raise UserError(
                f"invert = {name!r}: is no signal with a sign; choose from {', '.join(n for n in ACTIONS if ACTIONS[n].low < 0)}"
            )
    if given["split"] is not None and given["split"] not in SPLITS:
        raise UserError(f"split = {given['split']!r}; choose one of {', '.join(SPLITS)}")


def _choose_cameras(source: Source, cameras: tuple[str, ...] | None) -> list[int]:
    for name in cameras or ():
        if name not in source.cameras:
            raise UserError(f"camera {name!r} is not in the source; it has {', '.join(source.cameras)}")
    return [source.cameras.index(name) for name in cameras or source.cameras]


def _name(source: str | Path) -> str:
    path = Path(source)
    return path.resolve().name if path.exists() else str(source)


def _listing(source: str | Path) -> str | None:
    """A digest of the names and sizes of the files of a source, by which a changed source is known from the same one."""
    path = Path(source)
    if not path.exists():
        return None
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    rows = [[p.relative_to(path).as_posix(), p.stat().st_size] for p in files]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _report(out: Path, reports: list[dict[str, Any]], writer: ReelWriter) -> dict[str, Any]:
    """What reel.json keeps of the recordings' reports; a `UserError` if they left nothing."""
    dropped: Counter[str] = Counter()
    for report in reports:
        dropped.update(report.get("dropped", {}))
    rejected = [report["rejected"] for report in reports if "rejected" in report]
    if not any(writer.rows()):
        if len(rejected) == 1 and len(reports) == 1:
            raise UserError(rejected[0][1])
        if rejected:
            raise UserError(f"{out}: none of {len(reports)} recordings can be used; the first: {rejected[0][1]}")
        what = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "it has no frames"
        raise UserError(f"{out}: nothing of the source is left ({what}); lower min_seconds or raise max_gap")
    repeated = sum(report.get("repeated", 0) for report in reports)
    warnings = [note for report in reports for note in report.get("notes", ())]
    return {"repeated": repeated, "dropped": dict(dropped), "rejected": rejected, "warnings": warnings}


def _already(out: Path, header: dict[str, Any]) -> Summary:
    there = Reel(out).header
    shutil.rmtree(out.with_name(out.name + ".partial"), ignore_errors=True)
    for key, value in header.items():
        if there.get(key) != json.loads(json.dumps(value)):
            raise UserError(
                f"{out}: is a reel made otherwise ({key} = {there.get(key)!r}); choose another place or remove it first"
            )
    summary = _summary(out)
    summary.already_done = True
    return summary


def _summary(out: Path) -> Summary:
    reel = Reel(out)
    report = reel.header["report"]
    splits = Counter(video.split for video in reel.videos)
    return Summary(
        path=out,
        recordings=len(reel.videos),
        frames=reel.frames,
        fps=reel.fps,
        splits={name: splits[name] for name in SPLITS},
        bytes_jpeg=sum(shard["bytes"] for shard in reel.header["shards"].values()),
        bytes_raw=len(reel.index) * reel.height * reel.width * 3,
        repeated=report.get("repeated", 0),
        dropped=report.get("dropped", {}),
        rejected=[(name, reason) for name, reason in report.get("rejected", [])],
        warnings=report.get("warnings", []),
    )
