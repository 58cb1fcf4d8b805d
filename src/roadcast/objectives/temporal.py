"""Losses of time, between frames: that they change as they truly do, that the picture moves along, that videos look alike to an encoder."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.objectives.losses import register_loss
from roadcast.perception.flow import backward_flow


@register_loss("frame_difference", compares="frames")
def frame_difference_loss(made_BFHWC: Tensor, true_BFHWC: Tensor, clip: Clip) -> Tensor:
    """`mean |d_t made - d_t true|`, differences along time: the picture changes where and as much as it truly does. Two frames or more.

    The term `difference` of diffusion forcing is the same of latents, squared. After the gradient
    difference loss of Mathieu et al. 2016, along time in place of space.
    """
    return F.l1_loss(made_BFHWC.diff(dim=1), true_BFHWC.diff(dim=1))


@register_loss("flow_warp", compares="frames")
def flow_warp_loss(made_BFHWC: Tensor, true_BFHWC: Tensor, clip: Clip) -> Tensor:
    """`sum M |made_t - warp(made_{t-1}, w)| / sum M`, w the optical flow of the true video from frame t back to t - 1.

    The short-term temporal loss of Lai et al. 2018, "Learning Blind Video Temporal Consistency", with the pixels that both true frames
    show for M (`perception.flow.seen_in_both`): what was made moves as the truth does, and nothing flickers on the way. A blank picture
    has none of this loss, so it is for beside one that knows the picture. Two frames or more.
    """
    with torch.no_grad():
        pixels = (true_BFHWC.clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8)
        flow_NHW2, seen_NHW = (x.flatten(0, 1) for x in backward_flow(pixels))
    before, after = made_BFHWC[:, :-1].flatten(0, 1).float(), made_BFHWC[:, 1:].flatten(0, 1).float()
    error_NHW = (after - warp(before, flow_NHW2)).abs().mean(dim=-1)
    return (seen_NHW * error_NHW).sum() / seen_NHW.sum().clamp_min(1)


def warp(frames_NHWC: Tensor, flow_NHW2: Tensor) -> Tensor:
    """Frames read, between their pixels too, where the flow from each pixel leads: (right, down) in pixels. Gradients reach the frames."""
    height, width = frames_NHWC.shape[1:3]
    v, u = (torch.arange(n, device=flow_NHW2.device) for n in (height, width))
    at = torch.stack(torch.meshgrid(u, v, indexing="xy"), dim=-1) + flow_NHW2
    grid = 2 * at / (at.new_tensor([width, height]) - 1) - 1
    x_NCHW = rearrange(frames_NHWC, "n h w c -> n c h w")
    moved = F.grid_sample(x_NCHW, grid, padding_mode="border", align_corners=True)
    return rearrange(moved, "n c h w -> n h w c")


@register_loss("feature_consistency", compares="frames")
class FeatureConsistency:
    """`mean (1 - cos(norm E(made), norm E(true)))` over the tokens of the world's own encoder E of videos, frozen.

    The similarity of Yu et al. 2025 (REPA), of rows brought to mean 0 and deviation 1 as those are that E was taught by
    (V-JEPA, Bardes et al. 2024, section 3.3): without it what all tokens share would hide what tells them apart. A token is a few
    frames deep and sees all others, so motion is in it. Frames must fill tubelets, as a `UserError` of the encoder says.
    """

    def __init__(self, world: World):
        if world.features is None:
            raise UserError(
                "loss 'feature_consistency' asks the world's encoder of features, and features.depth = 0; set it and train the encoder "
                "in a stage before (recipes/features.toml), or take the loss out of the stage's losses"
            )
        self.encoder = world.features.requires_grad_(False)

    def __call__(self, made_BFHWC: Tensor, true_BFHWC: Tensor, clip: Clip) -> Tensor:
        with torch.no_grad():
            true = self.encoder(true_BFHWC)
        rows = (F.layer_norm(x.float(), x.shape[-1:]) for x in (self.encoder(made_BFHWC), true))
        return 1 - F.cosine_similarity(*rows, dim=-1).mean()
