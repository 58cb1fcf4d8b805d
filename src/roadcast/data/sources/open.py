"""Which source a path or an address names."""

import inspect
from pathlib import Path
from typing import Any

from roadcast.data.sources.base import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Source
from roadcast.data.sources.donkey import DonkeySource, is_tub
from roadcast.data.sources.images import ImageSource
from roadcast.data.sources.toyroad import ToyroadSource
from roadcast.data.sources.video import VideoSource
from roadcast.errors import UserError

FORMATS = (
    "a video or a folder of videos (.mp4 .mov .mkv .avi .webm .hevc ...), a folder of images (.jpg .png ...), "
    "a donkeycar v2 tub (folder with manifest.json, .tar or .tar.gz, or a folder of such), toyroad:recordings=40,frames=200,seed=0"
)


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
