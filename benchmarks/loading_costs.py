"""What a picture costs in processor time, step by step: figures that hold on a machine that is busy with other things too."""

import time
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from loading_data import BATCH, FRAMES, HEIGHT, WIDTH

from roadcast.data.loading.prefetch import by_threads
from roadcast.data.loading.reader import Reader
from roadcast.data.loading.sampler import Sampler
from roadcast.data.reel.store import Reel

STEPS = 8
PICTURES = STEPS * BATCH * FRAMES


def costs(path: Path, rounds: int) -> dict[str, float]:
    """Microseconds of processor time a picture: the median of some rounds in which each way takes its turn."""
    reel = Reel(path)
    sampler = Sampler([reel], "train", FRAMES, BATCH, seed=0)
    firsts = np.concatenate([sampler.draw(step).first_B for step in range(STEPS)])
    rows = (firsts[:, None] + np.arange(FRAMES)).reshape(-1).tolist()
    jpegs = [np.frombuffer(bytes(reel.jpeg(row)), np.uint8) for row in rows]
    out = np.empty((BATCH * FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    places = [out[n % len(out)] for n in range(PICTURES)]
    opencv, whole = Reader([reel], ()), Reader([reel], ())
    opencv.content._decode_into = None

    def turned(jpeg: np.ndarray, place: np.ndarray) -> None:
        cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB, dst=place)

    def each(do: Callable[[np.ndarray, np.ndarray], object]) -> Callable[[], None]:
        def loop() -> None:
            for jpeg, place in zip(jpegs, places, strict=True):
                do(jpeg, place)

        return loop

    def read(reader: Reader, threads: int) -> Callable[[], None]:
        def loop() -> None:
            draws = map(sampler.draw, range(STEPS))
            for _ in by_threads(reader, draws, threads) if threads else map(reader.read, draws):
                pass

        return loop

    ways = {
        "bare decoding (OpenCV)": each(lambda jpeg, place: cv2.imdecode(jpeg, cv2.IMREAD_COLOR)),
        "decoding, colours turned into the batch": each(turned),
        "decoding to RGB, copied into the batch": each(
            lambda jpeg, place: np.copyto(place, cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB))
        ),
        "checksum": each(lambda jpeg, place: zlib.crc32(jpeg)),
        "drawing which clips": lambda: [sampler.draw(step) for step in range(STEPS)] and None,
        "finding rows and room": lambda: [opencv.plan(sampler.draw(step)) for step in range(STEPS)] and None,
        "the reader, no workers (OpenCV)": read(opencv, 0),
        "the reader, 2 threads (OpenCV)": read(opencv, 2),
    }
    if whole.content._decode_into is not None:
        import simplejpeg

        ways["bare decoding (simplejpeg)"] = each(lambda jpeg, place: simplejpeg.decode_jpeg(jpeg, "RGB", buffer=place))
        ways["the reader, no workers (simplejpeg)"] = read(whole, 0)
        ways["the reader, 2 threads (simplejpeg)"] = read(whole, 2)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.process_time()
            way()
            times[name].append((time.process_time() - begin) / PICTURES * 1e6)
    return {name: round(float(np.median(values)), 1) for name, values in times.items()}
