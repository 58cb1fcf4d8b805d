"""The optimizer and its learning rate."""

import math

import torch
from torch import nn

from roadcast.config import StageConfig


def build_optimizer(module: nn.Module, stage: StageConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019); weight decay on matrices and kernels only, not on gains, biases and tables."""
    decayed = [p for p in module.parameters() if _is_matrix(p)]
    rest = [p for p in module.parameters() if not _is_matrix(p)]
    groups = [{"params": decayed, "weight_decay": stage.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=stage.lr, betas=stage.betas, eps=1e-8, fused=True)


def learning_rate(step: int, stage: StageConfig) -> float:
    """Linear warm-up to `lr`, then a half cosine down to `lr_final` (Loshchilov & Hutter 2017, eq. 5)."""
    if step < stage.warmup:
        return stage.lr * (step + 1) / stage.warmup
    progress = (step - stage.warmup) / max(1, stage.steps - stage.warmup)
    return stage.lr_final + (stage.lr - stage.lr_final) * 0.5 * (1 + math.cos(math.pi * progress))


def _is_matrix(parameter: nn.Parameter) -> bool:
    return parameter.ndim >= 2 and parameter.shape[0] > 8
