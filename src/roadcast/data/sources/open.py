"""Which source a path or an address names."""

import importlib
import inspect
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roadcast.data.intake.guard import faults_told
from roadcast.data.intake.heartbeat import beat
from roadcast.data.sources.base import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Recording, Source, unreadable
from roadcast.data.sources.carla import CarlaSource, is_carla
from roadcast.data.sources.comma import CommaSource, is_comma
from roadcast.data.sources.donkey import DonkeySource, is_tub
from roadcast.data.sources.images import ImageSource
from roadcast.data.sources.kitti import KittiSource, is_kitti
from roadcast.data.sources.lerobot import LeRobotSource, is_lerobot
from roadcast.data.sources.nuscenes import NuScenesSource, is_nuscenes
from roadcast.data.sources.radiate import RadiateSource, is_radiate
from roadcast.data.sources.toyroad import ToyroadSource
from roadcast.data.sources.video import VideoSource
from roadcast.data.sources.waymo import WaymoSource, is_waymo
from roadcast.errors import UserError


@dataclass(frozen=True)
class Kind:
    """A format that is known by what is in a folder or file: its name, whether a path is of it, and the source of such paths."""

    name: str
    is_kind: Callable[[Path], bool]
    make: Callable[[list[Path]], Source]


def each(make: Callable[[Path], Source]) -> Callable[[list[Path]], Source]:
    """For a source of one path: the source of some."""
    return lambda paths: make(paths[0]) if len(paths) == 1 else Several(make, paths)


KINDS: tuple[Kind, ...] = (
    Kind("a LeRobot dataset (meta/info.json)", is_lerobot, each(LeRobotSource)),
    Kind("Waymo perception (.tfrecord, or tables in camera_image/ ...)", is_waymo, each(WaymoSource)),
    Kind("comma2k19 segments, routes or chunks (processed_log/)", is_comma, each(CommaSource)),
    Kind("nuScenes tables (v1.0-*/)", is_nuscenes, each(NuScenesSource)),
    Kind("KITTI raw drives (image_02/, oxts/, velodyne_points/)", is_kitti, each(KittiSource)),
    Kind("RADIATE sequences (zed_left.txt, Navtech_Cartesian.txt)", is_radiate, each(RadiateSource)),
    Kind("CARLA routes (rgb*/ and measurements/, or a CSV of frame, steer, throttle)", is_carla, each(CarlaSource)),
    Kind("a donkeycar v2 tub (folder with manifest.json, .tar or .tar.gz)", is_tub, DonkeySource),
)
"""In the order they are tried. Plain videos and images come after all of these, as many of these hold some."""

FORMATS = (
    ", ".join(kind.name for kind in KINDS)
    + ", a folder of such, a video or a folder of videos (.mp4 .mov .mkv .avi .webm .hevc ...), "
    "a folder of images (.jpg .png ...), toyroad:recordings=40,frames=200,seed=0, or a source of your own: module:Class:name=value"
)
OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(:.*)?")


def open_source(
    path_or_uri: str | Path, *, rate: float | None = None, signals: str | Path | None = None, fps: float = 20.0
) -> Source:
    """The source that a path, a `toyroad:` address or the address `module:Class:name=value,...` of one's own class names.

    rate      frames per second of raw video streams and of images, which have no times of their own
    signals   a .csv or .jsonl of controls over time, for one video or one folder of images
    fps       rate taken for a folder of images when no other is known
    Raises `UserError` for what does not exist, is of no known format, or has no use for an option given.
    """
    address = str(path_or_uri)
    if rate is not None and not rate > 0:
        raise UserError(f"rate = {rate} is no frame rate; give frames per second, for example 25")
    path = Path(address)
    if not path.exists():
        if address.split(":")[0] == "toyroad":
            _no_use("toyroad", rate=rate, signals=signals)
            return ToyroadSource(**_options(address, address.partition(":")[2], ToyroadSource))
        if OWN.fullmatch(address):
            _no_use(address, rate=rate, signals=signals)
            return _own(address)
        raise UserError(f"{path}: no such file or folder; give {FORMATS}")
    entries = sorted(path.iterdir()) if path.is_dir() else []
    for kind in KINDS:
        if found := [path] if kind.is_kind(path) else [entry for entry in entries if kind.is_kind(entry)]:
            _no_use(f"{path}: {kind.name}", rate=rate, signals=signals)
            return kind.make(found)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    if videos := [p for p in files if p.suffix.lower() in VIDEO_SUFFIXES]:
        return VideoSource(videos, root=path if path.is_dir() else path.parent, rate=rate, signals=signals)
    if any(p.suffix.lower() in IMAGE_SUFFIXES for p in entries):
        return ImageSource(path, rate=rate, signals=signals, fps=fps)
    what = "holds nothing that can be read" if path.is_dir() else "is of no known format"
    raise UserError(f"{path}: {what}; give {FORMATS}")


class Several:
    """Sources of one kind as one, in the order of their paths; a name that comes twice is led by its folder's.

    One that cannot be read stands there as a recording that is rejected. Raises `UserError` if they differ in their cameras,
    or if none can be read.
    """

    def __init__(self, make: Callable[[Path], Source], paths: Sequence[Path]):
        self.parts: list[tuple[Path, Source | UserError]] = []
        for path in paths:
            try:
                with faults_told(path):
                    self.parts.append((path, make(path)))
            except UserError as error:
                self.parts.append((path, error))
        whole = [(path, source) for path, source in self.parts if not isinstance(source, UserError)]
        if not whole:
            raise next(error for _, error in self.parts if isinstance(error, UserError))
        first, self.cameras = whole[0][0], whole[0][1].cameras
        for path, source in whole:
            if source.cameras != self.cameras:
                raise UserError(
                    f"{path}: has cameras {', '.join(source.cameras)}, but {first} has {', '.join(self.cameras)}; ingest them apart"
                )

    def recordings(self) -> Iterator[Recording]:
        found = [(path, recording) for path, source in self.parts for recording in _listed(path, source)]
        times = Counter(recording.name for _, recording in found)
        for path, recording in found:
            name = recording.name
            yield recording if times[name] == 1 else replace(recording, name=f"{path.name}_{name}")


def _listed(path: Path, source: Source | UserError) -> list[Recording]:
    if isinstance(source, UserError):
        return [unreadable(path.name, path.name, source)]
    try:
        with faults_told(path):
            beat()
            return list(source.recordings())
    except UserError as error:
        return [unreadable(path.name, path.name, error)]


def _no_use(what: str, **options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise UserError(f"{what} has no use for {name} = {value}; leave it out")


def _own(address: str) -> Source:
    """The source of one's own class; its module is looked for in the current folder too."""
    module_name, class_name, *options = address.split(":", 2)
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(
            f"{address}: {module_name} cannot be imported ({error}) and is no file or folder; give {FORMATS}"
        ) from None
    make = getattr(module, class_name, None)
    if not isinstance(make, type):
        raise UserError(f"{address}: {module_name} has no class {class_name}; correct the name")
    source = make(**_options(address, "".join(options), make))
    if not (isinstance(getattr(source, "cameras", None), tuple) and callable(getattr(source, "recordings", None))):
        raise UserError(f"{address}: is no source; give it `cameras`, a tuple of names, and `recordings()`")
    return source


def _options(address: str, text: str, make: type) -> dict[str, Any]:
    """name=value,... as keyword arguments of `make`: numbers where it is annotated so, else text."""
    known = inspect.signature(make).parameters
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or key not in known:
            raise UserError(
                f"{address}: {part!r} is no option of {make.__name__}; write name=value, names: {', '.join(known)}"
            )
        number = {int: int, "int": int, float: float, "float": float}.get(known[key].annotation)
        try:
            options[key] = number(value) if number else value
        except ValueError:
            raise UserError(f"{address}: {key} = {value!r} is no number; correct it") from None
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in options and parameter.kind is not parameter.VAR_KEYWORD:
            raise UserError(f"{address}: lacks {key}; add {key}=value")
    return options
