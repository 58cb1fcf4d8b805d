"""The straight path between data and noise, stated once (Lipman et al. 2023; Liu et al. 2023).

x_t = (1 - t) x + t n        t in [0, 1], t = 0 clean, n ~ N(0, I)
v   = d x_t / dt = n - x
x   = x_t - t v              n = x_t + (1 - t) v
"""

from torch import Tensor


def expand(t_BT: Tensor, like: Tensor) -> Tensor:
    """`t` [B, T] with axes of size 1 added to broadcast against `like` [B, T, ...]."""
    return t_BT.reshape(t_BT.shape + (1,) * (like.ndim - t_BT.ndim))


def add_noise(x: Tensor, noise: Tensor, t_BT: Tensor) -> Tensor:
    """`x_t = (1 - t) x + t n` with one level per frame."""
    t = expand(t_BT, x)
    return (1 - t) * x + t * noise


def to_x(output: Tensor, x_t: Tensor, t_BT: Tensor, prediction: str) -> Tensor:
    """The clean latents that a network's `output` stands for: itself (`x`), or `x_t - t v` (`v`)."""
    return output if prediction == "x" else x_t - expand(t_BT, x_t) * output


def step_towards(x: Tensor, x_t: Tensor, t: float, t_next: float) -> Tensor:
    """One Euler step of dx/dt = v from level `t` to `t_next`, the velocity taken from a prediction of the clean `x`.

    `x_t + (t_next - t) (x_t - x) / t = x + (t_next / t) (x_t - x)`; exact, and `x` itself when t_next = 0.
    """
    return x + (t_next / t) * (x_t - x)
