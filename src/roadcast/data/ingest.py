"""From a source of recordings to a reel: constant rate, one size, gaps cut, splits by recording."""

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from roadcast.data.actions import ACTIONS
from roadcast.data.fit import CROPS
from roadcast.data.layout import partial_of
from roadcast.data.sources.base import Recording, Source
from roadcast.data.sources.open import open_source
from roadcast.data.split import SPLITS
from roadcast.data.store import Reel
from roadcast.data.summary import Summary, join_reports, summary_of
from roadcast.data.take import Taker
from roadcast.data.writer import ReelWriter
from roadcast.errors import UserError
from roadcast.files import remove


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
    Pictures are cropped to the aspect of height x width pixels (`crop` says which part stays when they are too tall) and
    resized. `quality` is JPEG's, 1 to 100; `split` puts every recording into one split.
    `rate` (frames a second) and `signals` (a file) go to the source; `invert` names signals recorded with the wrong
    sign, as some cars' steering is; `progress(recording, frames so far)` is called as work proceeds.
    A reel that is there already, made by the same call, is left as it is. An ingest that was killed, or that met a full
    disk, goes on when it is called again.
    Raises `UserError` for an option that cannot be, if nothing can be made of the source, and for a disk that is full or
    may not be written to; a part of the source that is bad is in `Summary.rejected`.
    """
    out = Path(out)
    _check(
        fps=fps, height=height, width=width, crop=crop, quality=quality, split=split, max_gap=max_gap,
        min_seconds=min_seconds, invert=invert,
    )  # fmt: skip
    opened = open_source(source, rate=rate, signals=signals, fps=fps)
    chosen = _choose_cameras(opened, cameras)
    origin = {
        "source": _name(source), "listing": _listing(source), "signals": _listing(signals) if signals else None,
        "rate": rate, "crop": crop, "split": split, "max_gap": max_gap, "min_seconds": min_seconds,
        "invert": sorted(invert),
    }  # fmt: skip
    names = tuple(opened.cameras[c] for c in chosen)
    workers = workers or min(8, os.cpu_count() or 1)
    writer = ReelWriter(
        out, fps=fps, height=height, width=width, cameras=names, quality=quality, origin=origin, workers=workers
    )
    if out.exists():
        return _already(out, writer.header)
    taker = Taker(writer, chosen, crop, split, max_gap, min_seconds, invert, progress or (lambda name, frames: None))
    with writer:
        reports = _take_all(taker, list(opened.recordings()), workers)
        report = join_reports(reports)
        if not writer.has_rows():
            raise UserError(_why_nothing(out, report, len(reports)))
        writer.finish(report)
    return summary_of(Reel(out))


def _take_all(taker: Taker, recordings: list[Recording], workers: int) -> list[dict[str, Any]]:
    """The report on every recording, in order; the first error that is not one recording's own ends them all."""
    with ThreadPoolExecutor(min(workers, max(1, len(recordings))), thread_name_prefix="ingest") as pool:
        futures = [pool.submit(taker.take, ordinal, recording) for ordinal, recording in enumerate(recordings)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            taker.stopped = True
            for future in futures:
                future.cancel()
            raise


def _why_nothing(out: Path, report: dict[str, Any], recordings: int) -> str:
    if rejected := report["rejected"]:
        reason = rejected[0][1]
        return reason if recordings == 1 else f"{out}: none of {recordings} recordings can be used; the first: {reason}"
    what = ", ".join(f"{count} {reason}" for reason, count in report["dropped"].items()) or "it has no frames"
    return f"{out}: nothing of the source is left ({what}); lower min_seconds or raise max_gap"


def _already(out: Path, header: dict[str, Any]) -> Summary:
    reel = Reel(out)
    remove(partial_of(out))
    for key, value in header.items():
        if (there := reel.header.get(key)) != json.loads(json.dumps(value)):
            raise UserError(
                f"{out}: is a reel made otherwise ({key} = {there!r}); choose another place or remove it first"
            )
    return summary_of(reel, already_done=True)


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
