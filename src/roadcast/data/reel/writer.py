"""Writing a reel: recordings go in one by one, and the reel appears whole."""

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from roadcast.data.reel.encode import Encoder
from roadcast.data.reel.join import join_pieces, leaks
from roadcast.data.reel.layout import SCHEMA, partial_of, read_header, shard_name
from roadcast.data.reel.piece import complete_pieces, new_piece, report_of
from roadcast.data.reel.tables import Tables, commit, load_tables, write_header, write_tables
from roadcast.data.sources.base import Recording
from roadcast.errors import UserError
from roadcast.files import disk_trouble_told, remove, sync, sync_folder, write_file
from roadcast.overlay import first_difference


class ReelWriter:
    """The write side: recordings are added one by one, and the reel appears at `path`, whole, when the block ends.

    Work goes on beside, in `path`.partial: a recording's shard is synced and renamed, then its rows. A writer that was
    killed goes on from there when it is started again with the same settings, and ends with the same bytes; so it does
    after a full disk.
    Raises `UserError` if there is something at `path` that is not to be appended to, if another writer is at work, if other
    settings were begun, or if the disk is full or may not be written to.

    fps              time steps a second; `height` and `width` are those of every picture, in pixels
    quality          of the JPEG pictures, 1 to 100
    origin           what the pictures come from and how they were made, kept in reel.json
    workers          threads that encode pictures
    append           add to the reel at `path`, which must be of the same rate, size, cameras and quality: to a reader it is the
                     old one until the block has ended, and then the longer one
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
        append: bool = False,
    ):
        self.path = Path(path)
        self.partial = partial_of(self.path)
        self.fps, self.height, self.width = float(fps), height, width
        self.cameras, self.quality = tuple(cameras), quality
        self.header = {
            "schema": SCHEMA, "fps": self.fps, "height": height, "width": width, "cameras": list(cameras),
            "jpeg_quality": quality, "origin": origin or {},
        }  # fmt: skip
        self.append = append
        self.workers = workers
        self.added = 0
        self.finished = False

    def __enter__(self) -> "ReelWriter":
        self._base = self._appended_to() if self.append else None
        if self._base is None and self.path.exists():
            raise UserError(f"{self.path}: is there already; choose another place or remove it first")
        again = f"then start it again, and it goes on with what is complete in {self.partial}"
        with ExitStack() as opened:
            opened.enter_context(disk_trouble_told(self.partial, again))
            _make_folders(self.partial)
            opened.enter_context(_locked(self.partial))
            onto = {"onto": self._base["fingerprint"]} if self._base else {}
            _keep_to_plan(self.partial, self.header | onto)
            self._encoder = opened.enter_context(
                Encoder(self.height, self.width, len(self.cameras), self.quality, self.workers)
            )
            opened.push(self._clear_if_of_no_use)
            opened.push(self._finish_if_well)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def add(self, recording: Recording, split: str | None = None) -> None:
        """Take in a recording that is at the reel's rate, size and cameras already; without a split it is given one at the end."""
        ordinal, self.added = self.added, self.added + 1
        if report_of(self.partial, ordinal, recording.name) is not None:
            return
        recording = replace(recording, split=split or recording.split)
        with new_piece(self.partial, ordinal, recording, self._encoder) as piece:
            piece.begin(recording.name)
            for t_ns, images in recording.frames():
                assert images is not None, f"{recording.name}: a missing frame at a constant rate"
                piece.put(t_ns, images)
            piece.end(recording.calibration)

    def has_rows(self) -> bool:
        """Whether any recording that is complete has frames."""
        return any(piece["rows"] for piece in complete_pieces(self.partial))

    def finish(self, report: dict[str, Any] | None = None) -> None:
        """Join what is complete, sync it, and rename it into place; called at the end of the block unless called before.

        Raises `UserError` if no recording has frames, if two have one name, or if there is something at `path` by now.
        """
        pieces = [piece for piece in complete_pieces(self.partial) if piece["rows"]]
        if not pieces:
            raise UserError(f"{self.path}: no recording was complete, so there is nothing to write")
        base = load_tables(self.path, self._base) if self._base else None
        try:
            tables = join_pieces(self.partial, pieces, base)
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from None
        if base and self._base:
            self._move_shards(pieces, tables, base)
            added = {**self.header["origin"], "report": _with_leaks(tables, report)}
            commit(self.path, tables, self._base | {"appended": [*self._base["appended"], added]})
        else:
            self._rename_whole(tables, report)
        self.finished = True
        remove(self.partial)

    def _appended_to(self) -> dict[str, Any] | None:
        """The header of the reel to append to, or None if there is none yet."""
        if not self.path.exists():
            return None
        base = read_header(self.path)
        for key in ("fps", "height", "width", "cameras", "jpeg_quality"):
            if base[key] != self.header[key]:
                raise UserError(f"{self.path}: has {key} {base[key]}, not {self.header[key]}; append with the same")
        return base

    def _rename_whole(self, tables: Tables, report: dict[str, Any] | None) -> None:
        reel = self.partial / "reel"
        for stray in (reel / "shards").iterdir():
            if stray.name not in tables.shards:
                remove(stray)
        whole = self.header | {"appended": [], "report": _with_leaks(tables, report)}
        write_header(reel, write_tables(reel, "tables/0001", tables, whole))
        sync(reel)
        try:
            os.rename(reel, self.path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            raise UserError(f"{self.path}: is there already; choose another place or remove it first") from None
        sync_folder(self.path.absolute().parent)

    def _move_shards(self, pieces: list[dict[str, Any]], tables: Tables, base: Tables) -> None:
        """The shards of the pieces in among the reel's; one that a killed writer has moved already is there."""
        new = [name for name in tables.shards if name not in base.shards]
        for piece, name in zip(pieces, new, strict=True):
            here = self.partial / "reel" / "shards" / shard_name(piece["ordinal"])
            if here.exists():
                os.rename(here, self.path / "shards" / name)
        sync_folder(self.path / "shards")

    def _finish_if_well(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and not self.finished:
            self.finish()

    def _clear_if_of_no_use(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, UserError) and not self.has_rows():
            remove(self.partial)


def _with_leaks(tables: Tables, report: dict[str, Any] | None) -> dict[str, Any]:
    """`report`, with a warning more if pictures of val or test are in train too."""
    report = report or {}
    leak = leaks(tables.index, tables.splits)
    return report | {"warnings": [*report.get("warnings", []), leak]} if leak else report


def _make_folders(partial: Path) -> None:
    try:
        (partial / "reel" / "shards").mkdir(parents=True, exist_ok=True)
        (partial / "pieces").mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{partial}: cannot be made ({error.strerror}); choose a place you may write to") from None


@contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """One writer at a time: the lock goes with its process, so one that was killed leaves none behind."""
    with open(partial / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"{partial}: another process is writing this reel; wait for it or choose another place"
            ) from None
        yield


def _keep_to_plan(partial: Path, header: dict[str, Any]) -> None:
    """Write down the settings, or hold them against those that were begun with."""
    plan, now = partial / "plan.json", json.loads(json.dumps(header))
    if not plan.exists():
        write_file(plan, lambda beside: beside.write_text(json.dumps(header, indent=1)))
    elif different := first_difference(json.loads(plan.read_text()), now):
        raise UserError(
            f"{partial}: was begun with other settings ({different}); use the same, or remove the folder to begin anew"
        )
