"""Where a batch is put together."""

import sys
import threading
from math import prod

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

KEPT = 8


class Room:
    """Gives tensors to be filled, and gives one again when nobody holds it any more: fresh memory costs a fault a page.

    In a worker process they are in shared memory, so that handing them on copies nothing. Where CUDA is there they are
    page-locked, and torch's own allocator keeps them, also until the copies from them are done.
    """

    def __init__(self):
        self._kept: list[np.ndarray] = []
        self._lock = threading.Lock()

    def __reduce__(self):
        return Room, ()

    def __call__(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor, not yet filled."""
        if get_worker_info() is not None:
            shared = torch.UntypedStorage._new_shared(prod(shape) * dtype.itemsize, device="cpu")
            return torch.empty(0, dtype=dtype).set_(shared).view(shape)
        if torch.cuda.is_available():
            return torch.empty(shape, dtype=dtype, pin_memory=True)
        size = prod(shape) * dtype.itemsize
        with self._lock:
            self._kept = [block for block in self._kept if block.nbytes == size]
            for n in range(len(self._kept)):
                if _holders(self._kept, n) == FREE:
                    return torch.from_numpy(self._kept[n]).view(dtype).view(shape)
            block = np.empty(size, np.uint8)
            self._kept = [*self._kept[1 - KEPT :], block]
            return torch.from_numpy(block).view(dtype).view(shape)


def _holders(blocks: list[np.ndarray], n: int) -> int:
    """How many references there are to a block; a tensor, or any view of it, holds one for all."""
    return sys.getrefcount(blocks[n])


FREE = _holders([np.empty(1)], 0)
