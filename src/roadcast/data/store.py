"""The reel: driving video in one folder, any frame found by arithmetic and read from a memory map.

reel.json       {schema, fps, height, width, cameras, jpeg_quality, signals, frames, fingerprint, shards, files, report, ...}
videos.jsonl    one row a recording: name, source, split, first, frames, t0_ns, calibration, sha256
index.npy       one row a picture, INDEX below; the row of (frame, camera) is frame * cameras + camera
signals/*.npy   float32 [frames] or [frames, k], one row a time step, NaN where unknown
shards/*.bin    JPEG bytes, end to end
"""

import errno
import fcntl
import hashlib
import json
import mmap
import os
import shutil
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from roadcast.data.actions import ACTIONS
from roadcast.data.sources.base import Images, Recording, Signal
from roadcast.data.split import SPLITS, assign_splits, shared_pictures
from roadcast.errors import UserError

SCHEMA = 1
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""MIGRATIONS[n] takes the contents of a reel.json of schema n and gives those of schema n + 1."""

INDEX = np.dtype(
    [("video", "<u4"), ("t_ns", "<i8"), ("shard", "<u4"), ("offset", "<u8"), ("length", "<u4"), ("crc32", "<u4")]
)
SIGNALS: dict[str, int] = {**dict.fromkeys(ACTIONS, 1), "ego_pose": 7}


@dataclass(frozen=True)
class Video:
    """One recording of a reel: its frames are rows `first` to `first + frames` of the reel's time steps."""

    name: str
    source: str
    split: str
    first: int
    frames: int
    t0_ns: int
    calibration: dict[str, Any] | None
    sha256: str


class Reel:
    """The read side of a reel; opening touches no pixels, and a pickled reel is only its path.

    Raises `UserError` if `path` is no reel, is of a newer schema, or lacks a file or a part of one.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.header = _read_header(self.path)
        self.fps: float = self.header["fps"]
        self.height: int = self.header["height"]
        self.width: int = self.header["width"]
        self.cameras: list[str] = self.header["cameras"]
        self.frames: int = self.header["frames"]
        self.fingerprint: str = self.header["fingerprint"]
        try:
            text = (self.path / "videos.jsonl").read_bytes()
            self.videos = [Video(**json.loads(line)) for line in text.splitlines()]
            self.index = np.asarray(np.load(self.path / "index.npy", mmap_mode="r"))
            self.signals: dict[str, np.ndarray] = {
                name: np.asarray(np.load(self.path / "signals" / f"{name}.npy", mmap_mode="r"))
                for name in self.header["signals"]
            }
            sizes = {name: (self.path / "shards" / name).stat().st_size for name in self.header["shards"]}
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{self.path}: the reel is not whole ({error}); {_remedy(self.path)}") from None
        if hashlib.sha256(text).hexdigest() != self.fingerprint:
            raise UserError(
                f"{self.path}/videos.jsonl: does not match the fingerprint in reel.json; {_remedy(self.path)}"
            )
        rows = self.frames * len(self.cameras)
        if (
            self.index.dtype != INDEX
            or self.index.shape != (rows,)
            or any(len(s) != self.frames for s in self.signals.values())
        ):
            raise UserError(
                f"{self.path}: index.npy or a signal has not {rows} rows as reel.json says; {_remedy(self.path)}"
            )
        for name, size in sizes.items():
            if size != (told := self.header["shards"][name]["bytes"]):
                raise UserError(f"{self.path}/shards/{name}: {size} bytes, should be {told}; {_remedy(self.path)}")
        self.t_ns: np.ndarray = self.index["t_ns"][:: len(self.cameras)]
        self._maps: dict[int, memoryview] = {}

    def __reduce__(self):
        return Reel, (self.path,)

    def jpeg(self, frame: int, camera: int = 0) -> memoryview:
        """The encoded picture as a slice of the memory map: no copy, no check."""
        row = self.index[frame * len(self.cameras) + camera]
        offset = int(row["offset"])
        return self._shard(int(row["shard"]))[offset : offset + int(row["length"])]

    def read(self, frame: int, camera: int = 0, out: np.ndarray | None = None) -> np.ndarray:
        """One picture, RGB uint8 [height, width, 3], written to `out` if given.

        Raises `UserError` that names shard, recording, frame and offset if the bytes do not match their checksum.
        """
        if not (0 <= frame < self.frames and 0 <= camera < len(self.cameras)):
            raise UserError(
                f"{self.path}: no frame {frame} of camera {camera}; there are {self.frames} frames of {len(self.cameras)} cameras"
            )
        data = self.jpeg(frame, camera)
        if (damage := self._damage(frame, camera, data)) is not None:
            raise UserError(damage)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None and image.shape == (self.height, self.width, 3)
        if out is None:
            return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        assert out.shape == image.shape and out.dtype == np.uint8 and out.flags.c_contiguous
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=out)

    def actions(self, first: int, frames: int, stride: int, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Controls at time steps first, first + stride, ...: values float32 [F, A], known bool [F, A]; unknown is 0, False."""
        values = np.zeros((frames, len(names)), np.float32)
        known = np.zeros((frames, len(names)), bool)
        for a, name in enumerate(names):
            if name not in ACTIONS:
                raise UserError(f"action {name!r} is unknown; choose from {', '.join(ACTIONS)}")
            if name in self.signals:
                signal = self.signals[name][first : first + frames * stride : stride]
                known[:, a] = np.isfinite(signal)
                values[:, a] = np.where(known[:, a], signal, 0)
        return values, known

    def video_of(self, frame: int) -> Video:
        """The recording a time step belongs to."""
        return self.videos[int(self.index[frame * len(self.cameras)]["video"])]

    def verify(self) -> list[str]:
        """Every damaged picture and file, named; an empty list if every byte is as it was written."""
        damages = [
            f"{self.path}/{name}: does not match its checksum; {_remedy(self.path)}"
            for name, sha256 in self.header["files"].items()
            if _sha256(self.path / name) != sha256
        ]
        for frame in range(self.frames):
            for camera in range(len(self.cameras)):
                if (damage := self._damage(frame, camera, self.jpeg(frame, camera))) is not None:
                    damages.append(damage)
        return damages

    def _damage(self, frame: int, camera: int, data: memoryview) -> str | None:
        row = self.index[frame * len(self.cameras) + camera]
        if len(data) == row["length"] and zlib.crc32(data) == row["crc32"]:
            return None
        video = self.video_of(frame) if self.index[frame * len(self.cameras)]["video"] < len(self.videos) else None
        where = f"frame {frame}" + (f" ({frame - video.first} of {video.name!r})" if video else "")
        shard = f"{self.path}/shards/{_shard_name(int(row['shard']))}"
        where += f", camera {self.cameras[camera]!r}, offset {row['offset']}"
        return f"{shard}: {where}: does not match its checksum; {_remedy(self.path)}"

    def _shard(self, shard: int) -> memoryview:
        if (view := self._maps.get(shard)) is None:
            name = _shard_name(shard)
            if name not in self.header["shards"]:
                raise UserError(
                    f"{self.path}/index.npy: names {name}, which the reel does not have; {_remedy(self.path)}"
                )
            with open(self.path / "shards" / name, "rb") as file:
                view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            self._maps[shard] = view
        return view


class ReelWriter:
    """The write side: recordings are added one by one, and the reel appears at `path`, whole, when the block ends.

    Work goes on beside, in `path`.partial: a recording's shard is synced and renamed, then its rows. A writer that was
    killed goes on from there when it is started again with the same settings, and ends with the same bytes.
    Raises `UserError` if there is something at `path`, if another writer is at work, or if other settings were begun.

    origin   what the pictures come from and how they were made, kept in reel.json
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float,
        height: int,
        width: int,
        cameras: tuple[str, ...] = ("front",),
        quality: int = 95,
        origin: dict[str, Any] | None = None,
        workers: int = 2,
    ):
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.cameras, self.height, self.width, self.quality = tuple(cameras), height, width, quality
        self.header = {
            "schema": SCHEMA, "fps": float(fps), "height": height, "width": width, "cameras": list(cameras),
            "jpeg_quality": quality, "origin": origin or {},
        }  # fmt: skip
        self.workers = workers
        self.added = 0
        self.finished = False

    def __enter__(self) -> "ReelWriter":
        if self.path.exists():
            raise UserError(f"{self.path}: is there already; choose another place or remove it first")
        try:
            (self.partial / "reel" / "shards").mkdir(parents=True, exist_ok=True)
            (self.partial / "pieces").mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{self.partial}: cannot be made ({error.strerror}); choose a place you may write to"
            ) from None
        self._lock = open(self.partial / "lock", "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise UserError(
                f"{self.partial}: another process is writing this reel; wait for it or choose another place"
            ) from None
        plan = self.partial / "plan.json"
        if plan.exists() and (begun := json.loads(plan.read_text())) != json.loads(json.dumps(self.header)):
            different = _first_difference(begun, self.header)
            self._lock.close()
            raise UserError(
                f"{self.partial}: was begun with other settings ({different}); use the same, or remove the folder to begin anew"
            )
        _write(plan, json.dumps(self.header, indent=1).encode())
        self._encoders = ThreadPoolExecutor(max(1, self.workers), thread_name_prefix="encode")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._encoders.shutdown(cancel_futures=True)
        try:
            if kind is None and not self.finished:
                self.finish()
            if kind is not None and issubclass(kind, UserError) and not any(self.rows()):
                shutil.rmtree(self.partial, ignore_errors=True)
        finally:
            self._lock.close()

    def add(self, recording: Recording, split: str | None = None) -> None:
        """Take in a recording that is at the reel's rate, size and cameras already; without a split it is given one at the end."""
        ordinal, self.added = self.added, self.added + 1
        if self.piece_report(ordinal, recording.name) is not None:
            return
        with self.piece(ordinal, recording.name) as piece:
            piece.begin(recording.name)
            for t_ns, images in recording.frames():
                assert images is not None, f"{recording.name}: a missing frame at a constant rate"
                piece.put(t_ns, images)
            piece.end(
                recording.source, split or recording.split, recording.name, recording.calibration, recording.signals
            )

    def piece(self, ordinal: int, name: str) -> "Piece":
        """Where the rows of the source's recording number `ordinal` are written."""
        return Piece(self, ordinal, name)

    def piece_report(self, ordinal: int, name: str) -> dict[str, Any] | None:
        """What was reported about a piece that is complete, else None."""
        done = self._piece_file(ordinal, ".json")
        if not done.exists():
            return None
        contents = json.loads(done.read_text())
        return contents["report"] if contents["name"] == name else None

    def rows(self) -> Iterable[dict[str, Any]]:
        """The rows of all complete pieces, in order."""
        for done in sorted((self.partial / "pieces").glob("*.json")):
            yield from json.loads(done.read_text())["rows"]

    def finish(self, report: dict[str, Any] | None = None) -> None:
        """Join what is complete, sync it, and rename it into place; called at the end of the block unless called before."""
        reel = self.partial / "reel"
        dones = sorted((self.partial / "pieces").glob("*.json"))
        pieces = [piece for piece in (json.loads(done.read_text()) for done in dones) if piece["rows"]]
        if not pieces:
            shutil.rmtree(self.partial)
            raise UserError(f"{self.path}: no recording was complete, so there is nothing to write")
        rows = [row for piece in pieces for row in piece["rows"]]
        names = [row["name"] for row in rows]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"{self.path}: two recordings are named {twice!r}; rename one at the source")
        free = [row for row in rows if row["split"] is None]
        groups = {row["group"] for row in free}
        key = "group" if len(groups) >= len(SPLITS) else "name"
        splits = assign_splits(row[key] for row in free)

        arrays = [dict(np.load(self._piece_file(piece["ordinal"], ".npz"))) for piece in pieces]
        index = np.concatenate([piece_arrays["index"] for piece_arrays in arrays])
        first, video_rows, views = 0, [], len(self.cameras)
        for video, row in enumerate(rows):
            index["video"][first * views : (first + row["frames"]) * views] = video
            entry = {
                "name": row["name"],
                "source": row["source"],
                "split": row["split"] or splits[row[key]],
                "first": first,
            }
            video_rows.append(entry | {k: row[k] for k in ("frames", "t0_ns", "calibration", "sha256")})
            first += row["frames"]
        signals = {name: _join_signal(name, arrays, views) for name in SIGNALS if any(name in a for a in arrays)}

        _write_array(reel / "index.npy", index)
        (reel / "signals").mkdir(exist_ok=True)
        for name, values in signals.items():
            _write_array(reel / "signals" / f"{name}.npy", values)
        report = report or {}
        if leaks := _leaks(index, [entry["split"] for entry in video_rows]):
            report = report | {"warnings": [*report.get("warnings", []), leaks]}
        videos = "".join(json.dumps(row) + "\n" for row in video_rows).encode()
        _write(reel / "videos.jsonl", videos)
        files = ["index.npy", *(f"signals/{name}.npy" for name in signals)]
        header = self.header | {
            "signals": {name: SIGNALS[name] for name in signals},
            "frames": first,
            "fingerprint": hashlib.sha256(videos).hexdigest(),
            "shards": {_shard_name(p["ordinal"]): {"bytes": p["bytes"], "sha256": p["sha256"]} for p in pieces},
            "files": {name: _sha256(reel / name) for name in files},
            "report": report,
        }
        for stray in set(os.listdir(reel / "shards")) - set(header["shards"]):
            (reel / "shards" / stray).unlink()
        _write(reel / "reel.json", (json.dumps(header, indent=1) + "\n").encode())
        for folder in (reel / "shards", reel / "signals", reel):
            _sync(folder)
        try:
            os.rename(reel, self.path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            raise UserError(f"{self.path}: is there already; choose another place or remove it first") from None
        _sync(self.path.absolute().parent)
        self.finished = True
        shutil.rmtree(self.partial)

    def _piece_file(self, ordinal: int, suffix: str) -> Path:
        return self.partial / "pieces" / f"{ordinal:05d}{suffix}"


class Piece:
    """One recording of the source on its way to the disk: runs of frames, in one shard; it counts once its block ends."""

    def __init__(self, writer: ReelWriter, ordinal: int, name: str):
        self.writer, self.ordinal, self.name = writer, ordinal, name
        self.report: dict[str, Any] = {}
        self._rows: list[dict[str, Any]] = []
        self._tables: list[np.ndarray] = []
        self._signals: list[dict[str, np.ndarray]] = []
        self._pending: deque[tuple[int, Future[list[np.ndarray]]]] = deque()
        self._sha256 = hashlib.sha256()
        self._offset = 0

    def __enter__(self) -> "Piece":
        self._shard = self.writer.partial / "reel" / "shards" / _shard_name(self.ordinal)
        self._writing = self._shard.with_suffix(".writing")
        self._file = open(self._writing, "wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for pending in self._pending:
                pending[1].cancel()
            self._file.close()
            self._writing.unlink()
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._writing, self._shard)
        if not self._rows:
            self._shard.unlink()
        _sync(self._shard.parent)
        names = {name for signals in self._signals for name in signals}
        columns = {
            name: _stack(
                name, [(s.get(name), len(t)) for s, t in zip(self._signals, self._tables_frames(), strict=True)]
            )
            for name in names
        }
        table = np.concatenate([np.zeros(0, INDEX), *self._tables])
        arrays = self.writer._piece_file(self.ordinal, ".npz")
        with open(arrays, "wb") as file:
            np.savez(file, index=table, **columns)
            file.flush()
            os.fsync(file.fileno())
        contents = {
            "ordinal": self.ordinal, "name": self.name, "rows": self._rows, "bytes": self._offset,
            "sha256": self._sha256.hexdigest(), "report": self.report,
        }  # fmt: skip
        _write(self.writer._piece_file(self.ordinal, ".json"), json.dumps(contents).encode())

    def begin(self, name: str) -> None:
        """Start a run of frames, which will be the reel's recording `name`."""
        self._run = name
        self._table: list[tuple[int, int, int, int, int, int]] = []
        self._run_offset, self._run_sha256 = self._offset, self._sha256.copy()
        self._content = hashlib.sha256()

    def put(self, t_ns: int, images: Images, prepare: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        """Add the pictures (one per camera) taken at `t_ns`; `prepare` brings one to the reel's size, in an encoder's thread."""
        many = images if isinstance(images, tuple) else (images,)
        assert len(many) == len(self.writer.cameras), (
            f"{self._run}: {len(many)} images for cameras {self.writer.cameras}"
        )
        self._pending.append((t_ns, self.writer._encoders.submit(self._encode, many, prepare)))
        if len(self._pending) > 8 * self.writer.workers:
            self._store(*self._pending.popleft())

    def end(
        self, source: str, split: str | None, group: str, calibration: dict[str, Any] | None, signals: dict[str, Signal],
        max_gap_ns: float = float("inf"),
    ) -> None:  # fmt: skip
        """Close the run; recordings of one `group` get one split, unless `split` is given. Signals are taken at the frames' times."""
        while self._pending:
            self._store(*self._pending.popleft())
        assert self._table, f"{self._run}: a recording without frames"
        for name in signals:
            if name not in SIGNALS:
                raise UserError(f"{self._run}: signal {name!r} is unknown; known: {', '.join(SIGNALS)}")
        table = np.array(self._table, INDEX)
        t_ns = table["t_ns"][:: len(self.writer.cameras)]
        values = {name: signals[name].at(t_ns, max_gap_ns) for name in sorted(signals)}
        self._content.update(t_ns.tobytes())
        for name, column in values.items():
            assert column[0].size == SIGNALS[name], f"{self._run}: {name} has {column[0].size} values a frame"
            self._content.update(name.encode() + column.tobytes())
        self._rows.append({
            "name": self._run, "source": source, "split": split, "group": group, "frames": len(t_ns), "t0_ns": int(t_ns[0]),
            "calibration": calibration, "sha256": self._content.hexdigest(),
        })  # fmt: skip
        self._tables.append(table)
        self._signals.append(values)

    def abandon(self) -> None:
        """Forget the run as if it had not begun."""
        self._pending.clear()
        self._file.seek(self._run_offset)
        self._file.truncate()
        self._offset, self._sha256 = self._run_offset, self._run_sha256

    def _tables_frames(self) -> list[np.ndarray]:
        return [table[:: len(self.writer.cameras)] for table in self._tables]

    def _encode(
        self, images: tuple[np.ndarray, ...], prepare: Callable[[np.ndarray], np.ndarray] | None
    ) -> list[np.ndarray]:
        shape = (self.writer.height, self.writer.width, 3)
        coded = []
        for image in images:
            image = image if prepare is None else prepare(image)
            assert image.shape == shape and image.dtype == np.uint8, (
                f"{self._run}: image {image.shape} {image.dtype}, reel {shape}"
            )
            options = (cv2.IMWRITE_JPEG_QUALITY, self.writer.quality)
            done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
            assert done
            coded.append(data)
        return coded

    def _store(self, t_ns: int, coded: "Future[list[np.ndarray]]") -> None:
        for array in coded.result():
            data = array.tobytes()
            self._table.append((0, t_ns, self.ordinal, self._offset, len(data), zlib.crc32(data)))
            self._file.write(data)
            self._sha256.update(data)
            self._content.update(data)
            self._offset += len(data)


def _read_header(path: Path) -> dict[str, Any]:
    try:
        header = json.loads((path / "reel.json").read_text())
        version = header["schema"]
    except OSError:
        unfinished = path.with_name(path.name + ".partial").is_dir()
        why = "its ingest was not finished; start it again" if unfinished else "give a folder made by roadcast ingest"
        raise UserError(f"{path}: is no reel (it has no reel.json); {why}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}/reel.json: cannot be read ({error!r}); {_remedy(path)}") from None
    if not isinstance(version, int) or not 1 <= version <= SCHEMA:
        raise UserError(
            f"{path}/reel.json: schema = {version!r}, but this roadcast reads 1 to {SCHEMA}; install a newer roadcast"
        )
    for past in range(version, SCHEMA):
        header = MIGRATIONS[past](header)
    return cast(dict[str, Any], header)


def _remedy(path: Path) -> str:
    return f"restore it from a copy, or remove {path} and ingest again"


def _shard_name(shard: int) -> str:
    return f"{shard:05d}.bin"


def _stack(name: str, columns: list[tuple[np.ndarray | None, int]]) -> np.ndarray:
    """Columns of one signal end to end; None with a number of rows stands for that many unknown values."""
    tail = () if SIGNALS[name] == 1 else (SIGNALS[name],)
    return np.concatenate([np.full((rows, *tail), np.nan, np.float32) if c is None else c for c, rows in columns])


def _leaks(index: np.ndarray, splits: list[str]) -> str | None:
    """A warning if pictures of the other splits are, byte for byte, in train as well."""
    trains = np.array([split == "train" for split in splits])[index["video"]]
    shared = shared_pictures(index[trains], index[~trains])
    if not len(shared):
        return None
    names = f"{len(shared)} of {int((~trains).sum())} pictures of val and test"
    return f"{names} are in train too, byte for byte; ingest them apart, or leave copies out, before judging a model by them"


def _join_signal(name: str, arrays: list[dict[str, np.ndarray]], views: int) -> np.ndarray:
    return _stack(name, [(a.get(name), len(a["index"]) // views) for a in arrays])


def _first_difference(begun: dict[str, Any], now: dict[str, Any], prefix: str = "") -> str:
    for key in begun.keys() | now.keys():
        was, is_ = begun.get(key), now.get(key)
        if (
            isinstance(was, dict)
            and isinstance(is_, dict)
            and (found := _first_difference(was, is_, f"{prefix}{key}."))
        ):
            return found
        if was != is_ and json.dumps(was) != json.dumps(is_):
            return f"{prefix}{key} = {was!r}, now {is_!r}"
    return ""


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, data: bytes) -> None:
    """Write beside, sync, rename: `path` holds all of `data` or what it held before."""
    beside = path.with_name(path.name + ".writing")
    with open(beside, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def _write_array(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, np.ascontiguousarray(array))
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
