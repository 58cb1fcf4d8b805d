"""Files of deploy/, read; and the tools that check them, where this machine has them."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deployed import DEPLOY

sys.path.insert(0, str(DEPLOY))


@pytest.fixture
def read() -> Callable[[str], list]:
    """The documents of a YAML or JSON file of deploy/."""
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")

    def call(name: str) -> list:
        text = (DEPLOY / name).read_text()
        return [json.loads(text)] if name.endswith(".json") else list(yaml.safe_load_all(text))

    return call


@pytest.fixture
def tool() -> Callable[[str], str]:
    """The path of a program, on PATH or beside this Python; the test skips where there is none."""

    def call(name: str) -> str:
        places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        if (found := shutil.which(name, path=places)) is None:
            pytest.skip(f"{name} is not installed; docs/deploy.md says where it comes from")
        return found

    return call


@pytest.fixture
def stages():
    from dockerfile import DOCKERFILE, parse

    return parse(DOCKERFILE.read_text())
