"""A convolution and the frozen batch normalisation behind it as one convolution: half the passes over memory."""

from torch import Tensor


def folded(
    weight: Tensor, gain: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, epsilon: float
) -> tuple[Tensor, Tensor]:
    """Weight [O, I, ...] and bias [O], float32, of the convolution that equals one without bias and the normalisation of its output.

    `g (W x - m) / (v + e)^1/2 + b = (g / (v + e)^1/2) W x + (b - g m / (v + e)^1/2)`.

    weight                      [O, I, ...]
    gain, bias, mean, variance  of the normalisation, [O]; epsilon: what it adds to the variance
    """
    scale = gain.double() * (variance.double() + epsilon).rsqrt()
    shape = (-1, *[1] * (weight.ndim - 1))
    return (weight.double() * scale.view(shape)).float(), (bias.double() - mean.double() * scale).float()
