"""The processes of a run, agreeing: what fails on one fails on all, and none waits for another in vain."""

import pickle
from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


class Ranks:
    """All processes, with a gloo group of their own, so that a thread can use it beside training; one where none was joined.

    To be made on all ranks at the same point of the program.
    """

    def __init__(self) -> None:
        self.group = dist.new_group(backend="gloo") if dist.is_initialized() else None
        self.rank = dist.get_rank() if self.group else 0
        self.count = dist.get_world_size() if self.group else 1

    def each(self, work: Callable[[], T]) -> list[T]:
        """What `work` returned on every rank, in their order; where it raised on any, the first such error is raised on all."""
        if self.group is None:
            return [work()]
        outcome: tuple[T | None, Exception | None]
        try:
            outcome = work(), None
        except Exception as error:
            outcome = None, _portable(error)
        outcomes: list = [None] * self.count
        dist.all_gather_object(outcomes, outcome, group=self.group)
        for _, error in outcomes:
            if error is not None:
                raise error
        return [value for value, _ in outcomes]

    def once(self, work: Callable[[], T]) -> T:
        """What `work` returned on rank 0, which alone does it; an error is raised on all."""
        return self.each(work if self.rank == 0 else lambda: None)[0]  # pyright: ignore[reportReturnType]


def _portable(error: Exception) -> Exception:
    """`error`, or what it says where it cannot travel to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
