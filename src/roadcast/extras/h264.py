"""Live pictures as H.264 by PyAV's libx264: each one whole and at once, for a decoder that shows each one at once."""

from fractions import Fraction

import av
import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

if "libx264" not in av.codecs_available:
    raise ImportError("this one has no libx264")

KEY_S = 2
"""Seconds between key frames, at the full rate."""
CRF = 23
"""Constant rate factor of x264: what the eye loses is constant, and the bits follow what there is to see."""
BT709 = 1
OPTIONS = {"preset": "superfast", "tune": "zerolatency", "crf": str(CRF), "forced-idr": "1", "sc_threshold": "0"}


class Encoder:
    """One stream, from its first picture on; it lives as long as somebody holds it, and is used by one thread at a time.

    Annex B, constrained baseline profile, BT.709 in limited range (and says so); every access unit is one picture, none waits
    for a later one, and key frames (IDR) bring their parameter sets along. `fps` sets the distance of key frames alone: x264 is
    told no times. A picture of another size than the one before begins a new stream.
    """

    def __init__(self, fps: float):
        self._fps, self._count = fps, 0
        self._context: VideoCodecContext | None = None
        self._colours = VideoReformatter()

    def encode(self, frame_HWC: np.ndarray, key: bool) -> tuple[bytes, bool]:
        """The access unit of a picture, RGB uint8 with even sides, and whether it is a key frame, as which it may be asked for."""
        height, width = frame_HWC.shape[:2]
        if self._context is None or (self._context.height, self._context.width) != (height, width):
            self._context = _opened(height, width, self._fps)
        frame = self._colours.reformat(
            VideoFrame.from_ndarray(frame_HWC, format="rgb24"), format="yuv420p",
            dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1,
        )  # fmt: skip
        frame.pts, self._count = self._count, self._count + 1
        frame.pict_type = PictureType.I if key else PictureType.NONE
        (packet,) = self._context.encode(frame)
        return bytes(packet), packet.is_keyframe


def _opened(height: int, width: int, fps: float) -> VideoCodecContext:
    context = CodecContext.create("libx264", "w")
    assert isinstance(context, VideoCodecContext)
    context.height, context.width, context.pix_fmt = height, width, "yuv420p"
    context.framerate = Fraction(fps).limit_denominator(1000)
    context.time_base = 1 / context.framerate
    context.gop_size, context.max_b_frames, context.profile = max(1, round(KEY_S * fps)), 0, "Baseline"
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = ColorRange.MPEG
    context.options, context.thread_count = OPTIONS, 1
    context.open()
    return context
