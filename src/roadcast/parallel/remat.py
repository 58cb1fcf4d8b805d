"""Activation checkpointing, laid around the blocks of a network from outside: the networks know nothing of it.

What a block computes inside is not kept for the backward pass but computed again, from the block's input, when that pass
arrives: depth n then takes the memory of n inputs and of one block, and one more forward pass of time (Chen et al. 2016,
"Training Deep Nets with Sublinear Memory Cost", section 4). Losses and gradients are the same numbers.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from roadcast.config import REMAT_MODES
from roadcast.dynamics.model import Block, Pass
from roadcast.nn.causal_conv import Past, Stream
from roadcast.tokenizer.model import ResidualBlock

aten = torch.ops.aten
KEPT = {
    aten.mm.default,
    aten.addmm.default,
    aten.bmm.default,
    aten.baddbmm.default,
    aten.convolution.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.higher_order.flex_attention,
}
"""Operations whose results mode "selective" keeps: those that take the time, while norms, gates and rotations take the memory."""

Run = Callable[..., Any]


def apply_remat(module: nn.Module, mode: str) -> None:
    """Have `module` keep less for its backward pass; its weights, their names and all it computes stay as they are.

    mode  "none"       keep everything
          "block"      keep the input of each block of the dynamics and of each residual block of the tokenizer, alone
          "selective"  keep the results of products, convolutions and attention as well, so that what is computed again is cheap
                       (after Korthikanti et al. 2022, "Reducing Activation Recomputation", section 5, who chose by the same rule)

    To be called once, before any compiler. Blocks that run without gradients, or on a past that is carried in (a KV cache, a
    stream under way), run as they did: that past has moved on when the backward pass comes.
    """
    assert mode in REMAT_MODES, mode
    if mode == "none":
        return
    contexts = {"context_fn": partial(create_selective_checkpoint_contexts, _policy)} if mode == "selective" else {}
    again = partial(checkpoint, use_reentrant=False, **contexts)
    for part in module.modules():
        if isinstance(part, Block):
            part.forward = _without_cache(part.forward, again)
        elif isinstance(part, ResidualBlock):
            part.forward = _without_past(part.forward, again)


def _without_cache(run: Run, again: Run) -> Run:
    """A dynamics block's forward that goes through `again` where there is no cache."""

    def forward(x_BTPD: Tensor, shared: Pass, *rest: int) -> Tensor:
        if shared.cache is not None or not torch.is_grad_enabled():
            return run(x_BTPD, shared, *rest)
        return again(lambda x: run(x, shared, *rest), x_BTPD)

    return forward


def _without_past(run: Run, again: Run) -> Run:
    """A residual block's forward that goes through `again` at the start of a stream, as a function from tensors to tensors."""

    def afresh(x: Tensor) -> tuple[Tensor, Past]:
        stream = Stream()
        return run(x, stream), stream.commit()

    def forward(x: Tensor, stream: Stream) -> Tensor:
        if stream.past or not torch.is_grad_enabled():
            return run(x, stream)
        y, kept = again(afresh, x)
        for last in kept:
            stream.before(last, last.shape[1])  # what the block's convolutions would have told the stream themselves
        return y

    return forward


def _policy(context: Any, operation: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in KEPT else CheckpointPolicy.PREFER_RECOMPUTE
