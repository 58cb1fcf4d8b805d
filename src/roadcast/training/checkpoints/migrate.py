"""States of past schemas, brought to the present one, a version at a time."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from roadcast.training.checkpoints.manifest import SCHEMA, check_schema
from roadcast.training.checkpoints.storage import Tensors, misfit

State = dict[str, Any]


def old_damage(path: Path) -> str | None:
    """Why a state that is one file, as those of schema 1 were, cannot be read; None where it can.

    Raises `UserError` where a newer roadcast wrote it.
    """
    try:
        schema = _load(path)["schema"]
    except (RuntimeError, OSError, EOFError, KeyError, TypeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        return f"{path} is damaged ({type(error).__name__})"
    check_schema(path, schema)
    return None


def read_old(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """The whole tensors and the facts of such a file, as the present schema has them."""
    state = _load(path)
    while state["schema"] < SCHEMA:
        state = MIGRATIONS[state["schema"]](state)
    return state["tensors"], state["facts"]


def fill(tensors: Tensors, whole: Tensors, path: Path) -> None:
    """Copy the whole tensors of the state at `path` into `tensors`, in place, each rank its own shards of them."""
    for name, place in tensors.items():
        if name not in whole or getattr(place, "shape", None) != getattr(whole[name], "shape", None):
            raise misfit(path, f"it has no {name} of that shape")
        if isinstance(place, dict):
            fill(place, whole[name], path)
        elif isinstance(place, DTensor):
            value = whole[name].to(place.device)
            place.copy_(distribute_tensor(value, place.device_mesh, place.placements, src_data_rank=None))
        else:
            place.copy_(whole[name])


def name_moments(state: State) -> State:
    """Schema 1 to 2: the optimizer's moments, numbered until then, go by the names of their parameters.

    They were numbered matrices first (two axes or more, more than 8 rows, which weight decay was for), then the rest, both in
    the model's order.
    """
    weights: dict[str, Tensor] = state["model"]
    names = [name for name in weights if name.rpartition(".")[2] not in BUFFERS_1]
    matrices = [name for name in names if weights[name].ndim >= 2 and weights[name].shape[0] > 8]
    ordered = matrices + [name for name in names if name not in set(matrices)]
    assert len(ordered) == sum(len(group["params"]) for group in state["optimizer"]["param_groups"])
    return {
        "schema": 2,
        "facts": {"step": state["step"], "ema_updates": state["ema"]["updates"]},
        "tensors": {
            "model": weights,
            "optimizer": {ordered[number]: moments for number, moments in state["optimizer"]["state"].items()},
            "ema": state["ema"]["average"],
        },
    }


BUFFERS_1 = {"mean", "std", "batches"}
"""The last names of all that models of schema 1 held beside their parameters."""

MIGRATIONS: dict[int, Callable[[State], State]] = {1: name_moments}


def _load(path: Path) -> State:
    return torch.load(path, weights_only=True, map_location="cpu", mmap=True)
