"""The tokenizer: a causal convolutional autoencoder from frames to a small grid of latents, and back.

    frames [F, H, W, 3] -> patches -> (blocks, half the size) x n -> bottleneck -> latents [T, H/s, W/s, C],  T = F / time_stride

Channel norms and causal kernels only, so a clip may be read whole or frame by frame (nn/causal_conv.py) with one result.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from roadcast.config import TokenizerConfig
from roadcast.nn.causal_conv import CausalConv3d, Stream, Streamed
from roadcast.nn.norm import RMSNorm
from roadcast.tokenizer.bottleneck import KLBottleneck, TanhBottleneck


class ResidualBlock(nn.Module):
    """norm, silu, causal 3D convolution; norm, silu, spatial convolution; added to the input."""

    def __init__(self, channels: int, time_kernel: int):
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(channels), RMSNorm(channels)
        self.conv1 = CausalConv3d(channels, channels, time_kernel)
        self.conv2 = CausalConv3d(channels, channels)
        nn.init.zeros_(self.conv2.conv.weight)

    def forward(self, x: Tensor, stream: Stream) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)), stream)
        return x + self.conv2(F.silu(self.norm2(y)), stream)


class Up(nn.Module):
    """Twice the height and width: a convolution to four times the channels, laid out in space (Shi et al. 2016)."""

    def __init__(self, channels: int, out: int):
        super().__init__()
        self.conv = CausalConv3d(channels, 4 * out)

    def forward(self, x: Tensor, stream: Stream) -> Tensor:
        return rearrange(self.conv(x, stream), "b t h w (p q c) -> b t (h p) (w q) c", p=2, q=2)


class Encoder(Streamed):
    """Frames [B, F, H, W, 3] in [-1, 1] to the bottleneck's input [B, T, h, w, outputs]."""

    def __init__(self, config: TokenizerConfig, outputs: int):
        super().__init__()
        self.channels, self.step = 3, config.time_stride
        self.patch, self.time_stride = config.patch, config.time_stride
        widths, kernel = config.widths, config.time_kernel
        self.layers = nn.ModuleList([CausalConv3d(3 * self.patch**2, widths[0], kernel)])
        for level, width in enumerate(widths):
            if level:
                self.layers.append(CausalConv3d(widths[level - 1], width, stride=2))
            self.layers.extend(ResidualBlock(width, kernel) for _ in range(config.encoder_blocks))
        self.norm = RMSNorm(widths[-1])
        self.out = CausalConv3d(widths[-1] * config.time_stride, outputs)

    def run(self, x: Tensor, stream: Stream) -> Tensor:
        x = rearrange(x, "b t (h p) (w q) c -> b t h w (p q c)", p=self.patch, q=self.patch)
        for layer in self.layers:
            x = layer(x, stream)
        x = rearrange(F.silu(self.norm(x)), "b (t s) h w c -> b t h w (s c)", s=self.time_stride)
        return self.out(x, stream)


class Decoder(Streamed):
    """Latents [B, T, h, w, C] to frames [B, F, H, W, 3], about [-1, 1]."""

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.channels, self.step = config.latent_channels, 1
        widths, kernel = (config.decoder_widths or config.widths)[::-1], config.time_kernel
        self.patch, self.time_stride = config.stride // 2 ** (len(widths) - 1), config.time_stride
        self.inlet = CausalConv3d(config.latent_channels, widths[0] * config.time_stride)
        self.layers = nn.ModuleList()
        for level, width in enumerate(widths):
            if level:
                self.layers.append(Up(widths[level - 1], width))
            self.layers.extend(ResidualBlock(width, kernel) for _ in range(config.decoder_blocks))
        self.norm = RMSNorm(widths[-1])
        self.out = CausalConv3d(widths[-1], 3 * self.patch**2)

    def run(self, x: Tensor, stream: Stream) -> Tensor:
        x = rearrange(self.inlet(x, stream), "b t h w (s c) -> b (t s) h w c", s=self.time_stride)
        for layer in self.layers:
            x = layer(x, stream)
        x = self.out(F.silu(self.norm(x)), stream)
        return rearrange(x, "b t h w (p q c) -> b t (h p) (w q) c", p=self.patch, q=self.patch)


class Tokenizer(nn.Module):
    """Encoder, bottleneck, decoder, and the latents' mean and deviation by channel, which `encode` takes out and `decode` puts back."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.config = config
        self.bottleneck = KLBottleneck() if config.bottleneck == "kl" else TanhBottleneck(config.latent_noise)
        self.encoder = Encoder(config, self.bottleneck.inputs(config.latent_channels))
        self.decoder = Decoder(config)
        self.register_buffer("mean", torch.zeros(config.latent_channels))
        self.register_buffer("std", torch.ones(config.latent_channels))

    def encode(self, frames_BFHWC: Tensor, stream: Stream | None = None) -> Tensor:
        """Normalised latents z_BTHWC of uint8 frames; F a multiple of the time stride.

        stream  the state after the frames before these; None when these are the first.
        """
        return (self.encode_raw(frames_BFHWC, stream) - self.mean) / self.std

    def decode(self, z_BTHWC: Tensor, stream: Stream | None = None) -> Tensor:
        """uint8 frames_BFHWC of normalised latents; `stream` as in `encode`, but of the decoder's own."""
        x_BFHWC = self.decode_raw(z_BTHWC * self.std + self.mean, stream)
        return (x_BFHWC.clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8)

    def decode_pieces(self, z_BTHWC: Tensor, latents: int = 16) -> Iterator[Tensor]:
        """`decode`, `latents` time steps at a time: the frames of a clip of any length, in the memory of one piece."""
        stream = Stream()
        for piece_BTHWC in z_BTHWC.split(latents, dim=1):
            yield self.decode(piece_BTHWC, stream)

    def encode_raw(self, frames_BFHWC: Tensor, stream: Stream | None = None) -> Tensor:
        """Latents before their statistics are taken out: the differentiable half of `encode`."""
        return self.bottleneck(self.encode_hidden(frames_BFHWC, stream))

    def encode_hidden(self, frames_BFHWC: Tensor, stream: Stream | None = None) -> Tensor:
        """What the encoder says of uint8 frames, from which the bottleneck makes latents."""
        return self._run(self.encoder, frames_BFHWC.float() / 127.5 - 1, stream)

    def decode_raw(self, raw_BTHWC: Tensor, stream: Stream | None = None) -> Tensor:
        """Frames, about [-1, 1], of latents with their statistics in: the differentiable half of `decode`."""
        return self._run(self.decoder, raw_BTHWC, stream)

    @staticmethod
    def _run(network: Streamed, x: Tensor, stream: Stream | None) -> Tensor:
        stream = stream or Stream()
        y, stream.past = network(x.to(next(network.parameters()).dtype), stream.past)
        return y.to(x.dtype)
