"""What a network takes to run once, found without running it: its operations are followed by the sizes of their results."""

import importlib
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ganvas.device import ALONE
from ganvas.errors import GanvasError

WORK, WORK_EACH = 2**38, 2**18
"""Operations that a run of one sample may take, and for each weight: StyleGAN3 at 1024 px takes half of what it may."""
NUMBERS, NUMBERS_EACH = 2**25, 2**6
"""Numbers in the largest result, and for each weight: StyleGAN3 at 2048 px has half of what it may."""
GROUPED = 8
"""Operations of a convolution in groups take so many times longer than those of others."""
TOUCHED = 16
"""Operations that stand for writing one number."""
BEGUN = 2**19
"""Operations that stand for beginning one of torch's, however few numbers it writes: a network that goes step by step through
a long series takes its time for them, and so does whoever follows it here."""


class _Effort(TorchDispatchMode):
    """Follows what is computed inside; raises `GanvasError` above the limits."""

    def __init__(self, work: float, numbers: float) -> None:
        mode: Any = super()  # torch gives it no type
        mode.__init__()
        self.most, self.largest, self.work = work, numbers, 0.0
        self.made = 0
        """Numbers in the largest result so far."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = function(*args, **(kwargs or {}))
        if count := flop_registry.get(function._overloadpacket):
            grouped = function is torch.ops.aten.convolution.default and args[8] > 1
            self.work += count(*args, **(kwargs or {}), out_val=found) * (GROUPED if grouped else 1)
        self._works(BEGUN)
        seen = any(each.alias_info and not each.alias_info.is_write for each in function._schema.returns)
        for each in found if isinstance(found, tuple | list) else [found]:
            if isinstance(each, Tensor) and not seen:
                self._made(each.numel())
        return found

    def _made(self, numbers: int) -> None:
        self.made = max(self.made, numbers)
        if numbers > self.largest:
            raise GanvasError(
                f"it takes {numbers:,} numbers at a time for one sample, and a file of this size may take "
                f"{int(self.largest):,}."
            )
        self._works(TOUCHED * numbers)

    def _works(self, operations: float) -> None:
        self.work += operations
        if self.work > self.most:
            raise GanvasError(
                f"it takes more than {self.most:.1e} operations for one sample, which are as many as a file of this "
                "size may take."
            )


def check_effort(what: str, network: nn.Module, run: Callable[[], object], rows: int = 1) -> None:
    """Raise `GanvasError` where to `run` a network on one sample takes more work or memory than a file of its size may.

    The network and what it is run on lie on torch's meta device, so that nothing is computed; a network that cannot be run
    there is not looked at. `rows`: how many samples are drawn at once at the least. Raises `GanvasError` for a network whose
    parts do not fit each other too. `what` begins the messages.
    """
    weights = sum(math.prod(each.shape) for each in network.state_dict().values())
    effort = _Effort(WORK + WORK_EACH * weights, (NUMBERS + NUMBERS_EACH * weights) / rows)
    try:
        with without_dynamo(), torch.no_grad(), _evaluated(network), effort:
            run()
    except GanvasError as error:
        raise GanvasError(f"{what}: {error}") from error
    except NotImplementedError:  # of the meta device: a family that somebody added
        return
    except (TypeError, ValueError, LookupError, ArithmeticError, RuntimeError, AssertionError) as error:
        if "meta tensor" in str(error):
            return
        raise GanvasError(f"{what}: its parts do not fit each other ({str(error)[:200]}).") from error


def largest_result(run: Callable[[], object]) -> int:
    """How many numbers the largest result has that is computed in `run`, whatever it takes."""
    effort = _Effort(math.inf, math.inf)
    with without_dynamo(), effort:
        run()
    return effort.made


DYNAMO = "torch._dynamo"


@contextmanager
def without_dynamo() -> Iterator[None]:
    """Inside, operations on torch's meta device do not import torch's compiler, which takes longer than to open a small model.

    They ask it for one function alone, `disable`, and keep what it gives back: that is taken from them again. Whatever else is
    asked for is asked of the real one.
    """
    with ALONE:
        if DYNAMO in sys.modules:
            yield
            return
        asked: list[Any] = []

        def disable(function: Any, *_: Any, **__: Any) -> Any:
            asked.append(function)
            return function

        stand_in: Any = ModuleType(DYNAMO)
        stand_in.disable = disable
        stand_in.__getattr__ = lambda name: getattr(_real(stand_in), name)
        sys.modules[DYNAMO] = stand_in
        try:
            yield
        finally:
            _drop(stand_in)
            for function in asked:
                vars(function).pop("__dynamo_disable", None)


def _drop(stand_in: ModuleType) -> None:
    if sys.modules.get(DYNAMO) is stand_in:
        del sys.modules[DYNAMO]
    if vars(torch).get("_dynamo") is stand_in:
        delattr(torch, "_dynamo")


def _real(stand_in: ModuleType) -> ModuleType:
    _drop(stand_in)
    return importlib.import_module(DYNAMO)


@contextmanager
def _evaluated(network: nn.Module) -> Iterator[None]:
    trained = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(trained)
