"""In place of timm in `peers.py`: the three names that peers import from it, the same maths with the same weights."""

from collections.abc import Callable

from einops import rearrange
from peers_common import stand_in
from torch import Tensor, nn


class Mlp(nn.Module):
    """Two linear layers with `act_layer` between: [..., in_features] to the same."""

    def __init__(
        self, in_features: int, hidden_features: int, act_layer: Callable[[], nn.Module] = nn.GELU, drop: float = 0
    ):
        super().__init__()
        assert drop == 0
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.act = act_layer()
        self.fc2 = nn.Linear(hidden_features, in_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class PatchEmbed(nn.Module):
    """A strided convolution, images [B, C, H, W] to tokens [B, L, D]."""

    def __init__(self, img_size: tuple[int, int], patch_size: int, in_chans: int, embed_dim: int):
        super().__init__()
        self.patch_size = patch_size, patch_size
        self.num_patches = (img_size[0] // patch_size) * (img_size[1] // patch_size)
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return rearrange(self.proj(x_BCHW), "b d h w -> b (h w) d")


TIMM = (
    stand_in("timm"),
    stand_in("timm.layers"),
    stand_in("timm.layers.helpers", to_2tuple=lambda n: (n, n)),
    stand_in("timm.models"),
    stand_in("timm.models.vision_transformer", Mlp=Mlp, PatchEmbed=PatchEmbed),
)
