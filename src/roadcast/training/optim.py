"""The optimizers of a stage."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Muon, Optimizer

from roadcast.config import StageConfig
from roadcast.dynamics.model import Block
from roadcast.errors import UserError
from roadcast.training.offload import Offloaded


def build_optimizers(model: nn.Module, stage: StageConfig, offload: bool = False) -> list[Optimizer]:
    """What moves the parameters of `model`, each of them in one optimizer. One learning rate serves all.

    adamw    AdamW (Loshchilov & Hutter 2019) for everything
    muon     Muon (Jordan et al. 2024) for the matrices of transformer blocks, its step as large as AdamW's:
             `0.2 sqrt(max(rows, columns))` (Liu et al. 2025, eq. 4); AdamW for the rest
    offload  AdamW's moments live in host memory (training/offload.py)

    Weight decay is of matrices and kernels, not of gains, biases and tables. Raises `UserError` where Muon cannot be: without a
    block, with shards of matrices, or off the device.
    """
    if stage.optimizer == "adamw":
        return [_adamw(model.parameters(), stage, offload)]
    matrices = [
        p for b in model.modules() if isinstance(b, Block) for p in b.parameters() if p.ndim == 2 and _is_matrix(p)
    ]
    if not matrices:
        raise UserError(
            "optimizer = 'muon': there are no transformer blocks in this stage, whose matrices it is for; use optimizer = 'adamw'"
        )
    if any(isinstance(p, DTensor) for p in matrices):
        raise UserError("optimizer = 'muon' needs whole matrices; use compute.shard = 1, or optimizer = 'adamw'")
    if offload:
        raise UserError(
            "optimizer = 'muon' multiplies matrices on the device; use compute.offload = false, or optimizer = 'adamw'"
        )
    chosen = set(matrices)
    muon = Muon(matrices, lr=stage.lr, weight_decay=stage.weight_decay, adjust_lr_fn="match_rms_adamw")
    return [muon, _adamw((p for p in model.parameters() if p not in chosen), stage, offload)]


def _adamw(parameters: Iterable[nn.Parameter], stage: StageConfig, offload: bool) -> Optimizer:
    parameters = list(parameters)
    decayed = [p for p in parameters if _is_matrix(p)]
    rest = [p for p in parameters if not _is_matrix(p)]
    groups = [{"params": decayed, "weight_decay": stage.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    options = dict(lr=stage.lr, betas=stage.betas, eps=1e-8, fused=True)
    return Offloaded(groups, options) if offload else AdamW(groups, **options)


def _is_matrix(parameter: torch.Tensor) -> bool:
    return parameter.ndim >= 2 and parameter.shape[0] > 8
