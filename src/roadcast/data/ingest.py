"""From a source of recordings to a reel: constant rate, one size, gaps cut, splits by recording."""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from roadcast.data.actions import ACTIONS
from roadcast.data.intake.crew import Crew
from roadcast.data.intake.decode import DECODERS, best_decoder, decoder_is_there
from roadcast.data.intake.fit import CROPS
from roadcast.data.intake.limits import Limits
from roadcast.data.intake.plan import Plan
from roadcast.data.reel.layout import partial_of
from roadcast.data.reel.store import Reel
from roadcast.data.reel.summary import Summary, join_reports, summary_of
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.base import VIDEO_SUFFIXES
from roadcast.data.splits.split import SPLITS
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
    max_gap: float | None = None,
    min_seconds: float = 2.0,
    cameras: tuple[str, ...] | None = None,
    sensors: tuple[str, ...] | None = None,
    append: bool = False,
    workers: int | None = None,
    rate: float | None = None,
    signals: str | Path | None = None,
    invert: tuple[str, ...] = (),
    decoder: str | None = None,
    limits: Limits | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> Summary:
    """Make the reel `out` from `source` (a path or a `toyroad:` address) and tell what was made.

    Frames are resampled to `fps` by their times (`at_rate`), and each keeps the time its picture was taken, at which
    the signals are interpolated. A gap longer than `max_gap` seconds (0.3, or 2.5 usual steps of the source if they are
    longer, unless given), a missing image, or a clock that steps back cuts the recording; pieces are named name-0000,
    name-0001, ... and those shorter than `min_seconds` are dropped.
    Pictures are cropped to the aspect of height x width pixels (`crop` says which part stays when they are too tall) and
    resized. `quality` is JPEG's, 1 to 100; `split` puts every recording into one split.
    `rate` (frames a second) and `signals` (a file) go to the source; `invert` names signals recorded with the wrong
    sign, as some cars' steering is; of speed, yaw rate, curvature and acceleration what a source lacks is derived from what it has
    (`egomotion.derived`); `progress(recording, frames so far)` is called as work proceeds.
    Each recording is taken in one of `workers` processes. One that crashes, hangs, or asks for more than `limits` is ended,
    and its recording rejected with the reason; with `workers` = 0 all is done in this process, where nothing can be ended.
    `cameras` and `sensors` choose among the source's, by name; all of both unless given.
    With `append` the source is added to the reel `out`, which must have the same rate, size, cameras and quality; a source that
    was added before is not added again.
    `decoder` of videos is one of DECODERS: that with which the reel was begun, or the first that is installed.
    A reel that is there already, made by the same call, is left as it is. An ingest that was killed, or that met a full
    disk, goes on when it is called again.
    Raises `UserError` for an option that cannot be, if nothing can be made of the source, and for a disk that is full or
    may not be written to; a part of the source that is bad is in `Summary.rejected`.
    """
    out = Path(out)
    _check(
        fps=fps, height=height, width=width, crop=crop, quality=quality, split=split, max_gap=max_gap,
        min_seconds=min_seconds, invert=invert, workers=workers,
    )  # fmt: skip
    workers = min(8, os.cpu_count() or 1) if workers is None else workers
    decoder = _decoder(decoder, source, out)
    options = {"rate": rate, "signals": None if signals is None else str(signals), "fps": fps}
    plan = Plan(
        source=str(source), options=options, cameras=(), fps=fps, height=height, width=width, quality=quality, crop=crop,
        split=split, max_gap=max_gap, min_seconds=min_seconds, invert=tuple(invert), decoder=decoder,
        sensors=None if sensors is None else tuple(sensors), partial=str(partial_of(out)), limits=limits or Limits(),
    )  # fmt: skip
    origin = {
        "source": _name(source), "listing": _listing(source), "signals": _listing(signals) if signals else None,
        "rate": rate, "crop": crop, "split": split, "max_gap": max_gap, "min_seconds": min_seconds,
        "invert": sorted(invert), "decoder": decoder, "sensors": None if sensors is None else sorted(sensors),
    }  # fmt: skip
    with Crew(workers, plan.limits) as crew:
        listed, names = crew.listing(plan)
        plan = replace(plan, cameras=_choose_cameras(listed, cameras))
        writer = ReelWriter(
            out, fps=fps, height=height, width=width, cameras=plan.cameras, quality=quality, origin=origin, workers=1,
            append=append,
        )  # fmt: skip
        if out.exists() and (not append or _was_added(out, origin)):
            return _already(out, writer.header, append)
        with writer:
            reports = crew.take(plan, names, progress or (lambda name, frames: None))
            report = join_reports(reports)
            if not writer.has_rows():
                raise UserError(_why_nothing(out, report, len(reports)))
            writer.finish(report)
    return summary_of(Reel(out))


def _why_nothing(out: Path, report: dict[str, Any], recordings: int) -> str:
    if rejected := report["rejected"]:
        reason = rejected[0][1]
        return reason if recordings == 1 else f"{out}: none of {recordings} recordings can be used; the first: {reason}"
    what = ", ".join(f"{count} {reason}" for reason, count in report["dropped"].items()) or "it has no frames"
    return f"{out}: nothing of the source is left ({what}); lower min_seconds or raise max_gap"


def _was_added(out: Path, origin: dict[str, Any]) -> bool:
    """Whether the reel was made of this source, or had it appended, in the same way."""
    header, asked = Reel(out).header, json.loads(json.dumps(origin))
    origins = [header["origin"], *header["appended"]]
    return any({key: made.get(key) for key in asked} == asked for made in origins)


def _already(out: Path, header: dict[str, Any], append: bool) -> Summary:
    reel = Reel(out)
    remove(partial_of(out))
    for key, value in () if append else header.items():
        same = _was_added(out, value) if key == "origin" else reel.header.get(key) == json.loads(json.dumps(value))
        if not same:
            raise UserError(
                f"{out}: is a reel made otherwise ({key} = {reel.header.get(key)!r}); choose another place or remove it first"
            )
    return summary_of(reel, already_done=True)


def _check(**given: Any) -> None:
    for name in ("fps", "height", "width", "max_gap"):
        if given[name] is not None and not given[name] > 0:
            raise UserError(f"{name} = {given[name]}; give a positive number")
    if given["min_seconds"] < 0:
        raise UserError(f"min_seconds = {given['min_seconds']}; give 0 or more")
    if given["workers"] is not None and given["workers"] < 0:
        raise UserError(f"workers = {given['workers']}; give 1 or more, or 0 for none beside this process")
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


def _choose_cameras(listed: tuple[str, ...], cameras: tuple[str, ...] | None) -> tuple[str, ...]:
    for name in cameras or ():
        if name not in listed:
            raise UserError(f"camera {name!r} is not in the source; it has {', '.join(listed)}")
    return tuple(cameras or listed)


def _decoder(asked: str | None, source: str | Path, out: Path) -> str | None:
    """The decoder of the source's videos: that asked for, or that with which `out` was begun, or the best there is."""
    if asked is not None and asked not in DECODERS:
        raise UserError(f"decoder = {asked!r}; choose one of {', '.join(DECODERS)}")
    path = Path(source)
    files = path.rglob("*") if path.is_dir() else [path]
    if not any(file.suffix.lower() in VIDEO_SUFFIXES for file in files):
        return None
    begun = _begun(out).get("decoder")
    if asked is None and begun in DECODERS and not decoder_is_there(begun):
        raise UserError(
            f"{out}: was begun with the decoder {begun}, which is not installed now; install it, or name another and begin anew"
        )
    return asked or begun or best_decoder()


def _begun(out: Path) -> dict[str, Any]:
    """The origin of the reel that is at `out` or begun beside it, empty if there is none."""
    for file in (out / "reel.json", partial_of(out) / "plan.json"):
        with suppress(OSError, ValueError, KeyError):
            return json.loads(file.read_text())["origin"]
    return {}


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
