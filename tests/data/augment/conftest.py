"""Small batches of clips to be augmented."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from roadcast.data.clip import Clip

ACTIONS = ("steer", "throttle", "speed", "yaw_rate", "curvature")


def _clips(pixels: np.ndarray, keys: list[int] | None = None, actions: np.ndarray | None = None) -> Clip:
    views = torch.from_numpy(pixels) if pixels.ndim == 6 else None
    frames = torch.from_numpy(pixels) if views is None else views[:, :, 0]
    n, f = pixels.shape[:2]
    if actions is None:
        actions = np.tile(np.array([0.5, 0.4, 7.0, 0.2, 0.03], np.float32), (n, f, 1))
    return Clip(
        frames_BFHWC=frames,
        z_BTHWC=None,
        actions_BFA=torch.from_numpy(actions),
        known_BFA=torch.ones(actions.shape, dtype=torch.bool),
        t_ns_BF=(torch.arange(f) * 50_000_000).expand(n, -1),
        video_B=torch.zeros(n, dtype=torch.int64),
        first_B=torch.zeros(n, dtype=torch.int64),
        key_B=torch.tensor(keys if keys is not None else range(n)),
        views_BFVHWC=views,
        pose_BF7=torch.tensor([1.0, 2.0, 3.0, 0.8, 0.1, 0.2, 0.55]).expand(n, f, 7).contiguous(),
    )


@pytest.fixture(scope="session")
def clips() -> Callable[..., Clip]:
    """A batch of clips of pixels [B, F, H, W, 3] or [B, F, V, H, W, 3] and of ACTIONS, with keys 0, 1, ... unless given."""
    return _clips


@pytest.fixture(scope="session")
def scene() -> Callable[..., np.ndarray]:
    """A street-like picture uint8 [H, W, 3]: sky over ground, stripes and soft texture, with its dark and bright ends."""

    def make(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        v, u = np.mgrid[:height, :width]
        image = np.where((v < 0.45 * height)[..., None], (150, 180, 210), (90, 100, 80)).astype(float)
        image += 25 * np.sin(u / 5 + rng.uniform(0, 6))[..., None] + rng.normal(0, 6, (height, width, 3))
        image[:2], image[-2:] = 255, 0
        return np.clip(image, 0, 255).astype(np.uint8)

    return make
