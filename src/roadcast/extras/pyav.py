"""Video files by PyAV, which tells of every packet and frame whether it is whole."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from roadcast.data.intake.limits import check_size, limits_now
from roadcast.data.intake.video_checks import FORMATS, Tally, no_pictures, no_times, not_a_video

NO_TIMESTAMPS = 0x80
"""FFmpeg's AVFMT_NOTIMESTAMPS."""
REORDERED = 32
"""Frames by which the order of showing may differ from that of decoding."""
PADDING = 2**16
"""Pixels that a decoder may add at the edges of a picture."""
STRICT = {"hevc", "mjpeg"}
"""Codecs of which FFmpeg shows damaged frames as good ones unless it is told to stop at errors; it marks those of others."""


def read(path: Path, rate: float | None) -> Iterator[tuple[int, np.ndarray | None]]:
    """`read_video` by PyAV: from a damaged frame to the next key frame pictures are None."""
    try:
        container = av.open(str(path), options={"protocol_whitelist": "file", "format_whitelist": FORMATS})
    except (FFmpegError, ValueError):
        raise not_a_video(path) from None
    with container:
        stream = _pictures(path, container)
        timeless = bool(container.format.flags & NO_TIMESTAMPS)
        if timeless and rate is None:
            raise no_times(path)
        tally, last, went_back = Tally(path), 0, False
        start, step = stream.start_time or 0, stream.time_base or Fraction(1)
        for pts, image in _frames(tally, container, stream):
            before = last
            if timeless and rate:
                last = round(tally.frames / rate * 1e9)
            elif pts is not None:
                last = round((pts - start) * step * 10**9)
            went_back = went_back or (last < before and image is not None)
            yield last, image
            tally.frames += 1
            tally.damaged += image is None
        if went_back:  # the table of times is damaged: what it leaves out was not meant to be
            tally.unshown = 0
        tally.check(stream.frames)


def _pictures(path: Path, container: InputContainer) -> VideoStream:
    """The first stream of pictures that is not a cover; its decoder has one thread, for what it says to be of the frame it gives."""
    for stream in container.streams.video:
        if stream.disposition & stream.disposition.attached_pic:
            continue
        if (codec := stream.codec_context) is None:  # as AV says of pictures that it has no decoder for
            raise not_a_video(path)
        check_size(path, codec.height, codec.width)
        codec.thread_type = "NONE"
        codec.options = {"max_pixels": str(2 * limits_now().pixels + PADDING)}
        if codec.name in STRICT:
            codec.options = {**codec.options, "err_detect": "explode"}
        return stream
    raise no_pictures(path)


def _frames(
    tally: Tally, container: InputContainer, stream: VideoStream
) -> Iterator[tuple[int | None, np.ndarray | None]]:
    """(pts, picture) of every frame in the order in which they are shown, None where a frame was lost or is not to be believed."""
    damaged, good_from, colours = False, None, VideoReformatter()
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError:
            return
        if packet is None:
            return
        if damaged and packet.is_keyframe and not packet.is_corrupt and good_from is None:
            good_from = packet.pts if packet.pts is not None else packet.dts
        tally.unshown += packet.is_discard and _is_near(packet)
        if packet.is_corrupt:
            damaged, good_from = True, None
        try:
            frames = packet.decode()
        except FFmpegError:
            damaged, good_from = True, None
            yield packet.dts if packet.pts is None else packet.pts, None
            continue
        for frame in frames:
            assert isinstance(frame, VideoFrame)
            pts = frame.dts if frame.pts is None else frame.pts
            if frame.is_corrupt:
                damaged, good_from = True, None
            elif damaged and good_from is not None and pts is not None and pts >= good_from:
                damaged = False
            yield pts, None if damaged else _upright(tally.path, frame, colours)


def _is_near(packet: Packet) -> bool:
    """Whether a packet is shown about when it is decoded: else its time is wrong, and no edit list meant to leave it out."""
    pts, dts = packet.pts, packet.dts
    return pts is None or dts is None or abs(pts - dts) <= REORDERED * (packet.duration or 0)


def _upright(path: Path, frame: VideoFrame, colours: VideoReformatter) -> np.ndarray:
    check_size(path, frame.height, frame.width)
    image = colours.reformat(frame, format="rgb24", threads=1).to_ndarray()
    return np.ascontiguousarray(np.rot90(image, frame.rotation // 90)) if frame.rotation else image
