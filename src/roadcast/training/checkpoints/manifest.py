"""The manifest of a saved state: the schema it was written in, and the SHA-256 of every file, by which damage is found."""

import json
from pathlib import Path

from roadcast.errors import UserError
from roadcast.files import sha256

SCHEMA = 2
MANIFEST = "manifest.json"


def write_manifest(folder: Path, digests: dict[str, str]) -> None:
    """Say of `folder` which files it holds, with the SHA-256 of each."""
    text = json.dumps({"schema": SCHEMA, "sha256": dict(sorted(digests.items()))}, indent=1)
    (folder / MANIFEST).write_text(text + "\n")


def damage(folder: Path, share: int, shares: int) -> str | None:
    """The first file of one share of `folder`'s that is not as it was written, and why; None where all are.

    Raises `UserError` where a newer roadcast wrote it.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        schema, digests = int(manifest["schema"]), sorted(manifest["sha256"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{path} cannot be read ({type(error).__name__})"
    check_schema(folder, schema)
    for name, digest in digests[share::shares]:
        try:
            if sha256(folder / name) != digest:
                return f"{folder / name} is damaged: its SHA-256 is not the manifest's"
        except OSError as error:
            return f"{folder / name} cannot be read ({error.strerror})"
    return None


def check_schema(path: Path, schema: int) -> None:
    """Raise `UserError` unless `schema` is one that this roadcast knows."""
    if schema > SCHEMA:
        raise UserError(f"{path}: written by a newer roadcast (schema {schema}); install that one to resume")
