"""Video files by TorchCodec, which tells nothing of damage but that a frame cannot be decoded."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportMissingImports]

from roadcast.data.intake.limits import check_size
from roadcast.data.intake.video_checks import Tally, not_a_video
from roadcast.errors import UserError


def read(path: Path, rate: float | None) -> Iterator[tuple[int, np.ndarray]]:
    """`read_video` by TorchCodec: a file of which a frame cannot be decoded is refused whole, and so is a raw stream."""
    try:
        decoder = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
    except (RuntimeError, ValueError):
        raise not_a_video(path) from None
    about, tally = decoder.metadata, Tally(path)
    check_size(path, about.height or 0, about.width or 0)
    start = about.begin_stream_seconds_from_content or 0.0
    for number in range(len(decoder)):
        try:
            frame = decoder.get_frame_at(number)
        except (RuntimeError, IndexError) as error:
            words = str(error).splitlines()[0]
            raise UserError(f"{path}: is damaged near frame {number} ({words}); copy it again") from None
        yield round((frame.pts_seconds - start) * 1e9), frame.data.numpy()
        tally.frames += 1
    tally.check(about.num_frames_from_header or 0)
