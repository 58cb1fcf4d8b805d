"""The driving step made fast: one compiled graph and, on a GPU, one CUDA graph of it."""

from collections.abc import Callable, Sequence
from types import FunctionType

import torch
from torch import Tensor
from torch._inductor import config as inductor

from roadcast.flow.driving import Drive, DrivingStep, fixed_copy, overwrite
from roadcast.flow.rollout import Draft

Step = Callable[[Drive, Draft], Tensor]


@torch.no_grad()
def compiled(step: DrivingStep, drive: Drive, draft: Draft) -> Step:
    """`step` over this very `drive` and drafts of these shapes, compiled whole (a graph break is an error); `drive` stays as it was.

    The weights are frozen into the graph, laid out once as the kernels want them, so that later changes to them do not count.
    The step it returns takes no other state, and looks at nothing but the numbers in it. Takes from half a minute to a few minutes.
    """
    before = fixed_copy(drive)
    with inductor.patch(freezing=True):
        fast = torch.compile(alone(step), fullgraph=True, dynamic=False, options={"guard_filter_fn": none_of_them})
        fast(drive, draft)
    if drive.rollout.finished_BTHWC.is_cuda:
        fast = CudaGraph(fast, drive, draft)
    overwrite(drive, before)
    return fast


def alone(step: DrivingStep) -> Step:
    """`step` as a function with code of its own, for compiled graphs are kept by code, and this one's is looked up unguarded."""

    def advance(drive: Drive, draft: Draft) -> Tensor:
        return step(drive, draft)

    return FunctionType(advance.__code__.replace(), advance.__globals__, "advance", closure=advance.__closure__)


def none_of_them(guards: Sequence[object]) -> list[bool]:
    """Keep no guard: the state never changes its shapes, so that checking them, a millisecond a frame, can only find nothing."""
    return [False] * len(guards)


class CudaGraph:
    """A step captured once over one state and replayed: one launch a frame in place of hundreds (the state is moved in place)."""

    def __init__(self, step: Step, drive: Drive, draft: Draft):
        self.drive, self.draft = drive, fixed_copy(draft)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # what allocates or tunes itself does so before the capture
                step(drive, self.draft)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.frames_BFHWC = step(drive, self.draft)

    def __call__(self, drive: Drive, draft: Draft) -> Tensor:
        assert drive is self.drive, "a CUDA graph moves the state it was captured over, and no other"
        overwrite(self.draft, draft)
        self.graph.replay()
        return self.frames_BFHWC.clone()
