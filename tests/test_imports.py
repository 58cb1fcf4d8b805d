"""The core is the standard library, torch, einops, cv2 and numpy alone: read from the source, and proved by running it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import roadcast

PACKAGE = Path(roadcast.__file__).parent
EDGES = {"cli", "web", "tracking", "extras", "client"}
ALLOWED = set(sys.stdlib_module_names) | {"torch", "einops", "cv2", "numpy", "roadcast"}


def foreign_imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of every import, at any depth, of a package outside ALLOWED."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.partition(".")[0] not in ALLOWED)


def test_core_source_imports_only_the_core_packages():
    files = [f for f in sorted(PACKAGE.rglob("*.py")) if f.relative_to(PACKAGE).with_suffix("").parts[0] not in EDGES]
    assert PACKAGE / "config.py" in files
    foreign = [
        f"{f.relative_to(PACKAGE)}:{line}: {name}" for f in files for line, name in foreign_imports(f.read_text())
    ]
    assert not foreign, "the core may import only the standard library, torch, einops, cv2 and numpy:\n" + "\n".join(
        foreign
    )


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import os, torch.nn, scipy.linalg", ["scipy.linalg"]),
        ("def f():\n    from PIL import Image", ["PIL"]),
        ("from . import x\nfrom roadcast.errors import UserError\nfrom numpy import array", []),
    ],
)
def test_foreign_imports_are_found_where_they_hide(source, names):
    assert [name for _, name in foreign_imports(source)] == names


# Runs in a fresh interpreter that sees what a bare `pip install torch einops opencv-python-headless numpy` would give:
# those four, what they require themselves, and roadcast. Every other installed package is hidden from the path finder.
BARE = """
import importlib, importlib.machinery, importlib.metadata as metadata, pkgutil, re, sys

def normal(name):
    return re.sub("[-_.]+", "-", name).lower()

def closure(names):
    seen, queue = set(), list(names)
    while queue:
        name = normal(queue.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        queue += [re.match("[A-Za-z0-9._-]+", r)[0] for r in requires if "extra ==" not in r]
    return seen

kept = closure(["torch", "einops", "opencv-python-headless", "numpy"]) | {"roadcast"}
hidden = {module for module, owners in metadata.packages_distributions().items() if not {normal(o) for o in owners} & kept}

class Bare(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else super().find_spec(name, path, target)

sys.meta_path = [Bare if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
for name in [n for n in sys.modules if n.partition(".")[0] in hidden]:
    del sys.modules[name]

assert {"pytest", "fastapi", "safetensors"} <= hidden, hidden
assert importlib.util.find_spec("pytest") is None

import roadcast

def core(path, prefix, skip=()):
    for module in pkgutil.iter_modules(path, prefix):
        leaf = module.name.rpartition(".")[2]
        if leaf in skip or leaf == "__main__":
            continue
        yield module.name
        if module.ispkg:
            yield from core(importlib.import_module(module.name).__path__, module.name + ".")

for name in core(roadcast.__path__, "roadcast.", skip={"cli", "web", "tracking", "extras", "client"}):
    importlib.import_module(name)
    print(name)
"""


def test_core_imports_with_torch_einops_opencv_and_numpy_alone():
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    imported = done.stdout.split()
    assert {"roadcast.config", "roadcast.data.clip", "roadcast.errors"} <= set(imported)
    assert not [name for name in imported if name.split(".")[1] in EDGES]
