"""Where to compute, as the user names it."""

from roadcast.errors import UserError


def checked(device: str) -> str:
    """`device` itself; `UserError` unless torch can compute on it."""
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"--device {device}: cannot be used ({str(error).splitlines()[0]}); choose cpu, or cuda with an Nvidia GPU"
        ) from None
    return device
