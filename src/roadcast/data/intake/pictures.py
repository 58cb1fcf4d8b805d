"""Single pictures to RGB: held to the pixel limit before they are decoded, and given only if they are whole."""

import re
import struct
from pathlib import Path

import cv2
import numpy as np

from roadcast.data.intake.complaints import overheard
from roadcast.data.intake.guard import CV_NO_MEMORY
from roadcast.data.intake.limits import limits_now

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The JPEG markers that begin a frame and tell its size."""
END, SCAN = 0xD9, 0xDA
BARE = {0x01, *range(0xD0, 0xD8)}
"""The JPEG markers that nothing belongs to."""
NEXT_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)


def read_picture(path: Path) -> np.ndarray | None:
    """The picture in a file, RGB uint8 HWC; None if it is missing or `decode_picture` gives none."""
    try:
        return decode_picture(path.read_bytes())
    except OSError:
        return None


def decode_picture(data: bytes) -> np.ndarray | None:
    """The picture in `data`, RGB uint8 HWC; None if it is damaged or cut short, as far as its format lets one know.

    A JPEG must have its end mark, and give its decoder no reason to complain; damage to its coefficients that is good
    code by chance is not seen, as JPEG has no checksum. PNG has. One of more pixels than the limit is not decoded, and None.
    """
    size = None
    if data.startswith(JPEG):
        if (size := whole_jpeg(data)) is None:
            return None
    elif data.startswith(PNG) and len(data) >= 24:
        size = struct.unpack(">II", data[16:24])
    if size and size[0] * size[1] > limits_now().pixels:
        return None
    try:
        with overheard() as complaints:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        if error.code == CV_NO_MEMORY:
            raise
        return None
    return None if image is None or complaints else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def whole_jpeg(data: bytes) -> tuple[int, int] | None:
    """(height, width) that a JPEG tells of itself, or None if its segments do not lead to its end mark."""
    size, at = None, 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in SIZES and at + 9 <= len(data):
            size = struct.unpack(">HH", data[at + 5 : at + 9])
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == SCAN:
            if (found := NEXT_MARKER.search(data, at)) is None:
                return None
            at = found.start()
            if found[1][0] == END:
                return size
    return None
