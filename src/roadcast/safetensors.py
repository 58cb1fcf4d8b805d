"""Weights on disk in the safetensors format: a length, a JSON header, raw bytes. No code can hide in it.

Format: 8 bytes little-endian length of the header; the header, `{name: {dtype, shape, data_offsets}}` and an optional
`__metadata__` of strings; then the tensors end to end. https://github.com/huggingface/safetensors, section "Format".
"""

import hashlib
import json
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from roadcast.errors import UserError
from roadcast.files import write_file

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write named tensors to `path`, replacing it only once all bytes are on the disk."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    blobs, offset = [], 0
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        blob = tensor.flatten().view(torch.uint8).numpy()
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + blob.size],
        }
        blobs.append(blob)
        offset += blob.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    def write(beside: Path) -> None:
        with open(beside, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for blob in blobs:
                file.write(blob.data)

    write_file(path, write)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors in a safetensors file.

    Raises `UserError` when the file is missing, cut short or no safetensors file.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
        (length,) = struct.unpack("<Q", data[:8].tobytes())
        header = json.loads(data[8 : 8 + length].tobytes())
        header.pop("__metadata__", None)
        body, tensors = data[8 + length :], {}
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            if not 0 <= start <= end <= body.size:
                raise ValueError(f"tensor {name} ends beyond the file")
            dtype = DTYPES[entry["dtype"]]
            tensors[name] = torch.empty(entry["shape"], dtype=dtype)
            if start < end:
                tensors[name].view(-1).view(torch.uint8).copy_(torch.from_numpy(body[start:end]))
        return tensors
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a folder that `roadcast train` wrote") from None
    except (OSError, ValueError, KeyError, TypeError, struct.error, RuntimeError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); restore it or train again") from None


def sha256_of(tensors: Iterable[Tensor]) -> str:
    """The SHA-256 of the tensors' numbers in turn, in hexadecimal, wherever they are."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
