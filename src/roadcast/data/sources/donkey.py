"""Donkeycar tubs, version 2: a folder or a tar archive of a manifest, catalogs of JSON lines, and JPEG images."""

import gzip
import json
import tarfile
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from roadcast.data.intake.guard import faults_told
from roadcast.data.intake.heartbeat import beat
from roadcast.data.intake.pictures import decode_picture
from roadcast.data.sources.base import ARCHIVE_SUFFIXES, IMAGE_SUFFIXES, Recording, Signal, unreadable
from roadcast.errors import UserError

Read = Callable[[str], bytes | None]


def is_tub(path: Path) -> bool:
    """Whether `path` is a tub folder or may be an archive of one."""
    return (path / "manifest.json").is_file() or (path.is_file() and path.name.lower().endswith(ARCHIVE_SUFFIXES))


class DonkeySource:
    """One recording a tub; time is `_timestamp_ms` alone, as `_index` has holes.

    A tub's angle is positive to the RIGHT, so steer = -angle. Where `user/mode` is not "user" the pilot drove,
    and `pilot/angle` and `pilot/throttle` are the commands that were in force.
    """

    cameras: tuple[str, ...] = ("front",)

    def __init__(self, tubs: list[Path]):
        self.tubs = tubs

    def recordings(self) -> Iterator[Recording]:
        for path in self.tubs:
            try:
                with faults_told(path):
                    recording = _recording(path)
            except UserError as error:
                recording = unreadable(_stem(path), path.name, error)
            yield recording


def _recording(path: Path) -> Recording:
    texts, images = _contents(path)
    records, notes = _records(path, texts)
    present = sum(_image(record) in images for record in records)
    if not present:
        raise UserError(
            f"{path}: none of the {len(records)} images its catalogs name is there; add the tub's images folder"
        )
    t_ns = np.array([record["_timestamp_ms"] for record in records], np.int64) * 1_000_000
    steer = np.array([-_command(record, "angle") for record in records])
    throttle = np.array([_command(record, "throttle") for record in records])
    signals = {"steer": Signal.of(t_ns, np.clip(steer, -1, 1)), "throttle": Signal.of(t_ns, np.clip(throttle, -1, 1))}

    def frames() -> Iterator[tuple[int, np.ndarray | None]]:
        with _open_images(path) as read:
            for record, t in zip(records, t_ns.tolist(), strict=True):
                data = read(_image(record))
                yield t, decode_picture(data) if data else None

    return Recording(_stem(path), path.name, frames, signals, notes=tuple(notes))


def _records(path: Path, texts: dict[str, str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Every record that is not deleted, in the order of the manifest's catalogs, and what to tell the user."""
    if "manifest.json" not in texts:
        raise UserError(f"{path}: no manifest.json inside, so no donkeycar tub; pack the tub's own folder")
    manifest = [_parse(path, "manifest.json", line) for line in texts["manifest.json"].splitlines() if line.strip()]
    last = manifest[-1] if manifest else None
    if not isinstance(last, dict) or "paths" not in last:
        raise UserError(
            f'{path}: manifest.json has no line with "paths", so no tub of version 2; convert it with donkeycar\'s convert_to_tub_v2'
        )
    notes = [
        f"{path.name}: {name} is named in manifest.json but missing" for name in last["paths"] if name not in texts
    ]
    lines = [(name, line) for name in last["paths"] for line in texts.get(name, "").splitlines() if line.strip()]
    _check_counts(
        path, texts, {name: 0 for name in last["paths"] if name in texts} | Counter(name for name, _ in lines)
    )
    records = [_parse(path, name, line) for name, line in lines]
    for (name, line), record in zip(lines, records, strict=True):
        if not isinstance(record, dict) or not {"_timestamp_ms", "cam/image_array"} <= record.keys():
            raise UserError(
                f"{path}: {name}: a record lacks _timestamp_ms or cam/image_array: {line[:80]!r}; record the tub with a camera and times"
            )
    if not records:
        raise UserError(f"{path}: its catalogs hold no records; record some driving first")
    deleted = set(last.get("deleted_indexes", ()))
    kept = [record for record in records if record.get("_index") not in deleted]
    if not kept:
        notes.append(f"{path.name}: deleted_indexes flags all {len(records)} records, so it was ignored")
        return records, notes
    if len(kept) < len(records):
        notes.append(
            f"{path.name}: {len(records) - len(kept)} of {len(records)} records are deleted in the tub and were left out"
        )
    return kept, notes


def _check_counts(path: Path, texts: dict[str, str], lines: dict[str, int]) -> None:
    """A `UserError` for a catalog that has fewer lines than its own manifest, if it is there, counts."""
    for name, count in lines.items():
        beside = f"{name}_manifest"
        told = _parse(path, beside, texts[beside]) if beside in texts else {}
        if not isinstance(told, dict) or count < len(told.get("line_lengths", ())):
            raise UserError(
                f"{path}: {name}: {count} records are not all that {beside} tells of; restore the file, or remove {beside} to do without"
            )


def _parse(path: Path, name: str, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise UserError(
            f"{path}: {name}: not JSON ({error}): {line[:80]!r}; restore the file or remove the line"
        ) from None


def _command(record: dict[str, Any], what: str) -> float:
    driver = "user" if record.get("user/mode", "user") == "user" else "pilot"
    value = record.get(f"{driver}/{what}", record.get(f"user/{what}"))
    return np.nan if value is None else float(value)


def _image(record: dict[str, Any]) -> str:
    return Path(record["cam/image_array"]).name


def _stem(path: Path) -> str:
    return next((path.name[: -len(s)] for s in ARCHIVE_SUFFIXES if path.name.lower().endswith(s)), path.name)


def _contents(path: Path) -> tuple[dict[str, str], set[str]]:
    """The text of the manifest and the catalogs, and the names of the images, by file name."""
    if path.is_dir():
        texts = {p.name: _text(path, p.name, p.read_bytes()) for p in path.iterdir() if _is_text(p.name)}
        images = path / "images"
        return texts, {p.name for p in images.iterdir()} if images.is_dir() else set()
    texts, names = {}, set()
    for name, read in _members(path):
        if _is_text(name):
            texts[name] = _text(path, name, read())
        elif Path(name).suffix.lower() in IMAGE_SUFFIXES:
            names.add(name)
    return texts, names


def _text(path: Path, name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: {name}: is no text ({error}); restore the file") from None


def _is_text(name: str) -> bool:
    return name == "manifest.json" or name.endswith((".catalog", ".catalog_manifest"))


def _members(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """File name and reader of every regular file of an archive, in one pass; nothing is written to the disk."""
    with _cut_short_told(path):
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0 if packed else -tarfile.BLOCKSIZE, 0 if packed else 2)
            if not packed and any(file.read()):  # tarfile takes a plain archive cut between two members for a whole one
                raise EOFError("no end mark")
        with (
            gzip.open(path) if packed else open(path, "rb") as stream,
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            for member in archive:
                beat()
                if member.isfile():
                    yield Path(member.name).name, partial(_content, path, archive, member)
            while stream.read(2**20):  # to the checksum at the end of a packed archive
                beat()


def _content(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    with _cut_short_told(path):
        return archive.extractfile(member).read()  # type: ignore[union-attr]


@contextmanager
def _cut_short_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{path}: the archive cannot be read to its end ({error}); copy or download it again") from None


@contextmanager
def _open_images(path: Path) -> Iterator[Read]:
    """A function from an image's file name to its bytes, None if missing."""
    if path.is_dir():

        def read_file(name: str) -> bytes | None:
            try:
                return (path / "images" / name).read_bytes()
            except OSError:
                return None

        yield read_file
        return
    spool, places = _spool(path)
    with spool:

        def read_spool(name: str) -> bytes | None:
            if name not in places:
                return None
            offset, length = places[name]
            spool.seek(offset)
            return spool.read(length)

        yield read_spool


def _spool(path: Path) -> tuple[IO[bytes], dict[str, tuple[int, int]]]:
    """The images of an archive, which come in any order, end to end in one file, and each one's (offset, length) by name.

    The file has no name, so that the system removes it even if the process is killed. An `OSError` names its folder.
    """
    places: dict[str, tuple[int, int]] = {}
    try:
        spool = tempfile.TemporaryFile()
        for name, read in _members(path):
            if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                data = read()
                places[name] = (spool.tell(), len(data))
                spool.write(data)
        spool.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, tempfile.gettempdir()) from None
    return spool, places
