"""Where a batch is put together."""

import torch
from torch import Tensor
from torch.utils.data import get_worker_info


def room(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An empty tensor that is cheap to hand on: in shared memory in a worker process, else page-locked where CUDA is there."""
    if get_worker_info() is not None:
        return torch.empty(shape, dtype=dtype).share_memory_()
    return torch.empty(shape, dtype=dtype, pin_memory=torch.cuda.is_available())
