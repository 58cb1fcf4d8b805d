"""Clips that users have sent to begin a world with: decoded, and kept under the SHA-256 of their bytes."""

import asyncio
import hashlib
import tempfile
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roadcast.errors import UserError
from roadcast.serving.action_log import Context
from roadcast.serving.backend import Backend
from roadcast.serving.seat import Full, Gone
from roadcast.web.media import decode
from roadcast.web.settings import Settings

SUFFIXES = {
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "video/x-msvideo": ".avi",
}
PATIENCE_S = 5.0

Key = tuple[str, int, int]
"""A clip's id, and the height and width of the worlds that can begin with it."""


@dataclass(frozen=True)
class Clip:
    """A clip as one model sees it."""

    id: str
    frames_FHWC: np.ndarray


class Clips:
    """The last clips that each caller has sent. The same file has the same id everywhere, so that a log with a clip can travel."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._kept: dict[Key, Clip] = {}
        self._sent: dict[str, OrderedDict[Key, None]] = defaultdict(OrderedDict)
        self._coming = 0
        self._decoders = asyncio.Semaphore(settings.decoders)

    @contextmanager
    def coming(self) -> Iterator[None]:
        """A clip is on its way inside the block. Raises `Full` when as many are as may be."""
        if self._coming >= self._settings.uploads:
            raise Full(PATIENCE_S)
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    async def add(self, data: bytes, media_type: str, backend: Backend, caller: str) -> Clip:
        """Decode and keep a clip for worlds of this model's size. Raises `UserError` for what is no video."""
        if (suffix := SUFFIXES.get(media_type)) is None:
            raise UserError(
                f"clip: Content-Type {media_type[:40]!r} is no video that is taken; send one of {', '.join(SUFFIXES)}"
            )
        digest = await asyncio.to_thread(hashlib.sha256, data)
        key = (digest.hexdigest()[:32], backend.height, backend.width)
        async with self._decoders:
            if (clip := self._kept.get(key)) is None:
                with tempfile.TemporaryDirectory(prefix="roadcast-") as folder:
                    path = Path(folder) / f"clip{suffix}"
                    await asyncio.to_thread(path.write_bytes, data)
                    clip = Clip(key[0], await decode(path, backend.height, backend.width, backend.fps))
        self._keep(key, clip, caller)
        return clip

    def context(self, id: str, backend: Backend) -> Context:
        """The clip as what a session begins from, its commands unknown. Raises `Gone`."""
        clip = self._kept.get((id, backend.height, backend.width))
        if clip is None:
            raise Gone(f"there is no clip {id[:40]}, or no longer; send it with POST /v1/clips")
        shape = (len(clip.frames_FHWC), len(backend.actions))
        return Context(clip.frames_FHWC, np.zeros(shape, np.float32), np.zeros(shape, bool))

    def _keep(self, key: Key, clip: Clip, caller: str) -> None:
        """Keep a clip as the caller's newest; the oldest goes, unless somebody else has sent it too."""
        self._kept[key] = clip
        own = self._sent[caller]
        own[key] = None
        own.move_to_end(key)
        while len(own) > self._settings.clips:
            oldest, _ = own.popitem(last=False)
            if not any(oldest in sent for sent in self._sent.values()):
                del self._kept[oldest]
