"""Other ways to load the same clips, each as its own documentation says it is fast.

Every one gives batches uint8 RGB [4, 16, 144, 256, 3] in one tensor. Stores of clips decode with OpenCV straight into that
tensor, as the reel's reader does, and hold their clips ready cut without overlap, one set a stride: they can give no others.
Worker processes are torch's: persistent, 4 batches ahead.
"""

import itertools
import sys
import tarfile
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import torch
from loading_data import BATCH, FRAMES, HEIGHT, WIDTH, Data, stored_clips
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from roadcast.data.reel.store import Reel

AHEAD = 4


def decode_batch(clips: Iterable[Iterable[bytes]]) -> Tensor:
    """Four clips of 16 JPEGs as one tensor."""
    out = np.empty((BATCH, FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for b, clip in enumerate(clips):
        for f, data in enumerate(clip):
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=out[b, f])
    return torch.from_numpy(out)


def begin_worker(_: int) -> None:
    cv2.setNumThreads(0)


def loader(dataset: Any, workers: int, **settings: Any) -> DataLoader:
    """torch's own loader with the settings that all share."""
    ahead = {"prefetch_factor": AHEAD, "persistent_workers": True} if workers else {}
    return DataLoader(dataset, num_workers=workers, worker_init_fn=begin_worker, **ahead, **settings)


class Rival:
    """One way to load clips. `prepare` makes its store, once; `batches` gives batches for at least some seconds."""

    film = False
    workers = (0, 1, 2)

    def prepare(self, data: Data) -> None:
        """Make what is read, if it is not there."""

    def batches(self, data: Data, stride: int, workers: int) -> Iterator[Tensor]:
        raise NotImplementedError


class VideoClips(Dataset):
    """Batch n is four clips at random places of a film, read by `open_film(path)(first frame, stride)`."""

    def __init__(self, open_film: Any, path: Path, frames: int, stride: int):
        self.open_film, self.path, self.stride, self.film = open_film, path, stride, None
        self.last = frames - (FRAMES - 1) * stride - 1

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, step: int) -> Tensor:
        if self.film is None:
            self.film = self.open_film(self.path)
        firsts = np.random.default_rng(step).integers(0, self.last + 1, BATCH).tolist()
        out = torch.empty((BATCH, FRAMES, HEIGHT, WIDTH, 3), dtype=torch.uint8)
        for b, first in enumerate(firsts):
            self.film(first, self.stride, out[b])
        return out


class Video(Rival):
    """Random access into a film. One decoder a process, opened once, on one thread; each scales with what it has."""

    film = True

    def __init__(self, small: bool):
        self.small = small

    def path(self, data: Data) -> Path:
        return data.small_film if self.small else data.film

    def prepare(self, data: Data) -> None:
        if data.film_problem:
            raise ImportError(data.film_problem)

    def batches(self, data: Data, stride: int, workers: int) -> Iterator[Tensor]:
        clips = VideoClips(self.open, self.path(data), Reel(data.film_reel).frames, stride)
        return iter(loader(clips, workers, batch_size=None, shuffle=False))

    @staticmethod
    def open(path: Path) -> Any:
        raise NotImplementedError


class TorchCodec(Video):
    """`get_frames_in_range`, with the resizing done by the decoder; "exact" reads every packet's time when it opens."""

    mode = "exact"

    def open(self, path: Path) -> Any:
        from torchcodec.decoders import VideoDecoder

        small = {} if self.small else {"transforms": [_resize()]}
        film = VideoDecoder(str(path), dimension_order="NHWC", seek_mode=self.mode, num_ffmpeg_threads=1, **small)

        def clip(first: int, stride: int, out: Tensor) -> None:
            out.copy_(film.get_frames_in_range(first, first + FRAMES * stride - stride + 1, stride).data)

        return clip


class TorchCodecApproximate(TorchCodec):
    mode = "approximate"


def _resize() -> Any:
    from torchcodec.transforms import Resize

    return Resize((HEIGHT, WIDTH))


class Decord(Video):
    """`get_batch`, with the resizing done by the reader."""

    def open(self, path: Path) -> Any:
        import decord

        film = decord.VideoReader(str(path), width=WIDTH, height=HEIGHT, num_threads=1)

        def clip(first: int, stride: int, out: Tensor) -> None:
            out.copy_(torch.from_numpy(film.get_batch(range(first, first + FRAMES * stride, stride)).asnumpy()))

        return clip


class PyAV(Video):
    """Seeks to the key frame before, decodes from there, and converts and scales only what is wanted."""

    def open(self, path: Path) -> Any:
        import av

        container = av.open(str(path))
        stream = container.streams.video[0]
        stream.thread_count = 1
        ticks = float(1 / stream.average_rate / stream.time_base)

        def clip(first: int, stride: int, out: Tensor) -> None:
            container.seek(round(first * ticks), stream=stream)
            got = 0
            for frame in container.decode(stream):
                number = round(frame.pts / ticks)
                if number == first + got * stride:
                    scaled = frame.reformat(WIDTH, HEIGHT, "rgb24", interpolation="AREA")
                    out[got] = torch.from_numpy(scaled.to_ndarray())
                    got += 1
                if got == FRAMES:
                    return

        return clip


class OpenCV(Video):
    """`CAP_PROP_POS_FRAMES`, then reads on; frames between those wanted are grabbed, not converted."""

    def open(self, path: Path) -> Any:
        film = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])

        def clip(first: int, stride: int, out: Tensor) -> None:
            film.set(cv2.CAP_PROP_POS_FRAMES, first)
            for f in range(FRAMES):
                for _ in range(stride - 1 if f else 0):
                    film.grab()
                image = film.read()[1]
                if image.shape[0] != HEIGHT:
                    image = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
                cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=out[f].numpy())

        return clip


class WebDataset(Rival):
    """A sample is a clip of 16 JPEGs; shards of 16 clips in shuffled order, a shuffle buffer of 100 samples."""

    def prepare(self, data: Data) -> None:
        import webdataset  # noqa: F401

        for stride in (1, 2):
            folder = data.folder / f"webdataset{stride}"
            if folder.exists():
                continue
            folder.mkdir()
            clips = enumerate(stored_clips(Reel(data.reel), stride))
            for shard in itertools.count():
                if not (some := list(itertools.islice(clips, 16))):
                    break
                with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
                    for n, clip in some:
                        for f, picture in enumerate(clip):
                            member = tarfile.TarInfo(f"{n:06d}.{f:02d}.jpg")
                            member.size = len(picture)
                            tar.addfile(member, BytesIO(picture))

    def batches(self, data: Data, stride: int, workers: int) -> Iterator[Tensor]:
        import webdataset as wds

        shards = [str(path) for path in sorted((data.folder / f"webdataset{stride}").glob("*.tar"))]
        names = [f"{f:02d}.jpg" for f in range(FRAMES)]
        samples = wds.WebDataset(shards, shardshuffle=100, nodesplitter=None).shuffle(100).to_tuple(*names)
        return iter(loader(samples.batched(BATCH, collation_fn=decode_batch, partial=False), workers, batch_size=None))


class LitData(Rival):
    """A sample is a list of 16 JPEGs; chunks of 32 MB, shuffled."""

    def prepare(self, data: Data) -> None:
        import litdata

        for stride in (1, 2):
            folder = data.folder / f"litdata{stride}"
            if not (folder / "index.json").exists():
                litdata.optimize(
                    _Cut(data.reel, stride), list(range(Reel(data.reel).frames // (FRAMES * stride))), str(folder),
                    chunk_bytes="32MB", num_workers=1, verbose=False, start_method="fork",
                )  # fmt: skip

    def batches(self, data: Data, stride: int, workers: int) -> Iterator[Tensor]:
        import litdata

        clips = litdata.StreamingDataset(str(data.folder / f"litdata{stride}"), shuffle=True, drop_last=True)
        ahead = {"prefetch_factor": AHEAD, "persistent_workers": True} if workers else {}
        return iter(
            litdata.StreamingDataLoader(
                clips, batch_size=BATCH, num_workers=workers, collate_fn=decode_batch, drop_last=True, **ahead
            )
        )


class _Cut:
    """Clips that begin in one span, for LitData's `optimize`."""

    def __init__(self, reel: Path, stride: int):
        self.reel, self.stride = reel, stride

    def __call__(self, span: int) -> Iterator[list[bytes]]:
        reel, first = Reel(self.reel), span * FRAMES * self.stride
        for phase in range(self.stride):
            yield [bytes(reel.jpeg(first + phase + self.stride * f)) for f in range(FRAMES)]


class MosaicML(Rival):
    """A sample has 16 columns of bytes; shards of 32 MB, not compressed, shuffled."""

    def prepare(self, data: Data) -> None:
        streaming = _streaming()
        columns = {f"{f:02d}": "bytes" for f in range(FRAMES)}
        for stride in (1, 2):
            for workers in self.workers:  # it may not open one folder twice on a machine
                folder = data.folder / f"mosaicml{stride}_{workers}"
                if not (folder / "index.json").exists():
                    with streaming.MDSWriter(out=str(folder), columns=columns, size_limit=1 << 25) as writer:
                        for clip in stored_clips(Reel(data.reel), stride):
                            writer.write(dict(zip(columns, clip, strict=True)))

    def batches(self, data: Data, stride: int, workers: int) -> Iterator[Tensor]:
        streaming = _streaming()
        streaming.base.util.clean_stale_shared_memory()
        folder = str(data.folder / f"mosaicml{stride}_{workers}")
        clips = streaming.StreamingDataset(local=folder, shuffle=True, batch_size=BATCH)
        return iter(loader(clips, workers, batch_size=BATCH, drop_last=True, collate_fn=_columns))


def _columns(samples: list[dict[str, bytes]]) -> Tensor:
    return decode_batch([sample[f"{f:02d}"] for f in range(FRAMES)] for sample in samples)


def _streaming() -> Any:
    """MosaicML Streaming, whose picture classes, not used here, want torchvision: where that is missing a stand-in will do."""
    try:
        import torchvision  # noqa: F401
    except ImportError:
        for name, contents in (
            ("torchvision", {}),
            ("torchvision.datasets", {"VisionDataset": object, "CIFAR10": object}),
            ("torchvision.transforms", {}),
            ("torchvision.transforms.functional", {"to_tensor": None}),
        ):
            module = sys.modules[name] = ModuleType(name)
            module.__spec__ = ModuleSpec(name, None)
            vars(module).update(contents)
    here = str(Path(__file__).resolve().parent)
    sys.path = [path for path in sys.path if path != here]  # a script beside this one has the package's name
    import streaming

    return streaming


class FFCV(Rival):
    """One picture a sample, JPEG at the same quality; clips are made by giving it the order of pictures, any clip it likes."""

    workers = (1, 2)

    def prepare(self, data: Data) -> None:
        from ffcv.fields import RGBImageField
        from ffcv.writer import DatasetWriter

        path = data.folder / "ffcv.beton"
        if not path.exists():
            field = RGBImageField(write_mode="jpg", jpeg_quality=95)
            DatasetWriter(str(path), {"image": field}, num_workers=1).from_indexed_dataset(_Singles(data.reel))

    def batches(self, data: Data, stride: int, workers: int) -> Iterator[Tensor]:
        from ffcv.fields.decoders import SimpleRGBImageDecoder
        from ffcv.loader import Loader, OrderOption
        from ffcv.transforms import ToTensor

        frames, clips = Reel(data.reel).frames, 4096
        firsts = np.random.default_rng(stride).integers(0, frames - FRAMES * stride + 1, clips)
        order = (firsts[:, None] + stride * np.arange(FRAMES)).reshape(-1)
        pictures = Loader(
            str(data.folder / "ffcv.beton"), batch_size=BATCH * FRAMES, num_workers=workers, os_cache=True,
            order=OrderOption.SEQUENTIAL, indices=order, batches_ahead=AHEAD,
            pipelines={"image": [SimpleRGBImageDecoder(), ToTensor()]},
        )  # fmt: skip
        for (batch,) in pictures:
            yield batch.view(BATCH, FRAMES, HEIGHT, WIDTH, 3)


class _Singles:
    """The reel's pictures one by one, for FFCV's writer."""

    def __init__(self, reel: Path):
        self.reel = Reel(reel)

    def __len__(self) -> int:
        return self.reel.frames

    def __getitem__(self, frame: int) -> tuple[np.ndarray]:
        return (self.reel.read(frame),)
