import torch
import torch.nn.functional as F
from einops import rearrange

from roadcast.nn.causal_conv import CausalConv3d, Stream


def test_equals_a_three_dimensional_convolution_with_zeros_before_the_first_frame():
    conv = CausalConv3d(3, 5, time_kernel=3)
    x = torch.randn(2, 6, 4, 8, 3)
    weight = rearrange(conv.conv.weight, "o (t c) h w -> o c t h w", t=3)
    padded = F.pad(rearrange(x, "b t h w c -> b c t h w"), (1, 1, 1, 1, 2, 0))
    expected = F.conv3d(padded, weight, conv.conv.bias)
    torch.testing.assert_close(conv(x, Stream()), rearrange(expected, "b c t h w -> b t h w c"))


def test_a_cloned_stream_goes_its_own_way():
    conv = CausalConv3d(2, 2, time_kernel=2)
    a, b = torch.randn(2, 1, 1, 4, 4, 2)
    stream = Stream()
    conv(a, stream)
    stream.commit()
    twin = stream.clone()
    conv(b, stream)
    stream.commit()
    once = conv(a, twin)
    torch.testing.assert_close(once, conv(torch.cat([a, a], dim=1), Stream())[:, 1:])
