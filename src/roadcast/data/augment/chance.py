"""Random numbers that are a function of (seed, key of the clip, name, counter) and of nothing else."""

import hashlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Chance:
    """The random numbers of N clips for one purpose, `name`; a clip's numbers do not depend on the other clips.

    Counter-based as in Salmon et al. 2011 ("Parallel random numbers: as easy as 1, 2, 3"): number i is a hash of i. The
    hash is the finaliser of SplitMix64 (Steele et al. 2014, figure 14), taken over seed and name, then key, then counter.
    """

    def __init__(self, seed: int, key_N: np.ndarray, name: str):
        assert key_N.dtype == np.int64 and key_N.ndim == 1
        self.seed, self.key_N, self.name = seed, key_N, name

    def __len__(self) -> int:
        return len(self.key_N)

    def of(self, which: np.ndarray) -> "Chance":
        """The same numbers for some of the clips alone; `which` holds their places."""
        return Chance(self.seed, self.key_N[which], self.name)

    def uniform(self, label: str, *shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Numbers in [low, high), float64 [N, *shape]; every `label` has its own. More of them begin with the same ones."""
        text = f"{self.seed}/{self.name}/{label}".encode()
        start = np.frombuffer(hashlib.blake2b(text, digest_size=8).digest(), "<u8")[0]
        clip_N = _mix(_mix(start + self.key_N.view(np.uint64) * _GOLDEN))
        count = np.arange(int(np.prod(shape)), dtype=np.uint64)
        hashed = _mix(clip_N[:, None] + (count + np.uint64(1)) * _GOLDEN)
        number = (hashed >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return low + (high - low) * number.reshape(len(self), *shape)


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
