"""Where to compute, as the user names it, and with how many threads."""

import os

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


def leave_a_core() -> None:
    """Let torch compute with a thread less than there are cores, for the server; the variable OMP_NUM_THREADS is obeyed instead."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() - 1))
