"""Causal 3D convolution that reads a clip whole or frame by frame with the same result.

A kernel of k_t x k x k over time and space is a k x k convolution over k_t frames stacked along channels:
`y[t] = sum_j W_j * x[t - k_t + 1 + j]`, with zeros before the first frame. Two-dimensional kernels are the fast ones
on every machine, and the frames a stream must remember are plainly the k_t - 1 last ones.
"""

import torch
from einops import rearrange
from torch import Tensor, nn

Past = tuple[Tensor, ...]
"""For each causal convolution of a network, in the order they run, its last inputs [B, k_t - 1, H, W, C]; () before a video."""


class Stream:
    """A network's past on its way through one video, to pass to every call over it.

    Inside a call the layers take their turn with `before`; the tensors are replaced, never changed in place, so that `clone`
    is free.
    """

    def __init__(self, past: Past = ()):
        self.past = past
        self._next: list[Tensor] = []

    def before(self, x_BTHWC: Tensor, frames: int) -> Tensor:
        """The `frames` inputs before `x` (zeros at the start of the video); the last `frames` up to now are kept."""
        place, time = len(self._next), x_BTHWC.shape[1]
        past = self.past[place] if self.past else x_BTHWC.new_zeros(len(x_BTHWC), frames, *x_BTHWC.shape[2:])
        if time > frames:
            last = x_BTHWC[:, -frames:].clone()  # a slice would hold the whole clip in memory
        elif time == frames:
            last = x_BTHWC
        else:
            last = torch.cat([past[:, time:], x_BTHWC], dim=1)
        self._next.append(last.detach())
        return past

    def commit(self) -> Past:
        """The network has run over these frames: what it saw becomes the past, which is returned."""
        self.past, self._next = tuple(self._next), []
        return self.past

    def clone(self) -> "Stream":
        return Stream(self.past)


class CausalConv3d(nn.Module):
    """Convolution [B, T, H, W, C] -> [B, T, H', W', C'], causal in time, `same` padding in space.

    The axes lie in memory as written, which is what the convolution kernels call channels-last.
    """

    def __init__(self, channels: int, out: int, time_kernel: int = 1, kernel: int = 3, stride: int = 1):
        super().__init__()
        self.time_kernel = time_kernel
        self.conv = nn.Conv2d(channels * time_kernel, out, kernel, stride, padding=kernel // 2)

    def forward(self, x_BTHWC: Tensor, stream: Stream) -> Tensor:
        batch, time = x_BTHWC.shape[:2]
        if self.time_kernel > 1:
            past = stream.before(x_BTHWC, self.time_kernel - 1)
            if time == 1:  # what a stream does every frame: one copy
                stack = [*past.split(1, dim=1), x_BTHWC]
            else:
                x = torch.cat([past, x_BTHWC], dim=1)
                stack = [x[:, j : j + time] for j in range(self.time_kernel)]
            x_BTHWC = torch.cat(stack, dim=-1)
        y = self.conv(rearrange(x_BTHWC, "b t h w c -> (b t) c h w"))
        return rearrange(y, "(b t) c h w -> b t h w c", b=batch)


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
