"""What a video file says of itself, held against what is there and what came out of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from roadcast.errors import UserError

MISSING_SHARE, MISSING_FRAMES = 0.02, 2
SEGMENT = b"\x18\x53\x80\x67"
"""The Matroska element that holds all but the first few bytes of a file."""
FORMATS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,hevc,h264,m4v"
"""What FFmpeg may take a file for: never a playlist, which would lead it to other files."""
BOXES = {
    b"ftyp",
    b"moov",
    b"mdat",
    b"moof",
    b"free",
    b"skip",
    b"wide",
    b"udta",
    b"uuid",
    b"sidx",
    b"mfra",
    b"styp",
    b"meta",
}


@dataclass
class Tally:
    """What a decoder gave: `frames` in all, of which `damaged` were not believed; `unshown` ones an edit list leaves out."""

    path: Path
    frames: int = 0
    damaged: int = 0
    unshown: int = 0

    def check(self, counted: float) -> None:
        """A `UserError` unless there are as many frames as the container, if it is one that does, counts, and few are damaged."""
        if self.frames == self.damaged:
            raise UserError(f"{self.path}: holds no frame that can be decoded; copy or convert it again")
        counted = max(counted, _mp4_frames(self.path))
        tolerance = _tolerance(self.path)
        if tolerance is not None and (due := counted - self.unshown) - self.frames > tolerance * counted:
            counts = f"{self.frames} frames decoded of {due:.0f} that its container counts"
            raise UserError(f"{self.path}: {counts}, so it is cut short or damaged; copy it again")
        if self.damaged > max(MISSING_FRAMES, MISSING_SHARE * self.frames):
            raise UserError(
                f"{self.path}: {self.damaged} of {self.frames} frames are damaged, or lean on ones that are; copy it again"
            )


def not_a_video(path: Path) -> UserError:
    """For a file that cannot be opened."""
    return UserError(
        f"{path}: cannot be opened as a video ({path.stat().st_size} bytes; cut short, or another format); copy or convert it again"
    )


def no_pictures(path: Path) -> UserError:
    """For a file of sound or data alone."""
    return UserError(f"{path}: has no stream of pictures, only sound or data; leave it out")


def no_times(path: Path) -> UserError:
    """For a raw stream without a stated rate."""
    return UserError(
        f"{path}: has no times of its own, as raw streams do; state its frames per second with --rate, for example --rate 25"
    )


def _tolerance(path: Path) -> float | None:
    """The share of frames by which a container may count too many; None if it counts none, but guesses from its length."""
    with open(path, "rb") as file:
        head = file.read(8)
    return 0.0 if head[4:] in BOXES else MISSING_SHARE if head.startswith(b"RIFF") else None


def _mp4_frames(path: Path) -> int:
    """The frames of the first film in an MP4 file by its table of times, which is to agree with that of sizes; 0 if there is none."""
    with open(path, "rb") as file:
        places = [(0, path.stat().st_size)]
        for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
            places = [inner for place in places for name, *inner in _boxes(file, *place) if name == kind]
            if kind == b"mdia":
                places = [place for place in places if _is_film(file, *place)]
        for begin, end in places[:1]:
            file.seek(begin + 4)
            entries = min(int.from_bytes(file.read(4), "big"), (end - begin - 8) // 8)
            rows = file.read(8 * entries)
            return sum(int.from_bytes(rows[at : at + 4], "big") for at in range(0, len(rows), 8))
    return 0


def _is_film(file: BinaryIO, begin: int, end: int) -> bool:
    for name, inside, _ in _boxes(file, begin, end):
        if name == b"hdlr":
            file.seek(inside + 8)
            return file.read(4) == b"vide"
    return False


def _boxes(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where its contents begin, where they end) of every MP4 box between two places of a file."""
    while begin + 8 <= end:
        file.seek(begin)
        header = file.read(16)
        length, kind, inside = int.from_bytes(header[:4], "big"), header[4:8], begin + 8
        if length == 1:
            length, inside = int.from_bytes(header[8:], "big"), begin + 16
        elif length == 0:
            length = end - begin
        if length < 8:
            return
        yield kind, inside, begin + length
        begin += length


def check_whole(path: Path) -> None:
    """A `UserError` for a file that is empty or text, or ends before its container says that it does (MP4, Matroska, AVI).

    A fragmented MP4 that is cut between two fragments, and streams (MPEG-TS, raw), do not say where they end.
    """
    size = path.stat().st_size
    if not size:
        raise UserError(f"{path}: is empty (0 bytes); copy it again")
    if _is_text(path):
        raise not_a_video(path)
    if (end := _end(path, size)) > size:
        raise UserError(f"{path}: is cut short ({size} bytes of {end} that its container tells of); copy it again")


def _is_text(path: Path) -> bool:
    """Whether a file begins with letters, as a note or a playlist does, which would lead a decoder to other files."""
    with open(path, "rb") as file:
        head = file.read(16)
    return not head.startswith(b"RIFF") and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)


def _end(path: Path, size: int) -> int:
    """Where the container says that the file ends, 0 if it does not."""
    with open(path, "rb") as file:
        head = file.read(64)
        if head[4:8] in BOXES:
            at = 0
            for kind, _, end in _boxes(file, 0, size):
                if kind not in BOXES:
                    break
                at = end
            return at
        if head.startswith(b"RIFF"):
            return 8 + int.from_bytes(head[4:8], "little")
        if (at := head.find(SEGMENT)) > 0 and head.startswith(b"\x1a\x45\xdf\xa3") and at + 12 <= len(head):
            first = head[at + 4]
            width = 9 - first.bit_length() if first else 9
            length = int.from_bytes(head[at + 4 : at + 4 + width], "big") & (2 ** (7 * width) - 1)
            return 0 if length == 2 ** (7 * width) - 1 else at + 4 + width + length
    return 0
