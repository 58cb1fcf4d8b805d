"""Clips that users have sent to begin a world with: decoded, and kept under the SHA-256 of their bytes."""

import hashlib
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roadcast.errors import UserError
from roadcast.serving.action_log import Context
from roadcast.serving.backend import Backend
from roadcast.serving.seat import Gone
from roadcast.web.media import decode

SUFFIXES = {
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "video/x-msvideo": ".avi",
}


@dataclass(frozen=True)
class Clip:
    """A clip as one model sees it."""

    id: str
    frames_FHWC: np.ndarray


class Clips:
    """The last `most` clips that were sent. The same file has the same id everywhere, so that a log with a clip can travel."""

    def __init__(self, most: int):
        self._most = most
        self._kept: OrderedDict[tuple[str, int, int], Clip] = OrderedDict()

    async def add(self, data: bytes, media_type: str, backend: Backend) -> Clip:
        """Decode and keep a clip for worlds of this model's size. Raises `UserError` for what is no video."""
        if (suffix := SUFFIXES.get(media_type)) is None:
            raise UserError(
                f"clip: Content-Type {media_type[:40]!r} is no video that is taken; send one of {', '.join(SUFFIXES)}"
            )
        key = (hashlib.sha256(data).hexdigest()[:32], backend.height, backend.width)
        if key not in self._kept:
            with tempfile.TemporaryDirectory(prefix="roadcast-") as folder:
                path = Path(folder) / f"clip{suffix}"
                path.write_bytes(data)
                self._kept[key] = Clip(key[0], await decode(path, backend.height, backend.width, backend.fps))
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return self._kept[key]

    def context(self, id: str, backend: Backend) -> Context:
        """The clip as what a session begins from, its commands unknown. Raises `Gone`."""
        clip = self._kept.get((id, backend.height, backend.width))
        if clip is None:
            raise Gone(f"there is no clip {id[:40]}, or no longer; send it with POST /v1/clips")
        shape = (len(clip.frames_FHWC), len(backend.actions))
        return Context(clip.frames_FHWC, np.zeros(shape, np.float32), np.zeros(shape, bool))
