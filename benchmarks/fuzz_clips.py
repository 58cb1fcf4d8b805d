"""Damaged, absurd and foreign files in place of a clip, decoded as the server decodes what strangers send.

Each is decoded in a process of its own with the limits of web/media.py, which begins as a copy of this one and not as a fresh Python:
the same code in a tenth of the time. Some are sent to the server as well.
"""

import os
import random
import select
import signal
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import requests

from roadcast.optional import has_extra, load_extra
from roadcast.web import media

Mutation = Callable[[bytes, random.Random], bytes]
SENT_EVERY = 50
HUGE = (0, 1, 7, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
BOXES = (
    b"ftyp", b"moov", b"mvhd", b"trak", b"tkhd", b"edts", b"elst", b"mdia", b"mdhd", b"hdlr", b"minf", b"stbl", b"stsd", b"stts",
    b"stss", b"stsc", b"stsz", b"stco", b"mdat", b"avih", b"strh", b"strf", b"idx1", b"mp4v", b"avc1", b"avcC", b"esds", b"ctts",
)  # fmt: skip


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Some bits are others."""
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 2, 8, 64, 512))):
        damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def cut(data: bytes, chance: random.Random) -> bytes:
    """The end is missing, or a piece in the middle, or a piece is there twice."""
    begin, end = sorted(chance.randrange(len(data)) for _ in range(2))
    return chance.choice((data[:begin], data[:begin] + data[end:], data[:end] + data[begin:]))


def blank(data: bytes, chance: random.Random) -> bytes:
    """A piece is zeros, ones or noise."""
    begin = chance.randrange(len(data))
    length = min(chance.choice((4, 64, 1024, 16_384)), len(data) - begin)
    filling = chance.choice((b"\0" * length, b"\xff" * length, chance.randbytes(length)))
    return data[:begin] + filling + data[begin + length :]


def absurd_box(data: bytes, chance: random.Random) -> bytes:
    """A box has another length, or is called something else."""
    if not (places := [at for name in BOXES if (at := data.find(name)) >= 4]):
        return flipped(data, chance)
    at = chance.choice(places)
    if chance.random() < 0.3:
        return data[:at] + chance.choice(BOXES) + data[at + 4 :]
    return data[: at - 4] + struct.pack(">I", chance.choice(HUGE)) + data[at:]


def absurd_field(data: bytes, chance: random.Random) -> bytes:
    """A width, duration, rate, count or offset in a box is huge, or none."""
    if not (places := [at for name in BOXES if (at := data.find(name)) >= 0]):
        return flipped(data, chance)
    at = chance.choice(places) + 4 + chance.randrange(0, 100, 2)
    number = struct.pack(chance.choice("<>") + "I", chance.choice(HUGE))[: chance.choice((2, 4))]
    return data[:at] + number + data[at + len(number) :]


def several(data: bytes, chance: random.Random) -> bytes:
    """More than one of these."""
    for _ in range(chance.randint(2, 5)):
        data = chance.choice((flipped, blank, absurd_box, absurd_field))(data, chance)
    return data


MUTATIONS: dict[Mutation, int] = {flipped: 25, cut: 15, blank: 10, absurd_box: 20, absurd_field: 20, several: 10}
"""How often each is made, of 100."""


def mutants(clips: dict[str, bytes], chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """(suffix, bytes) of damaged clips without end; a few are of another kind than their suffix says."""
    suffixes = list(clips)
    while True:
        suffix = chance.choice(suffixes)
        (mutation,) = chance.choices(list(MUTATIONS), list(MUTATIONS.values()))
        mutant = mutation(clips[suffix], chance)
        yield chance.choice(suffixes) if chance.random() < 0.05 else suffix, mutant


def small_clips(folder: Path) -> dict[str, bytes]:
    """Clips of eight small frames by their suffix: MPEG-4, Motion JPEG, VP8 and, with the extra `video`, H.264."""
    frames = np.random.default_rng(0).integers(0, 256, (8, 6, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    clips = {}
    for suffix, codec in ((".mp4", "mp4v"), (".avi", "MJPG"), (".webm", "VP80")):
        path = folder / f"small{suffix}"
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 20.0, (64, 48))
        for frame_HWC in frames:
            writer.write(frame_HWC)
        writer.release()
        clips[suffix] = path.read_bytes()
    if has_extra("video_writer"):
        path = folder / "small.mov"
        writer = load_extra("video_writer", "a clip").FilmWriter(path, 20.0, 48, 64, 18)
        for frame_HWC in frames:
            writer.write(frame_HWC)
        writer.close()
        clips[".mov"] = path.read_bytes()
    return clips


def foreign() -> Iterator[tuple[str, bytes]]:
    """Files that are no clips whatever they are called, and clips that are bombs."""
    _, png = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))
    others = [
        b"", b"\0", b"x" * 100, png.tobytes(), b"GIF89a" + bytes(100), b"\x7fELF" + bytes(100), b"PK\x03\x04" + bytes(100), b"%PDF-1.7\n",
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n", b"RIFF\xff\xff\xff\xffAVI ",
        b"\x1a\x45\xdf\xa3" + b"\xff" * 100, struct.pack(">I", 8) + b"moov", (struct.pack(">I", 8) + b"free") * 100_000,
        b"".join(struct.pack(">I", 8 * (4000 - n)) + b"moov" for n in range(4000)),
    ]  # fmt: skip
    for data in others:
        for suffix in (".mp4", ".avi", ".webm"):
            yield suffix, data
    yield ".avi", bomb(height=2304, width=4096, frames=400)
    yield ".avi", bomb(height=16, width=16, frames=media.LONGEST + 10)
    yield ".avi", bomb(height=2304, width=65_000, frames=2)


def bomb(height: int, width: int, frames: int) -> bytes:
    """An AVI of the same black picture again and again: little to send, much to decode."""
    _, coded = cv2.imencode(".jpg", np.zeros((height, width), np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 1])
    picture = coded.tobytes() + b"\0" * (len(coded) % 2)
    frames = min(frames, 2**25 // (len(picture) + 8) - 1)
    header = struct.pack("<14I", 50_000, 0, 0, 0x10, frames, 0, 1, len(picture), width, height, 0, 0, 0, 0)
    stream = b"vidsMJPG" + struct.pack(
        "<10I4H", 0, 0, 0, 1, 20, 0, frames, len(picture), 0, 0, 0, 0, width & 0xFFFF, height
    )
    form = struct.pack("<3I2H4sI4I", 40, width, height, 1, 24, b"MJPG", 3 * height * width & 0xFFFFFFFF, 0, 0, 0, 0)
    lists = _list(b"hdrl", _chunk(b"avih", header) + _list(b"strl", _chunk(b"strh", stream) + _chunk(b"strf", form)))
    return _chunk(b"RIFF", b"AVI " + lists + _list(b"movi", _chunk(b"00dc", picture) * frames))


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data


def _list(name: bytes, data: bytes) -> bytes:
    return _chunk(b"LIST", name + data)


@dataclass(frozen=True)
class Outcome:
    """taken, refused, crashed or slow; what was said; and how long it took, in seconds of the clock and of the processor."""

    kind: str
    said: bytes
    wall_s: float
    cpu_s: float


def decode(path: Path, seconds: float = media.SECONDS) -> Outcome:
    """What the server's decoder makes of a file: `media.main` in a copy of this process, which is killed after `seconds`."""
    begin = time.monotonic()
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.dup2(writing, 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.argv = ["", str(path), "32", "64", "10", str(seconds)]
        try:
            media.main()
        finally:
            os._exit(70)  # only an exception comes here
    os.close(writing)
    said, in_time = b"", True
    while in_time and select.select([reading], [], [], max(0.0, begin + seconds - time.monotonic()))[0]:
        if not (part := os.read(reading, 2**16)):
            break
        said += part
    else:
        in_time = False
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status, usage = os.wait4(child, 0)
    kind = "slow" if not in_time else "crashed" if status else "taken" if said.startswith(b'{"frames"') else "refused"
    return Outcome(kind, said[:600], time.monotonic() - begin, usage.ru_utime + usage.ru_stime)


def fuzz_clips(url: str, token: str, count: int, number: int) -> dict[str, float]:
    """So many mutants, and before them all that is foreign. Call it while the process has one thread."""
    cv2.setNumThreads(1)
    chance, told = random.Random(number), Counter()
    slowest, cpu_s = Outcome("", b"", 0.0, 0.0), 0.0
    with tempfile.TemporaryDirectory(prefix="roadcast-clips-") as name:
        folder = Path(name)
        clips = small_clips(folder)
        for suffix in clips:  # which loads all that decoding needs, for the copies to begin with
            media.last_frames(folder / f"small{suffix}", 32, 64, 10.0)
        coming, strange = mutants(clips, chance), foreign()
        while told["mutants"] < count:
            suffix, data = next(strange, None) or next(coming)
            path = folder / f"clip{suffix}"
            path.write_bytes(data)
            outcome = decode(path)
            told["mutants"] += 1
            told[outcome.kind] += 1
            cpu_s += outcome.cpu_s
            slowest = max(slowest, outcome, key=lambda one: one.wall_s)
            unclear = outcome.kind == "refused" and (b"nobody foresaw" in outcome.said or len(outcome.said) < 20)
            if outcome.kind in ("slow", "crashed") or unclear:
                told["unclear"] += unclear
                print(
                    f"clips: {outcome.kind} in {outcome.wall_s:.1f} s, {outcome.cpu_s:.2f} s of the processor: "
                    f"{suffix} {zlib.crc32(data):08x} {outcome.said[:200]!r}"
                )
            if told["mutants"] % SENT_EVERY == 0:
                told["host"] += not _sent(url, token, suffix, data)
    return {
        "clip_mutants": told["mutants"], "clip_taken": told["taken"], "clip_refused": told["refused"], "clip_slow": told["slow"],
        "clip_crashed": told["crashed"], "clip_unclear": told["unclear"], "host_crashes": told["host"],
        "slowest_clip_s": round(slowest.wall_s, 2), "clip_cpu_ms": round(1e3 * cpu_s / max(1, told["mutants"]), 1),
    }  # fmt: skip


def _sent(url: str, token: str, suffix: str, data: bytes) -> bool:
    """Whether the server takes the clip, or refuses it and says why, and goes on."""
    kinds = {".mp4": "video/mp4", ".mov": "video/quicktime", ".avi": "video/x-msvideo", ".webm": "video/webm"}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kinds[suffix]}
    try:
        answer = requests.post(f"{url}/v1/clips", data=data, headers=headers, timeout=60)
        well = requests.get(f"{url}/livez", timeout=60).ok
    except requests.RequestException as error:
        print(f"clips: the server is gone: {error}")
        return False
    good = answer.status_code == 201 or (answer.status_code in (413, 422) and "clip" in answer.json()["detail"])
    if not good:
        print(f"clips: the server says {answer.status_code} {answer.text[:200]}")
    return good and well
