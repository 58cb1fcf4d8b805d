"""A cache of the reel's frames as latents, so that the dynamics never waits for a tokenizer."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from roadcast.data.loading.room import Room
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.files import replacing

BLOCK = 64


class Encodes(Protocol):
    """What the cache needs of a tokenizer; `fresh_stream` begins a recording."""

    def encode(self, frames_BFHWC: Tensor, stream: object) -> Tensor: ...


class LatentReel:
    """A folder of latents beside a reel: `latents.npy` float16 [T, H, W, C], row = frame, and `latents.json`."""

    def __init__(self, path: Path):
        self.path = Path(path)
        try:
            self.info = json.loads((self.path / "latents.json").read_text())
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.path}: not a latent cache ({error}); remove the folder to have it made anew"
            ) from None
        self._z = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_z": None}

    @property
    def z_THWC(self) -> np.ndarray:
        if self._z is None:
            self._z = np.asarray(np.load(self.path / "latents.npy", mmap_mode="r"))
        return self._z


class Latents:
    """The latents of caches, one a reel, all made by tokenizers of one shape.

    Raises `UserError` for caches that do not go together.
    """

    def __init__(self, caches: Sequence[LatentReel]):
        self.caches = list(caches)
        self._room = Room()
        self.shape = self.caches[0].z_THWC.shape[1:]
        for cache in self.caches:
            if cache.z_THWC.shape[1:] != self.shape:
                raise UserError(
                    f"{cache.path}: latents of {cache.z_THWC.shape[1:]}, but {self.caches[0].path} has {self.shape}; "
                    "encode all reels at one size with one tokenizer"
                )

    def room(self, batch: int, frames: int) -> Tensor:
        """A tensor float32 [B, F, H, W, C], not yet filled."""
        return self._room((batch, frames, *self.shape), torch.float32)

    def parts(self, number: int, frames_NF: np.ndarray, places: np.ndarray, out: Tensor) -> list[Callable[[], None]]:
        """The call that fills `out[places]` with these time steps of reel `number`."""

        def fill() -> None:
            z_THWC = self.caches[number].z_THWC
            for place, frames in zip(places.tolist(), frames_NF, strict=True):
                out.numpy()[place] = z_THWC[frames]

        return [fill]


@torch.no_grad()
def cache_latents(
    reel: Reel,
    tokenizer: Encodes,
    new_stream: Callable[[], object],
    path: Path,
    key: str,
    progress: Callable[[int, int], None],
    device: torch.device | str = "cpu",
) -> LatentReel:
    """Encode every recording of `reel` from its beginning and keep the result in `path`, or use what is there already.

    key     names the reel and the tokenizer's weights; a cache made under another key is made anew
    """

    def encoded() -> Iterator[tuple[int, Tensor]]:
        for video in reel.videos:
            stream = new_stream()
            for first in range(video.first, video.first + video.frames, BLOCK):
                last = min(first + BLOCK, video.first + video.frames)
                frames = np.stack([reel.read(f) for f in range(first, last)])
                yield first, tokenizer.encode(torch.from_numpy(frames)[None].to(device), stream)[0]
                progress(last, reel.frames)

    return write_once(path, key, reel.frames, encoded)


def write_once(path: Path, key: str, frames: int, make: Callable[[], Iterator[tuple[int, Tensor]]]) -> LatentReel:
    """The cache in `path` that was made under `key`; where there is none, it is made now, whole or not at all.

    make  gives pieces: the first frame, and the latents [F, H, W, C] from there on. Frames, of `frames` in all, that are in no
          piece are zero
    """
    if (path / "latents.json").exists() and (cached := LatentReel(path)).info["key"] == key:
        return cached
    with replacing(path) as beside:
        beside.mkdir()
        out = None
        for first, z_FHWC in make():
            z = z_FHWC.half().cpu().numpy()
            if out is None:
                out = np.lib.format.open_memmap(beside / "latents.npy", "w+", np.float16, (frames, *z.shape[1:]))
            out[first : first + len(z)] = z
        assert out is not None
        out.flush()
        (beside / "latents.json").write_text(json.dumps({"key": key, "shape": list(out.shape)}) + "\n")
    return LatentReel(path)
