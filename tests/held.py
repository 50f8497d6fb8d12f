"""How much memory tensors hold at once, counted by their storages: the same on every machine."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Held(TorchDispatchMode):
    """The most bytes (`most`) that tensors made here held at once, those alone that `counts` says."""

    def __init__(self, counts: Callable[[Tensor], bool] = lambda tensor: True) -> None:
        super().__init__()
        self.counts, self.most = counts, 0
        self.living: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for each in tree_leaves(found):
            if isinstance(each, Tensor) and self.counts(each):
                storage = each.untyped_storage()
                self.living[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.living = {key: each for key, each in self.living.items() if not each[0].expired()}
        self.most = max(self.most, sum(size for _, size in self.living.values()))
        return found


def is_picture(tensor: Tensor) -> bool:
    """Whether it is of the kind that samples are kept as."""
    return tensor.dtype == torch.uint8
