"""A hook that logs how large the weights have become."""

from typing import ClassVar

import torch

from roadcast.training.hooks import Hook, Run, register_hook


@register_hook("weights")
class Weights(Hook):
    """Every `every` steps, the L2 norm of all weights as `weight_norm`."""

    defaults: ClassVar[dict[str, float]] = {"every": 100}

    def step(self, run: Run, step: int, terms: dict[str, float]) -> None:
        if step % self.options["every"] == 0:
            run.log(step, {"weight_norm": float(torch.nn.utils.get_total_norm(list(run.model.parameters())))})
