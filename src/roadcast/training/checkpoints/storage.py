"""Tensors to and from a folder by torch.distributed.checkpoint (DCP): each rank writes its own shards, one tensor after the other,
and reads what it needs of anybody's."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

from roadcast.errors import UserError
from roadcast.training.checkpoints.ranks import Ranks

Tensors = dict[str, Any]
"""Tensors, or DTensors, in dicts in dicts."""

METADATA = ".metadata"
warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")  # one process


def staged(tensors: Tensors) -> Tensors:
    """A copy of `tensors` in host memory, which training does not move."""
    stager = DefaultStager(StagingOptions(False, False, False, False))
    try:
        return stager.stage(tensors)  # pyright: ignore[reportReturnType]
    finally:
        stager.close()


def write(tensors: Tensors, folder: Path, ranks: Ranks) -> None:
    """Write `tensors` to `folder`, on all ranks together, flushed to the disk: rank r writes the files `written(folder, r)`.

    Of replicas one rank writes one. Host memory grows by the largest tensor at most. Raises what was raised on any rank.
    """
    try:
        dcp.save(tensors, storage_writer=_Writer(folder), process_group=ranks.group, no_dist=ranks.group is None)
    except CheckpointException as failure:
        raise _cause(failure) from failure


def written(folder: Path, rank: int) -> list[Path]:
    """The files that `rank` wrote."""
    return [*folder.glob(f"__{rank}_*.distcp"), *([folder / METADATA] if rank == 0 else [])]


def read(tensors: Tensors, folder: Path, ranks: Ranks) -> None:
    """Read into `tensors`, in place, on all ranks together, however many they were that wrote and however these are sharded.

    Raises `UserError` where a tensor is not there or has another shape.
    """
    reader = _Reader(folder, read_metadata(folder))
    try:
        dcp.load(tensors, storage_reader=reader, process_group=ranks.group, no_dist=ranks.group is None)
    except CheckpointException as failure:
        cause = _cause(failure)
        if isinstance(cause, RuntimeError | ValueError):  # so DCP says that a tensor is not there or of another shape
            raise misfit(folder, str(cause)) from failure
        raise cause from failure


def misfit(path: Path, cause: str) -> UserError:
    """What is said of a state that is whole, but another model's."""
    return UserError(f"{path}: is not a state of this model ({cause}); resume with the configuration it was begun with")


def layout(folder: Path) -> Tensors:
    """The tensors in `folder` as they were nested, on the meta device: their shapes and types."""
    metadata, tensors = read_metadata(folder), {}
    for key, info in metadata.state_dict_metadata.items():
        *above, name = metadata.planner_data[key]
        place = tensors
        for part in above:
            place = place.setdefault(part, {})
        place[name] = torch.empty(info.size, dtype=info.properties.dtype, device="meta")  # pyright: ignore
    return tensors


def read_metadata(folder: Path) -> Metadata:
    """DCP's table of contents. It is a pickle, so only the types it is made of are let in, and a file from outside runs no code."""
    path = folder / METADATA
    with open(path, "rb") as file:
        try:
            return _TableUnpickler(file).load()
        except pickle.UnpicklingError as error:
            raise UserError(f"{path}: {error}; use a state that roadcast wrote") from None


class _Writer(FileSystemWriter):
    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Any:
        try:
            return super().write_data(plan, planner)
        except (
            RuntimeError
        ) as error:  # torch's archive writer, closing, covers the disk's own error with one of its own
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


class _Reader(FileSystemReader):
    def __init__(self, folder: Path, metadata: Metadata):
        super().__init__(folder)
        self.metadata = metadata

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        return self.metadata


class _TableUnpickler(pickle.Unpickler):
    """BytesStorageMetadata is not among the types let in: its values would be pickles themselves, and we save tensors alone."""

    KNOWN = {  # noqa: RUF012
        "torch": {"Size"},
        "torch.serialization": {"_get_layout"},
        "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
        "torch.distributed.checkpoint.metadata": {
            "Metadata", "MetadataIndex", "StorageMeta", "TensorProperties", "TensorStorageMetadata", "ChunkStorageMetadata",
            "_MEM_FORMAT_ENCODING",
        },
        "pathlib": {"PosixPath", "WindowsPath"},
        "pathlib._local": {"PosixPath", "WindowsPath"},
    }  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if not is_dtype and name not in self.KNOWN.get(module, ()):
            raise pickle.UnpicklingError(f"holds {module}.{name}, which no table of tensors does")
        return super().find_class(module, name)


def _cause(failure: CheckpointException) -> BaseException:
    """The error below DCP's own, which is no Exception: the disk's before any other."""
    errors = [error for error, _ in failure.failures.values()]
    return next((error for error in errors if isinstance(error, OSError)), errors[0])
