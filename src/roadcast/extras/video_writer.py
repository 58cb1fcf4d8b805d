"""H.264 films through PyAV."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

KEY_EVERY = 2
"""A key frame every so many: as LeRobot does it, for reading at random."""


class FilmWriter:
    """One .mp4 of pictures at a constant rate, from time 0 on; `size` is what has been written so far, in bytes.

    crf   constant rate factor of x264: 0 loses nothing but colour's resolution, 18 is hard to tell from the original, 51 is the worst
    """

    def __init__(self, path: Path, fps: float, height: int, width: int, crf: int):
        rate = Fraction(fps).limit_denominator(1000)
        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream("libx264", rate=rate)
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
        self._tick = 1 / rate
        self._stream.options = {"crf": str(crf), "preset": "veryfast", "g": str(KEY_EVERY), "bf": "0"}
        self.frames = self.size = 0

    def write(self, image: np.ndarray) -> None:
        """Add a picture, RGB uint8 HWC."""
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = self.frames, self._tick
        self.frames += 1
        self._put(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds, and the end of the file."""
        self._put(self._stream.encode(None))
        self._container.close()

    def _put(self, packets: list) -> None:
        for packet in packets:
            self.size += packet.size
            self._container.mux(packet)
