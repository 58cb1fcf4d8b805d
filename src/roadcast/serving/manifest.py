"""What a version of a world consists of, byte for byte, and how it is to be opened."""

import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

import roadcast
from roadcast.errors import UserError
from roadcast.files import sha256, write_file
from roadcast.serving.foreign import Known, Trait

SCHEMA = 1
MANIFEST = "MANIFEST.json"


@dataclass(frozen=True)
class Opening:
    """How a world is opened to be driven: network passes a frame (None: its own number), number format, format of the weights."""

    steps: int | None = None
    precision: str = "float32"
    weights: str = "full"


@dataclass(frozen=True)
class Manifest:
    """What MANIFEST.json says.

    files     SHA-256 of every file beside it
    opening   how the golden rollouts were made, and how the world is to be served
    build     what numbers are made with (`build`): where it is equal, frames are equal bit for bit
    metrics   scores by name
    known     what its steps are like, as mean and spread of each trait (serving/foreign.py); {}: nobody looked
    """

    files: dict[str, str]
    opening: Opening
    build: dict[str, str]
    metrics: dict[str, float]
    known: Known = field(default_factory=dict)
    roadcast: str = roadcast.__version__
    schema: int = SCHEMA


def build(device: str = "cpu", compiled: bool = False) -> dict[str, str]:
    """All of a machine and its software that the last bit of a sum depends on."""
    processor = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()
    return {
        "torch": torch.__version__,
        "processor": processor,
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "products": os.environ.get("MKL_CBWR", ""),
        "device": device.partition(":")[0],
        "compiled": str(compiled),
    }


def write_manifest(
    folder: Path, opening: Opening, metrics: dict[str, float], known: Known | None = None, device: str = "cpu"
) -> Manifest:
    """Write `folder`/MANIFEST.json over all files that are there."""
    manifest = Manifest(hashes(folder), opening, build(device), metrics, known or {})
    text = json.dumps(asdict(manifest), indent=1, allow_nan=False) + "\n"
    write_file(folder / MANIFEST, lambda path: path.write_text(text))
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a version; `UserError` where there is none, or one of a schema this version of roadcast does not read."""
    path = Path(folder) / MANIFEST
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        if found["schema"] != SCHEMA:
            raise UserError(f"{path}: schema = {found['schema']}, this version reads {SCHEMA}; update roadcast")
        known = {name: Trait(**trait) for name, trait in found.get("known", {}).items()}
        return Manifest(**{**found, "opening": Opening(**found["opening"]), "known": known})
    except UserError:
        raise
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: is no manifest ({error}); push the world again with `roadcast models push`") from None


def digest(folder: Path) -> str:
    """A version's identity: the SHA-256 of its manifest, which holds those of all its files."""
    return hashlib.sha256((Path(folder) / MANIFEST).read_bytes()).hexdigest()


def check_files(folder: Path) -> Manifest:
    """The manifest, once every file is the one it names and no other is there; the `UserError` names all that differ."""
    manifest, found = read_manifest(folder), hashes(folder)
    faults = [f"{name} is missing" for name in sorted(manifest.files.keys() - found.keys())]
    faults += [f"{name} does not belong to it" for name in sorted(found.keys() - manifest.files.keys())]
    faults += [f"{name} is damaged" for name in sorted(found) if manifest.files.get(name, found[name]) != found[name]]
    if faults:
        raise UserError(f"{folder}: {', '.join(faults)}; push the world again from where it is whole")
    return manifest


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder but its manifest."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(Path(folder).rglob("*")) if path.is_file()}
    return {name: sha256(path) for name, path in files.items() if name != MANIFEST}


def _processor() -> str:
    """The CPU's model where the system tells it: libraries choose their kernels by it."""
    if os.path.exists("/proc/cpuinfo"):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
