"""What a stage is in the middle of: weights, moments and average, saved by the names of the parameters.

Names are the same on one process, with FSDP's shards, and on the stages of a pipeline that hold a part of the model each; so is
what is saved, and each of them resumes what any other began.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from roadcast.training.checkpoints import Checkpoints, Saved
from roadcast.training.ema import EMA


@dataclass(frozen=True)
class TrainingState:
    """The model, the optimizers that share out its parameters, and its average, as they are on this rank."""

    model: nn.Module
    optimizers: Sequence[Optimizer]
    ema: EMA

    def save(self, checkpoints: Checkpoints, step: int, facts: dict[str, Any], score: float | None = None) -> None:
        """Save all of it, with `facts` (JSON); the rest is as `Checkpoints.save` has it."""
        checkpoints.save(step, self.tensors(), {**facts, "ema_updates": self.ema.updates}, score)

    def restore(self, checkpoints: Checkpoints, saved: Saved) -> dict[str, Any]:
        """Become what was saved, to the bit, and return its facts, "step" among them.

        A parameter that no step had been taken with has no moments afterwards either. Raises `UserError` for another model's state.
        """
        parameters, held = self.parameters(), checkpoints.layout(saved).get("optimizer", {})
        moments = {name: _room(held[name], parameters[name]) for name in parameters if name in held}
        facts = checkpoints.load(saved, self._tensors(moments))
        for optimizer in self.optimizers:
            names = self._names(optimizer)
            state = {number: moments[name] for number, name in enumerate(names) if name in moments}
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        self.ema.updates = facts["ema_updates"]
        return facts

    def tensors(self) -> dict[str, Any]:
        """{"model": {name: tensor}, "optimizer": {name: {slot: tensor}}, "ema": {name: tensor}}: the tensors themselves, no copies."""
        moments = {}
        for optimizer in self.optimizers:
            names = self._names(optimizer)
            for number, slots in optimizer.state_dict()["state"].items():
                moments[names[number]] = {slot: value for slot, value in slots.items() if value is not None}
        return self._tensors(moments)

    def parameters(self) -> dict[str, nn.Parameter]:
        """The parameters by name. Asking for the state dict, rather than for them, has FSDP put its shards back in place."""
        weights = self.model.state_dict(keep_vars=True)
        return {name: value for name, value in weights.items() if isinstance(value, nn.Parameter)}

    def _tensors(self, moments: dict[str, dict[str, Tensor]]) -> dict[str, Any]:
        parts = {"model": dict(self.model.state_dict()), "optimizer": moments, "ema": self.ema.average}
        return {part: tensors for part, tensors in parts.items() if tensors}

    def _names(self, optimizer: Optimizer) -> list[str]:
        """The names of an optimizer's parameters in its own order, in which it numbers their moments."""
        names = {parameter: name for name, parameter in reversed(self.parameters().items())}
        return [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]


def _room(slots: dict[str, Tensor], parameter: nn.Parameter) -> dict[str, Tensor]:
    """Room for moments: where one has the parameter's shape, on its device and sharded as it is."""
    return {
        slot: torch.empty_like(parameter, dtype=value.dtype, requires_grad=False)
        if value.shape == parameter.shape
        else torch.empty(value.shape, dtype=value.dtype)
        for slot, value in slots.items()
    }
