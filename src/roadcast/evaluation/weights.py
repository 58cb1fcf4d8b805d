"""Public weight files, read into networks of our own: .npz, .safetensors, TorchScript, and dictionaries by torch.save."""

from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from roadcast.errors import UserError
from roadcast.safetensors import load_tensors

Network = TypeVar("Network", bound=torch.nn.Module)


def loaded(build: Callable[[dict[str, Tensor]], Network], *files: Path) -> Network:
    """The network that `build` makes of the tensors in one file, or in several together.

    Raises `UserError` that names the files when one is absent or cannot be read, or when `build` refuses what is in them.
    """
    for file in files:
        if not Path(file).exists():
            raise UserError(f"{file}: no such file; docs/evaluation.md says where the weights are published")
    try:
        return build({name: tensor for file in files for name, tensor in tensors_in(Path(file)).items()})
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, UnpicklingError) as error:
        read = " and ".join(map(str, files))
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{read}: cannot be used ({why}); docs/evaluation.md says which weights it takes") from None


def tensors_in(path: Path) -> dict[str, Tensor]:
    """The tensors in a file, in its order, on the CPU."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return {name: torch.from_numpy(file[name]) for name in file.files}
    if path.suffix == ".safetensors":
        return load_tensors(path)
    try:
        return dict(torch.jit.load(path, map_location="cpu").state_dict())  # of which nothing is run
    except RuntimeError:
        return torch.load(path, map_location="cpu", weights_only=True)
