"""What a second of driving costs as JPEG and as H.264: bits on the line, milliseconds of a core, and what is lost of the picture.

    python -m benchmarks.codecs                          the drawn road at 512x288
    python -m benchmarks.codecs --world --frames 60      the world in the box, at its own size

One line of JSON a codec. Frames are counted at 30 a second; `cpu_ms` is the median of the encoding thread's own time, which other
work on the machine does not touch, and `grey_levels` the mean distance of what a client decodes from what was shown, of 255.
"""

import argparse
import json
import math
import time

import av
import cv2
import numpy as np

from roadcast.serving.backend import Backend
from roadcast.serving.mock import MockBackend
from roadcast.web.video import Picture, codecs, encoder

HEIGHT, WIDTH, FPS = 288, 512, 30.0


def driven(backend: Backend, frames: int) -> list[np.ndarray]:
    """A gentle slalom."""
    backend.begin(0, scene=0, seed=1)
    seen = []
    for frame in range(frames):
        command = {"steer": 0.25 * math.sin(frame / 25), "throttle": 0.7}
        seen.append(backend.step({0: command})[0].frame_HWC)
    return seen


def measured(codec: str, frames: list[np.ndarray]) -> dict:
    """One codec's figures."""
    height, width = frames[0].shape[:2]
    encode, decoder = encoder(codec, FPS, height, width), av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    sizes, costs, losses = [], [], []
    for frame in frames:
        start = time.thread_time()
        picture = encode(frame, False)
        costs.append(time.thread_time() - start)
        sizes.append(len(picture.data))
        losses.append(float(np.abs(decoded(picture, decoder).astype(int) - frame).mean()))
    return {
        "codec": codec, "width": width, "height": height, "frames": len(frames),
        "mbit_per_s": round(8 * FPS * float(np.mean(sizes)) / 1e6, 2), "largest_kbyte": round(max(sizes) / 1e3, 1),
        "cpu_ms": round(1e3 * float(np.median(costs)), 2), "grey_levels": round(float(np.mean(losses)), 2),
    }  # fmt: skip


def decoded(picture: Picture, decoder: av.VideoCodecContext) -> np.ndarray:
    """RGB."""
    if picture.h264:
        return decoder.decode(av.Packet(picture.data))[0].to_ndarray(format="rgb24")
    return cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR_RGB)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", action="store_true", help="the world in the box instead of the drawn road")
    parser.add_argument("--frames", type=int, default=240)
    given = parser.parse_args()
    if given.world:
        from roadcast.cli.folders import IN_THE_BOX
        from roadcast.cli.serve import open_backend

        backend = open_backend(IN_THE_BOX, 1, None, "cpu", "float32", "full")
    else:
        backend = MockBackend(1, HEIGHT, WIDTH, FPS)
    frames = driven(backend, given.frames)
    for codec in codecs():
        print(json.dumps(measured(codec, frames)), flush=True)


if __name__ == "__main__":
    main()
