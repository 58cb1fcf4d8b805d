"""The tokenizer: a causal convolutional autoencoder from frames to a small grid of latents, and back.

    frames [F, H, W, 3] -> patches -> (blocks, half the size) x n -> tanh -> latents [T, H/s, W/s, C],  T = F / time_stride

Channel norms and causal kernels only, so a clip may be read whole or frame by frame (nn/causal_conv.py) with one result.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from roadcast.config import TokenizerConfig
from roadcast.nn.causal_conv import CausalConv3d, Past, Stream
from roadcast.nn.norm import RMSNorm


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


class Streamed(nn.Module):
    """A network over video in functional form, for whole graphs: `(x, past) -> (y, past)`, tensors in and tensors out.

    `past` is what came out of the call over the frames before: () before the first, or `empty_past`, which means the same but
    has the shapes of every later past, so that one compiled graph serves all frames.
    """

    channels: int
    step: int  # the fewest frames (or latents) of one call

    def forward(self, x_BTHWC: Tensor, past: Past = ()) -> tuple[Tensor, Past]:
        stream = Stream(past)
        return self.run(x_BTHWC, stream), stream.commit()

    def run(self, x_BTHWC: Tensor, stream: Stream) -> Tensor:
        """The layers in order, with the stream that carries what they remember."""
        raise NotImplementedError

    @torch.no_grad()
    def empty_past(self, batch: int, height: int, width: int) -> Past:
        """The past before the first of inputs [batch, T, height, width, channels]: all zeros."""
        x = next(self.parameters()).new_zeros(batch, self.step, height, width, self.channels)
        _, past = self.forward(x)  # past any compiler that has taken the place of `self(x)`
        return tuple(torch.zeros_like(tensor) for tensor in past)


class Encoder(Streamed):
    """Frames [B, F, H, W, 3] in [-1, 1] to latents [B, T, h, w, C] in [-1, 1]."""

    def __init__(self, config: TokenizerConfig):
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
        self.out = CausalConv3d(widths[-1] * config.time_stride, config.latent_channels)

    def run(self, x: Tensor, stream: Stream) -> Tensor:
        x = rearrange(x, "b t (h p) (w q) c -> b t h w (p q c)", p=self.patch, q=self.patch)
        for layer in self.layers:
            x = layer(x, stream)
        x = rearrange(F.silu(self.norm(x)), "b (t s) h w c -> b t h w (s c)", s=self.time_stride)
        return torch.tanh(self.out(x, stream))


class Decoder(Streamed):
    """Latents [B, T, h, w, C] to frames [B, F, H, W, 3], about [-1, 1]."""

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.channels, self.step = config.latent_channels, 1
        self.patch, self.time_stride = config.patch, config.time_stride
        widths, kernel = config.widths[::-1], config.time_kernel
        self.inlet = CausalConv3d(config.latent_channels, widths[0] * config.time_stride)
        self.layers = nn.ModuleList()
        for level, width in enumerate(widths):
            if level:
                self.layers.append(Up(widths[level - 1], width))
            self.layers.extend(ResidualBlock(width, kernel) for _ in range(config.decoder_blocks))
        self.norm = RMSNorm(widths[-1])
        self.out = CausalConv3d(widths[-1], 3 * self.patch**2)

    def run(self, z: Tensor, stream: Stream) -> Tensor:
        x = rearrange(self.inlet(z, stream), "b t h w (s c) -> b (t s) h w c", s=self.time_stride)
        for layer in self.layers:
            x = layer(x, stream)
        x = self.out(F.silu(self.norm(x)), stream)
        return rearrange(x, "b t h w (p q c) -> b t (h p) (w q) c", p=self.patch, q=self.patch)


class Tokenizer(nn.Module):
    """Encoder, decoder, and the latents' mean and deviation by channel, which `encode` and `decode` take out and put back."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
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

    def encode_raw(self, frames_BFHWC: Tensor, stream: Stream | None = None) -> Tensor:
        """Latents in [-1, 1] as the encoder makes them: the differentiable half of `encode`."""
        return self._run(self.encoder, frames_BFHWC.float() / 127.5 - 1, stream)

    def decode_raw(self, raw_BTHWC: Tensor, stream: Stream | None = None) -> Tensor:
        """Frames, about [-1, 1], of latents in [-1, 1]: the differentiable half of `decode`."""
        return self._run(self.decoder, raw_BTHWC, stream)

    @staticmethod
    def _run(network: Streamed, x: Tensor, stream: Stream | None) -> Tensor:
        stream = stream or Stream()
        y, stream.past = network(x, stream.past)
        return y
