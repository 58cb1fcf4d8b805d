"""What stands between encoder and decoder: how the encoder's last numbers become a latent, in use and in training.

Neither has weights, so a bottleneck is chosen by name in the configuration and leaves no trace in a saved world but its width.
"""

import torch
from torch import Tensor, nn

LOG_VARIANCE = (-20.0, 10.0)  # what float32 can take the exponential of, and far beyond what training reaches


class TanhBottleneck(nn.Module):
    """`z = tanh(h)`; in training `z + sigma n`, `n ~ N(0, I)`, `sigma` fixed, so that neighbouring latents mean the same."""

    def __init__(self, noise: float):
        super().__init__()
        self.noise = noise

    @staticmethod
    def inputs(latent_channels: int) -> int:
        """Channels of `h` for so many of `z`."""
        return latent_channels

    def forward(self, h: Tensor) -> Tensor:
        """The latent in use: z [..., C] of h [..., C]."""
        return torch.tanh(h)

    def sample(self, h: Tensor, n: Tensor) -> Tensor:
        """The latent in training, for noise `n` of the latent's shape."""
        return self(h) + self.noise * n


class KLBottleneck(nn.Module):
    """`h = (mean, log variance)`; `z = mean` in use, `mean + std n` in training (Kingma & Welling 2014, eq. 4 and 10)."""

    @staticmethod
    def inputs(latent_channels: int) -> int:
        """Channels of `h` for so many of `z`."""
        return 2 * latent_channels

    def forward(self, h: Tensor) -> Tensor:
        """The latent in use: z [..., C] of h [..., 2 C]."""
        return h.chunk(2, dim=-1)[0]

    def sample(self, h: Tensor, n: Tensor) -> Tensor:
        """The latent in training, for noise `n` of the latent's shape."""
        mean, log_variance = self.moments(h)
        return mean + (0.5 * log_variance).exp() * n

    def divergence(self, h: Tensor) -> Tensor:
        """`KL(N(mean, var) || N(0, 1)) = (mean^2 + var - 1 - log var) / 2`, in nats, mean over the latent's numbers.

        Kingma & Welling 2014, the first term of eq. 10, there summed over the numbers and with the other sign.
        """
        mean, log_variance = self.moments(h)
        return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()

    @staticmethod
    def moments(h: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, each [..., C], of h [..., 2 C]."""
        mean, log_variance = h.chunk(2, dim=-1)
        return mean, log_variance.clamp(*LOG_VARIANCE)
