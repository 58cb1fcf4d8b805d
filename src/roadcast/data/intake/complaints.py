"""What C libraries print while they decode: libjpeg and FFmpeg tell of damage in no other way through OpenCV."""

import ctypes
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_one_at_a_time = threading.Lock()
_flush = ctypes.CDLL(None).fflush
PRINTED_TO = (1, 2)
"""stdout, on which OpenCV prints what FFmpeg tells it, and stderr, on which libjpeg does."""


@contextmanager
def overheard() -> Iterator[list[str]]:
    """Lines that C code, or whoever else, prints in this process inside the block; they are there after it, and nowhere else."""
    lines: list[str] = []
    with _one_at_a_time:
        _flush(None)
        ear, usual = _ear(), [os.dup(descriptor) for descriptor in PRINTED_TO]
        for descriptor in PRINTED_TO:
            os.dup2(ear, descriptor)
        try:
            yield lines
        finally:
            _flush(None)
            for descriptor, before in zip(PRINTED_TO, usual, strict=True):
                os.dup2(before, descriptor)
                os.close(before)
            if length := os.lseek(ear, 0, os.SEEK_END):
                lines += os.pread(ear, min(length, 10_000), 0).decode(errors="replace").splitlines()
                os.truncate(ear, 0)
                os.lseek(ear, 0, os.SEEK_SET)


@cache
def _ear() -> int:
    """A file of no name that is written to instead."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("complaints")
    return os.dup(tempfile.TemporaryFile().fileno())
