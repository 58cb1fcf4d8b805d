"""A reel as a LeRobot dataset, version 3.0: https://huggingface.co/docs/lerobot/lerobot-dataset-v3."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from roadcast.data.actions import SIGNALS
from roadcast.data.reel.store import Reel, Video
from roadcast.data.sources.lerobot import TIME_FEATURE
from roadcast.data.splits.split import SPLITS
from roadcast.errors import UserError
from roadcast.files import replacing
from roadcast.optional import load_extra

PURPOSE = "writing LeRobot datasets"
COMMANDS = ("steer", "throttle", "brake")
"""The signals that become the feature `action`; the other single numbers are `observation.state`, rows are features of their own."""
FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH, VIDEO_PATH = f"data/{FILE}.parquet", f"videos/{{video_key}}/{FILE}.mp4"
CHUNK = 1000
DATA_MB, VIDEO_MB = 100, 200
STATS_FRAMES = 200
TASK = "drive"


def export_lerobot(reel: str | Path, out: str | Path, crf: int = 18) -> Path:
    """Write `out`, a LeRobot v3.0 dataset of the recordings of `reel`, one an episode, in the order train, val, test.

    Pictures become H.264 of constant rate factor `crf`, several episodes a film; LeRobot's `timestamp` is frame_index / fps,
    and `observation.t_ns` keeps the reel's own times. A value unknown is NaN. LiDAR, radar, boxes and calibration are left out.
    Raises `UserError` if PyAV or pyarrow is missing, if `out` is there, or for pictures of odd size, which H.264 cannot hold.
    """
    out, source = Path(out), Reel(reel)
    for extra in ("parquet", "video_writer"):
        load_extra(extra, PURPOSE)
    if out.exists():
        raise UserError(f"{out}: is there already; choose another place or remove it first")
    if source.height % 2 or source.width % 2:
        raise UserError(
            f"{source.path}: pictures of {source.height}x{source.width} cannot be H.264, which takes even sizes; ingest at one"
        )
    if not 0 <= crf <= 51:
        raise UserError(f"crf = {crf}; give a constant rate factor from 0 (the best) to 51")
    with replacing(out) as beside:
        _write(source, beside, crf)
    return out


def _write(reel: Reel, out: Path, crf: int) -> None:
    parquet = load_extra("parquet", PURPOSE)
    (out / "meta").mkdir(parents=True)
    episodes = sorted(reel.videos, key=lambda video: SPLITS.index(video.split))
    features = _features(reel)
    places = [{"episode_index": n, "tasks": [TASK], "length": video.frames} for n, video in enumerate(episodes)]
    first = 0
    for place in places:
        place |= {"dataset_from_index": first, "dataset_to_index": first + place["length"]}
        place |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        first += place["length"]
    _write_data(reel, episodes, features, out, places)
    for camera, name in enumerate(reel.cameras):
        _write_films(reel, episodes, camera, f"observation.images.{name}", out, places, crf)
    table = out / "meta" / "episodes" / f"{FILE}.parquet".format(chunk_index=0, file_index=0)
    table.parent.mkdir(parents=True)
    parquet.write_table(table, {key: [place[key] for place in places] for key in places[0]})
    parquet.write_table(out / "meta" / "tasks.parquet", {"task_index": [0], "task": [TASK]}, index="task")
    (out / "meta" / "info.json").write_text(json.dumps(_info(reel, episodes, features), indent=4))
    (out / "meta" / "stats.json").write_text(json.dumps(_stats(reel, features), indent=4))


def _features(reel: Reel) -> dict[str, dict[str, Any]]:
    """The features of info.json, without those that every dataset has."""
    rate = _number(reel.fps)
    told = {
        "video.height": reel.height, "video.width": reel.width, "video.codec": "h264", "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False, "video.fps": rate, "video.channels": 3, "has_audio": False,
    }  # fmt: skip
    names = ["height", "width", "channels"]
    films = {
        f"observation.images.{name}": {
            "dtype": "video", "shape": [reel.height, reel.width, 3], "names": names, "info": told,
        }
        for name in reel.cameras
    }  # fmt: skip
    single = [name for name in SIGNALS if name in reel.signals and SIGNALS[name] == 1]
    groups = {
        "action": [name for name in single if name in COMMANDS],
        "observation.state": [name for name in single if name not in COMMANDS],
    }
    tables = {key: names for key, names in groups.items() if names}
    rows = {f"observation.{name}": SIGNALS[name] for name in SIGNALS if name in reel.signals and SIGNALS[name] > 1}
    return {
        **films,
        **{key: {"dtype": "float32", "shape": [len(names)], "names": names} for key, names in tables.items()},
        **{key: {"dtype": "float32", "shape": [width], "names": None} for key, width in rows.items()},
        TIME_FEATURE: {"dtype": "int64", "shape": [1], "names": None},
    }


def _columns(reel: Reel, features: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Every feature that is no film, over the whole reel: [frames], or [frames, k]."""
    for key, told in features.items():
        if key == TIME_FEATURE:
            yield key, np.asarray(reel.t_ns)
        elif told["dtype"] != "video":
            names = told["names"] or [key.removeprefix("observation.")]
            columns = [np.asarray(reel.signals[name]).reshape(reel.frames, -1) for name in names]
            values = np.concatenate(columns, axis=1).astype(np.float32)
            yield key, values if values.shape[1] > 1 else values[:, 0]


def _write_data(
    reel: Reel, episodes: list[Video], features: dict[str, Any], out: Path, places: list[dict[str, Any]]
) -> None:
    """The tables of data/, and in `places` which episode is in which."""
    parquet = load_extra("parquet", PURPOSE)
    columns = dict(_columns(reel, features))
    row_bytes = sum(column[:1].nbytes for column in columns.values()) + 36
    start = file = 0
    while start < len(episodes):
        end = start + 1
        while end < len(episodes) and sum(v.frames for v in episodes[start : end + 1]) * row_bytes <= DATA_MB * 2**20:
            end += 1
        chosen = episodes[start:end]
        rows = np.concatenate([np.arange(video.first, video.first + video.frames) for video in chosen])
        frame = np.concatenate([np.arange(video.frames) for video in chosen])
        episode = np.repeat(np.arange(start, end), [video.frames for video in chosen])
        path = out / DATA_PATH.format(chunk_index=file // CHUNK, file_index=file % CHUNK)
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(path, {
            **{key: column[rows] for key, column in columns.items()},
            "timestamp": (frame / reel.fps).astype(np.float32), "frame_index": frame, "episode_index": episode,
            "index": places[start]["dataset_from_index"] + np.arange(len(rows)), "task_index": np.zeros_like(frame),
        })  # fmt: skip
        for place in places[start:end]:
            place |= {"data/chunk_index": file // CHUNK, "data/file_index": file % CHUNK}
        start, file = end, file + 1


def _write_films(
    reel: Reel, episodes: list[Video], camera: int, key: str, out: Path, places: list[dict[str, Any]], crf: int
) -> None:
    """The films of one camera, and in `places` which episode is where in which."""
    film_writer = load_extra("video_writer", PURPOSE).FilmWriter
    film, file = None, -1
    for video, place in zip(episodes, places, strict=True):
        if film is None or film.size > VIDEO_MB * 2**20:
            if film is not None:
                film.close()
            file += 1
            path = out / VIDEO_PATH.format(video_key=key, chunk_index=file // CHUNK, file_index=file % CHUNK)
            path.parent.mkdir(parents=True, exist_ok=True)
            film = film_writer(path, reel.fps, reel.height, reel.width, crf)
        before = film.frames
        for frame in range(video.first, video.first + video.frames):
            film.write(reel.read(frame, camera))
        place |= {
            f"videos/{key}/chunk_index": file // CHUNK, f"videos/{key}/file_index": file % CHUNK,
            f"videos/{key}/from_timestamp": before / reel.fps, f"videos/{key}/to_timestamp": film.frames / reel.fps,
        }  # fmt: skip
    if film is not None:
        film.close()


def _info(reel: Reel, episodes: list[Video], features: dict[str, Any]) -> dict[str, Any]:
    counted = ("frame_index", "episode_index", "index", "task_index")
    always = {"timestamp": {"dtype": "float32", "shape": [1], "names": None}}
    always |= {name: {"dtype": "int64", "shape": [1], "names": None} for name in counted}
    splits, first = {}, 0
    for split in SPLITS:
        if count := sum(video.split == split for video in episodes):
            splits[split] = f"{first}:{first + count}"
            first += count
    return {
        "codebase_version": "v3.0", "robot_type": "car", "total_episodes": len(episodes), "total_frames": reel.frames,
        "total_tasks": 1, "chunks_size": CHUNK, "data_files_size_in_mb": DATA_MB, "video_files_size_in_mb": VIDEO_MB,
        "fps": _number(reel.fps), "splits": splits, "data_path": DATA_PATH, "video_path": VIDEO_PATH,
        "features": {**features, **always},
    }  # fmt: skip


def _stats(reel: Reel, features: dict[str, Any]) -> dict[str, Any]:
    """Least, greatest, mean, deviation and count of what is known of every feature; of pictures, a sample's channels in [0, 1]."""
    stats = {}
    for key, column in _columns(reel, features):
        stats[key] = _summary(column.reshape(reel.frames, -1).astype(np.float64))
    sample = np.unique(np.linspace(0, reel.frames - 1, STATS_FRAMES).astype(int))
    for camera, name in enumerate(reel.cameras):
        pixels = np.concatenate([reel.read(int(n), camera)[::4, ::4].reshape(-1, 3) for n in sample]) / 255
        summary = _summary(pixels)
        stats[f"observation.images.{name}"] = {
            what: value if what == "count" else [[[v]] for v in value] for what, value in summary.items()
        } | {"count": [len(sample)]}
    return stats


def _summary(values_NK: np.ndarray) -> dict[str, list]:
    known = np.isfinite(values_NK)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, values_NK, 0).sum(0) / count
    deviation = np.sqrt(np.where(known, (values_NK - mean) ** 2, 0).sum(0) / count)
    some = known.any(0)
    least = np.where(some, np.where(known, values_NK, np.inf).min(0), 0)
    most = np.where(some, np.where(known, values_NK, -np.inf).max(0), 0)
    told = {"min": least, "max": most, "mean": mean, "std": deviation}
    return {**{what: value.tolist() for what, value in told.items()}, "count": [int(known.all(1).sum())]}


def _number(fps: float) -> float | int:
    return int(fps) if fps == int(fps) else fps
