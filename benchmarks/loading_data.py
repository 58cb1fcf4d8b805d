"""What the benchmark of loading reads: real driving pictures as a reel, and the same driving as two films."""

import itertools
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from roadcast.data.intake.fit import fit
from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.base import Recording

HEIGHT, WIDTH, FPS, QUALITY = 144, 256, 30, 95
FRAMES, BATCH = 16, 4
RUN = 300
"""Frames in a row from one file before the next has its turn."""


@dataclass
class Data:
    """Everything is in `folder`: the pictures as a reel, and films with their own frames as a reel beside."""

    folder: Path
    reel: Path
    film: Path
    small_film: Path
    film_reel: Path
    full_reel: Path
    origin: str
    film_problem: str | None


def prepare(folder: Path, source: Path | None, frames: int, film_frames: int, preset: str) -> Data:
    """Make what is not in `folder` yet."""
    folder.mkdir(parents=True, exist_ok=True)
    data = Data(
        folder, folder / "reel", folder / "film720.mp4", folder / "film144.mp4", folder / "film_reel",
        folder / "full_reel", origin(source), None,
    )  # fmt: skip
    if not data.reel.exists():
        write_reel(data.reel, itertools.islice(pictures(source, HEIGHT, WIDTH, tubs=True), frames), HEIGHT, WIDTH)
    try:
        if not data.film.exists():
            whole = itertools.islice(pictures(source, 720, 1280, tubs=False), film_frames)
            encode(data.film, whole, (720, 1280), {"preset": preset})
        if not data.small_film.exists():
            keys = {"preset": preset, "g": "20", "keyint_min": "20", "sc_threshold": "0"}
            small = (fit(image, HEIGHT, WIDTH, "center") for image in decode(data.film))
            encode(data.small_film, small, (HEIGHT, WIDTH), keys)
    except ImportError as error:
        data.film_problem = f"making the films needs PyAV ({error})"
        return data
    if not data.film_reel.exists():
        small = (fit(image, HEIGHT, WIDTH, "center") for image in decode(data.film))
        write_reel(data.film_reel, small, HEIGHT, WIDTH)
    if not data.full_reel.exists():
        write_reel(data.full_reel, itertools.islice(decode(data.film), film_frames // 4), 720, 1280)
    return data


def origin(source: Path | None) -> str:
    return "donkeycar frames and driving videos" if source else "the built-in toy world"


def pictures(source: Path | None, height: int, width: int, tubs: bool) -> Iterator[np.ndarray]:
    """RGB pictures without end: RUN of every file in turn, and each file from its start again when it is at its end."""
    if source is None:
        yield from _toy(height, width)
        return
    files = [path for path in sorted((source / "mp4").glob("*.mp4")) if "transcoded" not in path.name]
    if tubs:
        files += sorted((source / "donkey").glob("*.tar.gz"))
    streams = [itertools.chain.from_iterable(map(_frames_of, itertools.repeat(path))) for path in files]
    for stream in itertools.cycle(streams):
        for image in itertools.islice(stream, RUN):
            yield fit(image, height, width, "center")


def _frames_of(path: Path) -> Iterator[np.ndarray]:
    return decode(path) if path.suffix == ".mp4" else _tub(path)


def decode(path: Path) -> Iterator[np.ndarray]:
    """Every frame of a video, RGB."""
    video = cv2.VideoCapture(str(path))
    while (read := video.read())[0]:
        yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)


def _tub(path: Path) -> Iterator[np.ndarray]:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.name.endswith(".jpg") and (file := archive.extractfile(member)):
                image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
                if image is not None:
                    yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _toy(height: int, width: int) -> Iterator[np.ndarray]:
    from roadcast.data.toyroad import Driver, ToyWorld

    for seed in itertools.count():
        world, driver = ToyWorld(seed, height, width), Driver(seed)
        for _ in range(RUN):
            world.step(*driver.act(world))
            yield world.render()


def write_reel(path: Path, images: Iterator[np.ndarray], height: int, width: int) -> None:
    """A reel of one recording."""

    def frames() -> Iterator[tuple[int, np.ndarray]]:
        for n, image in enumerate(images):
            yield n * 10**9 // FPS, image

    with ReelWriter(path, fps=float(FPS), height=height, width=width, quality=QUALITY) as writer:
        writer.add(Recording("driving", "benchmark", frames, {}), "train")


def encode(path: Path, images: Iterator[np.ndarray], size: tuple[int, int], options: dict[str, str]) -> None:
    """An H.264 film by x264 with its defaults (a key frame at cuts and at least every 250) but for `options`."""
    import av

    beside = path.with_suffix(".part.mp4")
    with av.open(str(beside), "w") as container:
        stream = container.add_stream("libx264", FPS, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    beside.rename(path)


def stored_clips(reel: Reel, stride: int) -> Iterator[list[bytes]]:
    """All pictures of a reel as clips of JPEGs without overlap, for stores that hold clips ready cut."""
    span = FRAMES * stride
    for first in range(0, reel.frames - span + 1, span):
        for phase in range(stride):
            yield [bytes(reel.jpeg(first + phase + stride * f)) for f in range(FRAMES)]
