"""The adversary of a tokenizer's training: a discriminator, and when and how it speaks."""

import torch
from torch import Tensor, nn

from roadcast.nn.discriminator import (
    PatchDiscriminator,
    adaptive_weight,
    discriminator_hinge,
    generator_hinge,
    r1_penalty,
)


class Adversary(nn.Module):
    """Both sides of adversarial training in one loss, for one optimizer and one backward pass.

    The decoder's term sees the discriminator's weights as constants, the discriminator's terms see the decoder's picture as
    one: no gradient of either reaches the other side.

    weight  of the decoder's term, on top of what `adaptive_weight` finds
    first   batches to let pass before it speaks; they are counted in a buffer, so that a resumed run goes on counting
    r1      weight of the penalty on the discriminator's slope at true pictures
    """

    batches: Tensor

    def __init__(self, weight: float, first: int, r1: float):
        super().__init__()
        self.weight, self.first, self.r1 = weight, first, r1
        self.discriminator = PatchDiscriminator()
        self.register_buffer("batches", torch.tensor(0))

    def forward(self, made: Tensor, true: Tensor, reconstruction: Tensor, last_layer: Tensor) -> dict[str, Tensor]:
        """The terms of one batch, each with its weight, to be added up: {} as long as it is silent.

        made, true      images [..., H, W, 3] in [-1, 1]
        reconstruction  the other losses' sum, and
        last_layer      the decoder's last kernel, by whose gradients the two sides are weighed (`adaptive_weight`)
        returns         "adversarial" for the decoder, "discriminator" and "r1" for the discriminator
        """
        self.batches += 1
        if self.batches <= self.first:
            return {}
        fixed = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        fooled = generator_hinge(torch.func.functional_call(self.discriminator, fixed, (made,)))
        terms = {"adversarial": self.weight * adaptive_weight(reconstruction, fooled, last_layer) * fooled}
        true = true.detach().requires_grad_(self.r1 > 0)
        scores = self.discriminator(true)
        terms["discriminator"] = discriminator_hinge(scores, self.discriminator(made.detach()))
        if self.r1 > 0:
            terms["r1"] = self.r1 * r1_penalty(scores, true)
        return terms
