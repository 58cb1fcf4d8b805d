"""Train the tokenizer to give back what it was shown."""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from roadcast.data.clip import Clip
from roadcast.objectives.base import Objective, Terms, register_objective
from roadcast.tokenizer.losses import difference_loss, pixel_loss, structure_loss


@register_objective("tokenizer")
class TokenizerObjective(Objective):
    """`L = w_p |x - x'| + w_s (1 - SSIM) + w_d |dx - dx'|`, latents shaken by noise so that their neighbours mean the same.

    The noise takes the place of a KL term: a decoder that must read `z + sigma n` makes the latent space smooth.
    """

    reads = "frames"
    defaults: ClassVar[dict[str, float]] = {"pixel": 1.0, "structure": 0.2, "difference": 0.5}

    @property
    def trained(self) -> nn.Module:
        return self.world.tokenizer

    def loss(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor, Terms]:
        assert clip.frames_BFHWC is not None
        tokenizer = self.world.tokenizer
        true = clip.frames_BFHWC.float() / 127.5 - 1
        z = tokenizer.encode_raw(clip.frames_BFHWC)
        noise = torch.randn(z.shape, generator=generator).to(z)
        made = tokenizer.decode_raw(z + tokenizer.config.latent_noise * noise)
        terms = {
            "pixel": pixel_loss(made, true),
            "structure": structure_loss(made, true),
            "difference": difference_loss(made, true),
        }
        loss = torch.stack([self.options[name] * term for name, term in terms.items()]).sum()
        psnr = -10 * ((made.clamp(-1, 1) - true).square().mean(dim=(2, 3, 4)) / 4).clamp_min(1e-10).log10()
        return loss, terms | {"psnr": psnr.mean(), "latent_std": z.std()}

    @torch.no_grad()
    def finish(self, clips: Iterable[Clip]) -> None:
        """Measure mean and deviation of each latent channel over `clips`, and keep them in the tokenizer."""
        tokenizer = self.world.tokenizer
        z = torch.cat([tokenizer.encode_raw(clip.frames_BFHWC).flatten(0, -2) for clip in clips])
        tokenizer.mean.copy_(z.mean(dim=0))
        tokenizer.std.copy_(z.std(dim=0).clamp_min(1e-4))
