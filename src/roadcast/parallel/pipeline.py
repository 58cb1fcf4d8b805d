"""The dynamics cut into stages, one a process, through which the micro-batches of a step follow each other.

Schedule 1F1B (Narayanan et al. 2019, PipeDream, section 3.2, with the flush of Narayanan et al. 2021, section 2.2): a stage goes
forward for as many micro-batches as there are stages from it to the end, and then backward for one and forward for one in turn.
Between stages travel the tokens [B, T, P, D], what sets the norms of all blocks [B, T, 6, D] and the condition [B, T, D], so
that every weight lies on one stage alone: the first has the way in, the last the way out, the blocks are shared out.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

from roadcast.data.clip import Clip
from roadcast.dynamics.model import Dynamics
from roadcast.errors import UserError
from roadcast.parallel.context import Frames
from roadcast.parallel.engine import Micro, OneCall, Problem, Terms, mean_terms
from roadcast.parallel.mesh import Mesh
from roadcast.parallel.precision import autocast
from roadcast.parallel.reduce import average_gradients, gradient_norm, whole_tensors
from roadcast.parallel.shard import shard

WAY_IN = ("inlet", "registers", "embed_action", "action_token", "embed_noise", "embed_step", "shared_modulation")
WAY_OUT = ("final_modulation", "outlet")


class Stage(nn.Module):
    """One stage's part of the dynamics: the rest of their weights is dropped, and what is left keeps its names."""

    def __init__(self, dynamics: Dynamics, mesh: Mesh, dtype: torch.dtype):
        super().__init__()
        depth, stage, stages = len(dynamics.blocks), mesh.stage, mesh.stages
        if stages > depth:
            raise UserError(
                f"compute.pipeline = {stages}, and the dynamics have {depth} blocks; use {depth} stages or fewer"
            )
        self.blocks = range(depth * stage // stages, depth * (stage + 1) // stages)
        self.first, self.last = stage == 0, stage == stages - 1
        self.frames, self.device, self.dtype = Frames.of(mesh), mesh.device, dtype
        for name in () if self.first else WAY_IN:
            setattr(dynamics, name, None)
        for name in () if self.last else WAY_OUT:
            setattr(dynamics, name, None)
        for i in set(range(depth)) - set(self.blocks):
            dynamics.blocks[i] = nn.Identity()
        self.dynamics = dynamics

    def forward(
        self, *passed: Tensor, x_BTHWC: Tensor, t_BT: Tensor, commands_BTA: Tensor
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """What the next stage goes on from, or the prediction [B, T, H, W, C]; `passed` is what the stage before gave."""
        dynamics, frames = self.dynamics, self.frames
        with autocast(self.device, self.dtype):
            start = frames.start(dynamics, x_BTHWC, t_BT, commands_BTA) if self.first else passed
            x_BTPD, modulation_BT6D, condition_BTD = start
            shared = frames.share(dynamics, x_BTPD, modulation_BT6D, x_BTHWC.shape[2:4])
            x_BTPD = dynamics.run(x_BTPD, shared, self.blocks)
            if self.last:
                return frames.finish(dynamics, x_BTHWC, t_BT, x_BTPD, condition_BTD)
            return x_BTPD, modulation_BT6D, condition_BTD


class Pipelined:
    """The `Engine` (parallel/engine.py) of stages, beside replicas or on sharded weights.

    Every stage prepares every problem: it reads the clips that its first stage reads, and the last one judges. The problems of a
    step travel as one batch that the schedule cuts up again, and each one's number with them, as target.
    """

    def __init__(self, objective: OneCall, mesh: Mesh, dtype: torch.dtype):
        assert mesh.pipe is not None and isinstance(objective.trained, Dynamics)
        self.objective, self.mesh, self.dtype, self.pipe = objective, mesh, dtype, mesh.pipe
        self.model = objective.trained
        self.stage = Stage(self.model, mesh, dtype)
        if mesh.sharded:
            shard(self.stage, mesh.weights, dtype)
        self.problems: list[Problem] = []
        self.judged: dict[int, Terms] = {}
        self.scaler = torch.amp.GradScaler(mesh.device.type, enabled=False)
        self.training: tuple[object, Schedule1F1B] | None = None

    def gradients(self, micros: Sequence[Micro], scaler: torch.amp.GradScaler) -> Terms:
        self.scaler = scaler
        scaler.scale(torch.zeros((), device=self.mesh.device))  # every stage's scaler begins, the last one's loss or no
        self.problems = [self.objective.prepare(clip, generator) for clip, generator in micros]
        shapes = [x.shape for x in _asked(self.problems[0]).values()]
        if self.training is None or self.training[0] != shapes:  # places to receive into are made once for each shape
            schedule = Schedule1F1B(self._stage(), len(micros), loss_fn=self._loss, scale_grads=False)
            self.training = shapes, schedule
        self._run(self.training[1])
        if not self.mesh.sharded and self.mesh.replicas is not None:
            average_gradients(self.model.parameters(), self.mesh.replicas)
        return self._everywhere()

    @torch.no_grad()
    def evaluate(self, clip: Clip, generator: torch.Generator) -> Terms:
        self.problems = [self.objective.prepare(clip, generator)]
        answer_BTHWC = self._run(ScheduleGPipe(self._stage(), 1))
        if answer_BTHWC is not None:
            self._judge(answer_BTHWC, 0)
        return self._everywhere()

    def norm(self) -> Tensor:
        return gradient_norm(self.model.parameters(), self.mesh, self.pipe)

    def whole(self, tensors: dict[str, Tensor]) -> dict[str, Tensor] | None:
        return whole_tensors(tensors, self.mesh, self.pipe)

    def _stage(self) -> PipelineStage:
        return PipelineStage(self.stage, self.mesh.stage, self.mesh.stages, self.mesh.device, group=self.pipe)

    def _run(self, schedule: Schedule1F1B | ScheduleGPipe) -> Tensor | None:
        """All problems through the stages, and what comes out of the last one; None on the others."""
        asked = [_asked(problem) for problem in self.problems]
        batch = {name: torch.cat([row[name] for row in asked]) for name in asked[0]}
        into = (batch["x_BTHWC"],) if self.stage.first else ()
        numbers = torch.arange(len(asked), device=self.mesh.device)
        run = schedule.step if torch.is_grad_enabled() else schedule.eval
        return run(*into, target=numbers if self.stage.last else None, **batch)

    def _loss(self, answer_BTHWC: Tensor, number: Tensor) -> Tensor:
        return self.scaler.scale(self._judge(answer_BTHWC, int(number)) / len(self.problems))

    def _judge(self, answer_BTHWC: Tensor, number: int) -> Tensor:
        with autocast(self.mesh.device, self.dtype):
            loss, terms = self.objective.judge(self.problems[number], answer_BTHWC)
        self.judged[number] = {"loss": loss.detach()} | terms
        return loss

    def _everywhere(self) -> Terms:
        """The means of the terms that the last stage found, told to all."""
        found = mean_terms(list(self.judged.values()))
        self.judged, self.problems = {}, []
        told = [{name: float(value) for name, value in found.items()}]
        dist.broadcast_object_list(told, group=self.pipe, group_src=self.mesh.stages - 1)
        return {name: torch.tensor(value, device=self.mesh.device) for name, value in told[0].items()}


def _asked(problem: Problem) -> dict[str, Tensor]:
    """What the dynamics are called with, by name."""
    return {"x_BTHWC": problem.x_BTHWC, "t_BT": problem.t_BT, "commands_BTA": problem.commands_BTA}
