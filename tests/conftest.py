"""Fixtures for every test: one thread, one seed, and the road recordings where they are at hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

REPO = Path(__file__).resolve().parents[1]

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real driving recordings, which lives beside the repository; the test skips where there is none."""
    path = REPO.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"driving recordings are not at hand: {path}")
    return path


@pytest.fixture(scope="session")
def toy_reel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reel of the built-in world at 32x64: four recordings of 60 frames, two to train on, one to validate, one to test."""
    from roadcast.data.ingest import ingest

    path = tmp_path_factory.mktemp("reels") / "toy"
    ingest("toyroad:recordings=4,frames=60,seed=3,height=32,width=64", path, height=32, width=64, fps=20.0)
    return path
