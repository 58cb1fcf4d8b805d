"""How many bytes of tensors are alive, counted tensor by tensor, on any device and on none."""

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """While entered, counts the storage of every tensor that an operation returns, from then until its last holder lets it go.

    now   bytes alive; tensors made before entering count from when an operation first returns a view of them
    peak  the most there were at once since `forget_peak`

    A storage counts once, whatever number of tensors see it. What a kernel takes for itself and gives back before it returns
    is not seen, nor is what an allocator keeps in reserve.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: set[int] = set()

    def forget_peak(self) -> None:
        """Look for the highest from here on."""
        self.peak = self.now

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return made

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if (key := id(storage)) in self._alive:
            return
        self._alive.add(key)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._let_go, key, storage.nbytes())

    def _let_go(self, key: int, size: int) -> None:
        self._alive.remove(key)
        self.now -= size
