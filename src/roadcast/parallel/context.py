"""One clip on several processes: each runs the dynamics on frames of its own, and attention along time goes round a ring.

Every rank reads the whole clip and has the same noise; rank r of C takes the frames r T / C to (r + 1) T / C of T. The answers of
all are then joined, and every rank judges the whole.

Why gradients are right: let L be the loss, y_r the answer of rank r. Each rank computes the same L from the same whole, so the
sum over ranks of what flows back into y_r is C dL/dy_r, which is what `_Join` hands on. Keys and values carry gradients from
rank to rank (nn/ring_attention.py), so rank r ends with its own frames' part g_r of C dL/dw, sum_r g_r = C dL/dw; and the mean
over the C ranks, which are among those whose gradients are averaged, is dL/dw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from roadcast.dynamics.model import Dynamics, History, Pass
from roadcast.errors import UserError
from roadcast.nn.mask import FrameMask
from roadcast.nn.ring_attention import ring_attend
from roadcast.parallel.mesh import Mesh


@dataclass(frozen=True)
class Frames:
    """The frames of every clip that are this rank's: its part of `ranks` equal ones; all of them where `group` is None."""

    rank: int = 0
    ranks: int = 1
    group: dist.ProcessGroup | None = None

    @classmethod
    def of(cls, mesh: Mesh) -> "Frames":
        return cls(mesh.context_rank, mesh.context_ranks, mesh.along_clip)

    def own(self, x_BT: Tensor) -> Tensor:
        """Of a tensor [B, T, ...], the rank's [B, T / C, ...]; `UserError` where C does not divide T."""
        frames = x_BT.shape[1]
        if frames % self.ranks:
            raise UserError(
                f"compute.context = {self.ranks} does not divide the {frames} latent frames of a clip; "
                f"let the stage's clip_frames, and those of its curriculum, give a multiple of {self.ranks}"
            )
        return x_BT.unflatten(1, (self.ranks, -1))[:, self.rank]

    def start(
        self, dynamics: Dynamics, x_BTHWC: Tensor, t_BT: Tensor, commands_BTA: Tensor, d_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What goes into the blocks, of the rank's frames: tokens [B, T, P, D], what sets norms [B, T, 6, D], condition [B, T, D]."""
        before_BTHWC, _ = dynamics.frames_before(x_BTHWC, t_BT, None)
        asked = [self.own(x_BT) for x_BT in (x_BTHWC, before_BTHWC, t_BT, commands_BTA, d_BT) if x_BT is not None]
        x_BTPD, condition_BTD = dynamics.embed(*asked)
        return x_BTPD, dynamics.modulation_of(condition_BTD), condition_BTD

    def share(self, dynamics: Dynamics, x_BTPD: Tensor, modulation_BT6D: Tensor, grid: Sequence[int]) -> Pass:
        """What the dynamics' blocks share over the rank's tokens: frames by their numbers in the clip, keys round the ring."""
        shared = dynamics.share(x_BTPD, modulation_BT6D, grid, first=self.rank * x_BTPD.shape[1])
        if self.group is not None:
            shared.sight.read = self.read
        return shared

    def finish(
        self, dynamics: Dynamics, x_BTHWC: Tensor, t_BT: Tensor, x_BTPD: Tensor, condition_BTD: Tensor
    ) -> Tensor:
        """The prediction [B, T, H, W, C] for whole clips, of the rank's tokens after all blocks."""
        before_BTHWC, before_t_BT = dynamics.frames_before(x_BTHWC, t_BT, None)
        y_BTHWC = dynamics.head(x_BTPD, condition_BTD, self.own(before_BTHWC), self.own(before_t_BT))
        return y_BTHWC if self.group is None else _Join.apply(y_BTHWC, self)

    def read(
        self,
        q_BNLK: Tensor,
        k_BMSK: Tensor,
        v_BMSK: Tensor,
        mask: FrameMask,
        q_frame_BL: Tensor,
        k_frame_BS: Tensor,
        backend: str,
    ) -> Tensor:
        """`attend` to the keys of all ranks; on a ring there is one way to compute it, whatever `backend` says."""
        length = v_BMSK.shape[-1]
        q, k = q_BNLK.to(v_BMSK.dtype), k_BMSK.to(v_BMSK.dtype)  # autocast leaves norms in float32
        v = F.pad(v_BMSK, (0, k.shape[-1] - length))  # with sinks keys are twice as long (nn/attention.py)
        return ring_attend(q, k, v, mask, q_frame_BL, self.group)[..., :length]


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y_BT: Tensor, frames: Frames) -> Tensor:
        ctx.frames = frames
        parts = [torch.empty_like(y_BT, memory_format=torch.contiguous_format) for _ in range(frames.ranks)]
        dist.all_gather(parts, y_BT.contiguous(), group=frames.group)
        return torch.cat(parts, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_BT: Tensor):
        return ctx.frames.ranks * ctx.frames.own(dy_BT), None


def spread(dynamics: Dynamics, frames: Frames) -> None:
    """Have `dynamics` run clips on this rank's frames alone; the answer is the whole clip's on every rank.

    Passes after a history run as they did, on every rank alike. All ranks along a clip must call, forwards and backwards.
    """
    run = dynamics.forward

    def forward(
        x_BTHWC: Tensor,
        t_BT: Tensor,
        commands_BTA: Tensor,
        history: History | None = None,
        finished: int = 0,
        d_BT: Tensor | None = None,
    ) -> Tensor:
        if history is not None:
            return run(x_BTHWC, t_BT, commands_BTA, history, finished, d_BT)
        x_BTPD, modulation_BT6D, condition_BTD = frames.start(dynamics, x_BTHWC, t_BT, commands_BTA, d_BT)
        shared = frames.share(dynamics, x_BTPD, modulation_BT6D, x_BTHWC.shape[2:4])
        x_BTPD = dynamics.run(x_BTPD, shared, range(len(dynamics.blocks)))
        return frames.finish(dynamics, x_BTHWC, t_BT, x_BTPD, condition_BTD)

    dynamics.forward = forward
