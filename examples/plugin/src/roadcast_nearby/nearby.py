"""A loss of pictures: the road near the car counts, the sky does not."""

from torch import Tensor

from roadcast.data.clip import Clip
from roadcast.objectives import register_loss


@register_loss("nearby", compares="frames")
def nearby_loss(made_BFHWC: Tensor, true_BFHWC: Tensor, clip: Clip) -> Tensor:
    """`mean |made - true|` over the lower half of each picture."""
    half = made_BFHWC.shape[2] // 2
    return (made_BFHWC[:, :, half:] - true_BFHWC[:, :, half:]).abs().mean()
