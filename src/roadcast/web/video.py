"""How pictures travel: each on its own as JPEG, or as one stream of H.264, which needs the extra `video`."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from roadcast.errors import UserError
from roadcast.optional import has_extra, load_extra

JPEG_QUALITY = 92


@dataclass(frozen=True)
class Picture:
    """The bytes of one, and the flags of protocol.py that tell what they are."""

    data: bytes
    h264: bool = False
    key: bool = False


Encode = Callable[[np.ndarray, bool], Picture]
"""Of a picture, RGB uint8 HWC, and whether it must need none before it. Called in the order of sending, by one thread at a time."""


def codecs() -> list[str]:
    """Those that a client can ask for here."""
    return ["jpeg", "h264"] if has_extra("h264") else ["jpeg"]


def encoder(codec: str, fps: float, height: int, width: int) -> Encode:
    """What encodes one client's pictures. `UserError` for a codec that is unknown, or is not to be had here or at this size."""
    if codec == "jpeg":
        return lambda frame_HWC, _: Picture(jpeg(frame_HWC))
    if codec != "h264":
        raise UserError(f"codec = {codec[:40]!r} is unknown; use one of {', '.join(codecs())}")
    if height % 2 or width % 2:
        raise UserError(f"h264 cannot hold {width}x{height} pixels, for it halves both sides; use jpeg")
    stream = load_extra("h264", "h264").Encoder(fps)

    def encode(frame_HWC: np.ndarray, key: bool) -> Picture:
        data, is_key = stream.encode(frame_HWC, key)
        return Picture(data, h264=True, key=is_key)

    return encode


def jpeg(frame_HWC: np.ndarray) -> bytes:
    """A picture, RGB uint8, as JPEG."""
    bgr_HWC = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr_HWC, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return data.tobytes()
