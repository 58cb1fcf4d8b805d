"""Small recordings for the data tests: tubs, videos and pictures in which every frame can be told from every other."""

import json
import os
import shutil
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.base import Recording, Signal

SHAPE = {"fps": 20.0, "height": 48, "width": 64}


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """The functions of this file."""
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    """A reel of two recordings, of 30 and 20 frames."""
    path = tmp_path_factory.mktemp("pristine") / "reel"
    with ReelWriter(path, **SHAPE) as writer:
        writer.add(recording("a", 30), "train")
        writer.add(recording("b", 20, start=100), "val")
    return path


@pytest.fixture
def reel(pristine, tmp_path) -> Reel:
    """A copy of the pristine reel, to do with as one likes."""
    return Reel(shutil.copytree(pristine, tmp_path / "reel"))


def picture(n: int, height: int = 48, width: int = 64) -> np.ndarray:
    """RGB: red on the left, blue at the bottom right, and brightness in the upper right that counts with `n`."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = 200
    image[: height // 2, width // 2 :] = (n * 3) % 250
    image[height // 2 :, width // 2 :, 2] = 200
    return image


def number(image: np.ndarray) -> float:
    """The count that `picture` wrote, up to compression, modulo 250 / 3."""
    height, width = image.shape[:2]
    return float(image[height // 8 : height // 3, width * 5 // 8 : width * 7 // 8].mean()) / 3


def recording(
    name: str, frames: int, fps: float = 20.0, height: int = 48, width: int = 64, start: int = 0
) -> Recording:
    times = [start * 10**9 + round(k * 1e9 / fps) for k in range(frames)]
    steer = Signal(np.array(times), np.linspace(-1, 1, frames).astype(np.float32))
    return Recording(
        name, "made", lambda: ((t, picture(k, height, width)) for k, t in enumerate(times)), {"steer": steer}
    )


def write_tub(
    folder: Path, times_ms: list[int], *, missing: tuple[int, ...] = (), deleted: tuple[int, ...] = (), **record
) -> Path:
    """A tub of `len(times_ms)` records in two catalogs; `record` adds or replaces fields, by functions of the record's number."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for n, t in enumerate(times_ms):
        name = f"{n}_cam_image_array_.jpg"
        row = {
            "_index": n,
            "_timestamp_ms": t,
            "cam/image_array": name,
            "user/angle": 0.01 * n,
            "user/throttle": 0.5,
            "user/mode": "user",
        }
        lines.append(json.dumps(row | {key.replace("__", "/"): value(n) for key, value in record.items()}))
        if n not in missing:
            cv2.imwrite(str(folder / "images" / name), cv2.cvtColor(picture(n), cv2.COLOR_RGB2BGR))
    half = len(lines) // 2
    (folder / "catalog_0.catalog").write_text("\n".join(lines[:half]) + "\n")
    (folder / "catalog_1.catalog").write_text("\n".join(lines[half:]) + "\n")
    last = {
        "paths": ["catalog_0.catalog", "catalog_1.catalog"],
        "current_index": len(lines),
        "deleted_indexes": list(deleted),
    }
    manifest = [["cam/image_array", "user/angle"], ["image_array", "float"], {}, {"created_at": 0}, last]
    (folder / "manifest.json").write_text("\n".join(map(json.dumps, manifest)) + "\n")
    return folder


def pack(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz" if archive.suffix in (".gz", ".tgz") else "w") as tar:
        tar.add(folder, folder.name)
    return archive


def write_video(path: Path, frames: int, fps: float = 20.0, height: int = 48, width: int = 64) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, (width, height))
    for n in range(frames):
        writer.write(cv2.cvtColor(picture(n, height, width), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its name inside."""
    return {os.path.relpath(p, folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
