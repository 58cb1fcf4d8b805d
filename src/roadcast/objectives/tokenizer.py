"""Train the tokenizer to give back what it was shown."""

from collections.abc import Iterable
from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.nn.image_quality import psnr
from roadcast.nn.lpips import LPIPS
from roadcast.objectives.base import Objective, Terms, begun_alike, register_objective
from roadcast.tokenizer.adversary import Adversary
from roadcast.tokenizer.alignment import Alignment
from roadcast.tokenizer.bottleneck import KLBottleneck
from roadcast.tokenizer.losses import PICTURE_LOSSES, equivariance_loss
from roadcast.tokenizer.perceptual import lpips_loss


@register_objective("tokenizer")
class TokenizerObjective(Objective):
    """`L = sum_i w_i L_i`, each weight w_i an option by the name of its loss; a loss of weight 0 is not computed.

    Of pictures: `pixel`, `structure`, `multiscale`, `gradient`, `difference` (tokenizer/losses.py), `lpips`
    (tokenizer/perceptual.py). Of latents: `equivariance`, and `kl`, which the bottleneck of that name needs. Of both sides:
    `adversarial`, with a discriminator that first speaks after `adversarial_from` batches and whose slope is held by `r1`
    (tokenizer/adversary.py). By the world's encoder of features, trained in a stage before and frozen in this one: `features`,
    how far the picture is from the true one in its eyes, and `alignment` of latents with it (tokenizer/alignment.py).

    In training the decoder reads shaken latents (tokenizer/bottleneck.py), so that neighbours come to mean the same.
    """

    reads = makes = "frames"
    defaults: ClassVar[dict[str, float]] = {
        **dict.fromkeys(PICTURE_LOSSES, 0.0),
        "pixel": 1.0,
        "structure": 0.2,
        "difference": 0.5,
        "lpips": 0.0,
        "equivariance": 0.0,
        "kl": 0.0,
        "features": 0.0,
        "alignment": 0.0,
        "adversarial": 0.0,
        "adversarial_from": 0.0,
        "r1": 1.0,
    }

    def __init__(self, world: World, options: dict[str, float], losses: dict[str, float]):
        super().__init__(world, options, losses)
        check_options(self.options, world)
        self.picture_losses = {name: loss for name, loss in PICTURE_LOSSES.items() if self.options[name]}
        if self.options["lpips"]:
            self.picture_losses["lpips"] = lpips_loss(world.config.tokenizer.lpips, world.device)
        self.adversary = self.alignment = None
        with begun_alike(world):
            if self.options["adversarial"]:
                first = int(self.options["adversarial_from"])
                self.adversary = Adversary(self.options["adversarial"], first, self.options["r1"])
            if self.options["alignment"]:
                self.alignment = Alignment(world.config.tokenizer.latent_channels, world.config.features.width)
        if world.features is not None:
            world.features.requires_grad_(False)

    @property
    def rests(self) -> bool:
        return self.adversary is not None  # which is silent at first

    @property
    def trained(self) -> nn.Module:
        beside = {"adversary": self.adversary, "alignment": self.alignment}
        beside = {name: part for name, part in beside.items() if part is not None}
        return nn.ModuleDict({"tokenizer": self.world.tokenizer} | beside) if beside else self.world.tokenizer

    def loss(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor, Terms]:
        assert clip.frames_BFHWC is not None
        tokenizer, options = self.world.tokenizer, self.options
        true = clip.frames_BFHWC.float() / 127.5 - 1
        hidden = tokenizer.encode_hidden(clip.frames_BFHWC)
        z = tokenizer.bottleneck(hidden)
        shaken = tokenizer.bottleneck.sample(hidden, torch.randn(z.shape, generator=generator).to(z))
        made = tokenizer.decode_raw(shaken)
        terms = {name: loss(made, true) for name, loss in self.picture_losses.items()}
        if options["equivariance"]:
            terms["equivariance"] = equivariance_loss(tokenizer.decode_raw, shaken, true)
        terms |= self.feature_terms(made, true, z)
        if isinstance(tokenizer.bottleneck, KLBottleneck):
            terms["kl"] = tokenizer.bottleneck.divergence(hidden)
        loss = torch.stack([options[name] * term for name, term in terms.items()]).sum()
        loss = self.losses.add_to(loss, terms, made, true, clip)
        if self.adversary is not None and torch.is_grad_enabled():  # a held-out loss is of pictures alone
            adversarial = self.adversary(made, true, loss, tokenizer.decoder.out.conv.weight)
            loss, terms = loss + sum(adversarial.values()), terms | adversarial
        with torch.no_grad():
            quality = {"psnr": psnr(made.clamp(-1, 1), true, data_range=2.0).mean(), "latent_std": z.std()}
        return loss, terms | quality

    def feature_terms(self, made: Tensor, true: Tensor, z: Tensor) -> Terms:
        """What the frozen encoder says: `features`, `mean |norm(E(made)) - norm(E(true))|`, and `alignment`."""
        encoder, terms = self.world.features, {}
        if encoder is None or not (self.options["features"] or self.options["alignment"]):
            return terms
        with torch.no_grad():
            target = encoder(true)
        if self.options["features"]:
            terms["features"] = F.l1_loss(*(F.layer_norm(x.float(), x.shape[-1:]) for x in (encoder(made), target)))
        if self.alignment is not None:
            rows = encoder.grid(true)[1]
            terms["alignment"] = self.alignment(z, rearrange(target, "b t (h w) d -> b t h w d", h=rows))
        return terms

    @torch.no_grad()
    def finish(self, clips: Iterable[Clip]) -> None:
        """Measure mean and deviation of each latent channel over `clips`, and keep them in the tokenizer."""
        tokenizer = self.world.tokenizer
        clips = (clip.to(self.world.device) for clip in clips)
        z = torch.cat([tokenizer.encode_raw(clip.frames_BFHWC).flatten(0, -2) for clip in clips])
        tokenizer.mean.copy_(z.mean(dim=0))
        tokenizer.std.copy_(z.std(dim=0).clamp_min(1e-4))


def check_options(options: dict[str, float], world: World) -> None:
    """Raise `UserError` for weights that the world's configuration cannot serve."""
    tokenizer, shorter = world.config.tokenizer, min(world.config.data.height, world.config.data.width)
    if (options["kl"] > 0) != (tokenizer.bottleneck == "kl"):
        raise UserError(
            f"option kl = {options['kl']} with tokenizer.bottleneck = {tokenizer.bottleneck!r}: give the divergence a weight, "
            "for example kl = 1e-3, with bottleneck 'kl', and with no other"
        )
    if options["equivariance"] and shorter < 2 * tokenizer.stride:
        raise UserError(
            f"option equivariance halves the latents, and {shorter} pixels are one latent of stride {tokenizer.stride}; "
            f"use pictures of {2 * tokenizer.stride} pixels or more, or set it to 0"
        )
    if options["lpips"] and shorter < LPIPS.smallest:
        raise UserError(
            f"option lpips takes pictures of {LPIPS.smallest} pixels or more, and these have {shorter}; set it to 0"
        )
    if (options["features"] or options["alignment"]) and world.features is None:
        raise UserError(
            "options features and alignment ask the world's encoder of features, and features.depth = 0; set it and train the "
            "encoder in a stage before (recipes/features.toml), or set them to 0"
        )
    if not any(options[name] for name in (*PICTURE_LOSSES, "lpips")):
        raise UserError("every loss of pictures has weight 0, so that nothing would be learnt; leave pixel = 1.0")
