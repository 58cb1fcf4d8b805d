import os
import threading
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
import torch

from roadcast.data.clip import Clip
from roadcast.data.loading import prefetch
from roadcast.data.loading.loader import MEASURED, Batches
from roadcast.data.loading.reader import Reader
from roadcast.data.loading.sampler import Draw
from roadcast.errors import UserError


@pytest.fixture
def batches(reel) -> Batches:
    """Batch n is two clips, at frames n and n + 30 of the pristine reel."""
    return Batches(Reader([reel], ("steer",)), Draws())


class Draws:
    def __call__(self, step: int) -> Draw:
        first = torch.tensor([step % 8, step % 8 + 30]).numpy()
        return Draw(first * 0, first * 0, first, 2 * step + torch.arange(2).numpy(), frames=3, stride=2)


def same(a: Clip, b: Clip) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.tensors(), b.tensors(), strict=True))


@pytest.mark.parametrize(("workers", "kind"), [(1, "threads"), (3, "threads"), (1, "processes"), (2, "processes")])
def test_the_batches_are_the_same_however_they_are_read(batches, workers, kind):
    got = list(batches.batches(5, 17, workers, kind))
    assert len(got) == 12 and all(same(a, batches[5 + n]) for n, a in enumerate(got))


def test_threads_read_ahead_and_no_further(batches):
    drawn = []
    batches.draw_at = lambda step: drawn.append(step) or Draws()(step)
    clips = batches.batches(0, 100, 2, "threads")
    next(clips), next(clips)
    assert drawn == list(range(2 + prefetch.AHEAD))


def test_threads_end_with_their_iterator(batches):
    clips = batches.batches(0, 100, 2, "threads")
    next(clips)
    assert any(thread.name.startswith("read") for thread in threading.enumerate())
    clips.close()
    assert not any(thread.name.startswith("read") for thread in threading.enumerate())


def test_worker_processes_do_not_wait_for_threads_that_opencv_had_before(batches):
    big = np.zeros((1080, 1920, 3), np.uint8)
    cv2.setNumThreads(4)
    cv2.GaussianBlur(big, (9, 9), 2)
    cv2.resize(big, (640, 360), interpolation=cv2.INTER_AREA)
    assert len(list(batches.batches(0, 3, 1, "processes"))) == 3


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_damaged_picture_is_told_when_its_batch_is_due(batches, reel, kind):
    row = reel.index[2]
    with open(reel.path / "shards" / f"{row['shard']:05d}.bin", "r+b") as file:
        file.seek(int(row["offset"]) + 100)
        file.write(b"\x00\xff")
    clips = batches.batches(1, 4, 2, kind)
    next(clips)
    with pytest.raises(UserError, match=r"^\S+: frame 2 .*checksum[^\n]*$"):
        next(clips)


def test_the_quicker_kind_is_found_once_and_used(batches, monkeypatch):
    paces = {"threads": 2.0, "processes": 1.0}
    asked = []

    def pace(clips):
        kind = "threads" if clips.__name__ == "by_threads" else "processes"
        asked.append(kind)
        return paces[kind]

    for name in ("by_threads", "by_processes"):
        monkeypatch.setattr(f"roadcast.data.loading.loader.{name}", named(name))
    monkeypatch.setattr("roadcast.data.loading.loader.pace", pace)
    assert batches.batches(0, 3, MEASURED).__name__ == "by_processes"
    assert batches.batches(3, 6, MEASURED).__name__ == "by_processes"
    assert asked == ["threads", "processes"]
    batches._quicker, paces["threads"] = None, 0.5
    assert batches.batches(0, 3, MEASURED).__name__ == "by_threads"


def named(name: str):
    def clips(*_):
        class Stub:
            __name__ = name

        return Stub()

    return clips


def test_a_measured_choice_reads_the_same_batches(batches):
    got = list(batches.batches(2, 5, MEASURED))
    assert batches._quicker in ("threads", "processes")
    assert all(same(a, batches[2 + n]) for n, a in enumerate(got)) and len(got) == 3


def test_processors_are_shared_among_the_ranks_of_a_machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert prefetch.cores() == 12
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert prefetch.cores() == 1


def test_on_a_processor_clips_pass_as_they_are(batches):
    device = torch.device("cpu")
    assert all(same(a, batches[n]) for n, a in enumerate(prefetch.onto(device, batches.batches(0, 3))))


class FakeCuda:
    """Stands for torch.cuda and for both streams; `log` is what was asked of it, in order."""

    def __init__(self):
        self.log: list[str] = []

    def Stream(self, device):
        return self

    @contextmanager
    def stream(self, stream):
        self.log.append("side")
        yield
        self.log.append("main")

    def current_stream(self, device):
        return self

    def record_event(self):
        return f"event {sum(x == 'side' for x in self.log) - 1}"

    def wait_event(self, event):
        self.log.append(f"wait for {event}")


def test_the_next_clip_is_copied_on_the_side_while_one_is_in_use(monkeypatch):
    cuda = FakeCuda()
    held: list[int] = []
    monkeypatch.setattr(torch, "cuda", cuda)
    monkeypatch.setattr(Clip, "to", lambda clip, device: cuda.log.append(f"copy {clip.key_B[0]}") or clip)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: held.append(id(tensor)))
    clips = [batch(n) for n in range(3)]
    for n, clip in enumerate(prefetch.onto(torch.device("cuda"), clips)):
        cuda.log.append(f"use {n}")
        assert {id(tensor) for tensor in clip.tensors()} <= set(held)
    copy = [["side", f"copy {2 * n}", "main"] for n in range(3)]
    use = [[f"wait for event {n}", f"use {n}"] for n in range(3)]
    assert cuda.log == [*copy[0], *copy[1], *use[0], *copy[2], *use[1], *use[2]]


def batch(step: int) -> Clip:
    key = torch.tensor([2 * step, 2 * step + 1])
    blank = torch.zeros(2, 3, 1)
    return Clip(None, None, blank, blank > 0, blank.long(), key, key, key_B=key)
