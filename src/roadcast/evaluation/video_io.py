"""Frames to files: PNG, JPEG, strips, and animated WebP."""

import struct
from collections.abc import Sequence

import cv2
import numpy as np

GAP_GREY = 40  # between frames: seen on a light page and quiet on a dark one


def encode(image_HWC: np.ndarray, extension: str, *params: int) -> bytes:
    """An RGB uint8 image as the bytes of a file of that type (".png", ".jpg", ".webp")."""
    done, data = cv2.imencode(extension, image_HWC[..., ::-1], list(params))
    assert done
    return data.tobytes()


def encode_jpeg(image_HWC: np.ndarray) -> bytes:
    """An RGB uint8 image as JPEG, quality 92, colour at full resolution."""
    full = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    return encode(image_HWC, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full)


def strip(frames_FHWC: Sequence[np.ndarray], gap: int = 2) -> np.ndarray:
    """Frames side by side in one image."""
    return _join(frames_FHWC, gap, axis=1)


def stack(images: Sequence[np.ndarray], gap: int = 2) -> np.ndarray:
    """Images of one width, one below the other."""
    return _join(images, gap, axis=0)


def enlarge(frame_HWC: np.ndarray, width: int) -> np.ndarray:
    """The frame enlarged by the least whole factor that makes it at least `width` pixels wide."""
    factor = -(-width // frame_HWC.shape[1])
    return cv2.resize(frame_HWC, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) if factor > 1 else frame_HWC


def encode_animation(frames: Sequence[np.ndarray], fps: float, quality: int = 80) -> bytes:
    """RGB uint8 frames of one size as an endless animated WebP.

    Written here because cv2.imwriteanimation came with OpenCV 4.11: each frame is OpenCV's own lossy WebP, and
    this adds the container (https://developers.google.com/speed/webp/docs/riff_container: VP8X, ANIM, ANMF chunks).
    """
    height, width = frames[0].shape[:2]
    size = _u24(width - 1) + _u24(height - 1)
    chunks = [_chunk(b"VP8X", bytes([0x02, 0, 0, 0]) + size), _chunk(b"ANIM", struct.pack("<IH", 0xFFFFFFFF, 0))]
    for frame in frames:
        still = encode(frame, ".webp", cv2.IMWRITE_WEBP_QUALITY, quality)
        place = _u24(0) + _u24(0) + size + _u24(round(1000 / fps)) + bytes([0x02])  # do not blend, do not dispose
        chunks.append(_chunk(b"ANMF", place + _bitstream(still)))
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _bitstream(webp: bytes) -> bytes:
    """The image chunk of a still WebP file, header and padding included."""
    at = 12
    while at < len(webp):
        kind, length = webp[at : at + 4], struct.unpack_from("<I", webp, at + 4)[0]
        end = at + 8 + length + length % 2
        if kind in (b"VP8 ", b"VP8L"):
            return webp[at:end]
        at = end
    raise AssertionError("OpenCV wrote a WebP file without an image")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _u24(value: int) -> bytes:
    return struct.pack("<I", value)[:3]


def _join(images: Sequence[np.ndarray], gap: int, axis: int) -> np.ndarray:
    shape = list(images[0].shape)
    shape[axis] = gap
    space = np.full(shape, GAP_GREY, dtype=np.uint8)
    pieces = [piece for image in images for piece in (space, image)][1:]
    return np.concatenate(pieces, axis=axis)
