"""Looking into a network on its way."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def hooked(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    """Inside, `hook(module, inputs, output)` sees each output of the module and may give another.

    It answers to the thread that put it there alone: another one may draw with the same network meanwhile, as pages of the
    explorer do, and would be seen here, and find its own pictures changed.
    """
    mine = threading.get_ident()

    def own(*given: Any) -> Any:
        return hook(*given) if threading.get_ident() == mine else None

    handle = module.register_forward_hook(own)
    try:
        yield
    finally:
        handle.remove()
