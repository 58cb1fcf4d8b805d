"""Clips read ahead: in threads, in processes, and onto the device while the clip before is in use."""

import os
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from roadcast.data.clip import Clip
from roadcast.data.loading.reader import Reader
from roadcast.data.loading.sampler import Draw
from roadcast.errors import UserError

AHEAD = 4
"""Batches that are read ahead: by all threads together, by each process."""

TRIAL = 12
"""Batches by which threads and processes are compared, after the first."""


def by_threads(reader: Reader, draws: Iterable[Draw], threads: int) -> Iterator[Clip]:
    """The clips of each draw, in order; all threads work on one batch at a time, on the next ones as they come free."""
    with ThreadPoolExecutor(threads, thread_name_prefix="read") as pool:
        begun: deque = deque()
        try:
            for draw in draws:
                clip, parts = reader.plan(draw)
                begun.append((clip, [pool.submit(part) for part in parts]))
                if len(begun) > AHEAD:
                    yield _finished(*begun.popleft())
            while begun:
                yield _finished(*begun.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _finished(clip: Clip, futures: list) -> Clip:
    for future in futures:
        future.result()
    return clip


def by_processes(batches: Dataset, steps: range, processes: int) -> Iterator[Clip]:
    """Batches `steps` of the data set, in order, each read whole by one of as many processes."""
    loader = DataLoader(
        _Told(batches), batch_size=None, sampler=steps, num_workers=processes, persistent_workers=True,
        pin_memory=torch.cuda.is_available(), prefetch_factor=AHEAD, worker_init_fn=_begin_process,
    )  # fmt: skip
    for clip in loader:
        if isinstance(clip, UserError):
            raise clip
        yield clip


@dataclass
class _Told(Dataset):
    """A data set whose user errors come as items, in one line: torch would wrap them in a traceback."""

    batches: Dataset

    def __getitem__(self, step: int) -> Clip | UserError:
        try:
            return self.batches[step]
        except UserError as error:
            return error


def _begin_process(_: int) -> None:
    cv2.setNumThreads(0)


def cores() -> int:
    """Processors for this process: those it may run on, shared with the other ranks of this machine."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def pace(clips: Iterator[Clip]) -> float:
    """Seconds a clip of an iterator takes once its first has come."""
    next(clips)
    begin = time.perf_counter()
    count = sum(1 for _ in islice(clips, TRIAL))
    return (time.perf_counter() - begin) / max(1, count)


def onto(device: torch.device, clips: Iterable[Clip]) -> Generator[Clip]:
    """The clips on `device`; with CUDA each is copied, on a stream of its own, while the one before it is in use."""
    if device.type != "cuda":
        for clip in clips:
            yield clip.to(device)
        return
    side = torch.cuda.Stream(device)
    waiting = None
    for clip in clips:
        with torch.cuda.stream(side):
            moved = clip.to(device)
            copied = side.record_event()
        if waiting is not None:
            yield _arrived(*waiting, device)
        waiting = moved, copied
    if waiting is not None:
        yield _arrived(*waiting, device)


def _arrived(clip: Clip, copied: torch.cuda.Event, device: torch.device) -> Clip:
    """The clip, for the stream that uses it: it waits for the copy, and the memory is not given away before it is done."""
    current = torch.cuda.current_stream(device)
    current.wait_event(copied)
    for tensor in clip.tensors():
        tensor.record_stream(current)
    return clip
