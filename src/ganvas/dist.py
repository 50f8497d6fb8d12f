"""Several processes under `torchrun`: what one process computes of a batch, N compute of its parts, up to rounding.

Every process draws the random numbers of the whole batch and takes its part (`mine`); gradients are averaged once before
each optimiser step; whatever looks at a batch as a whole (batch norm, means, ranks) asks for the other parts (`whole`, `mean`).
Networks are not wrapped in DistributedDataParallel: gradient penalties differentiate twice and a step calls
backward several times, which DDP's hooks handle badly.

Rank 0 alone writes files and measures. The others wait for it at the store (`turn`), where no collective can time out.

Sampling and measuring are spread over the processes inside `together`: each takes its part of the work
(`shard`), and what all of them found is put together in the order of the work (`collect`, `total`). Outside
of it these do nothing, in a training too.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as td
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from ganvas.errors import GanvasError
from ganvas.signals import in_a_thread, several_processes

T = TypeVar("T")
PATIENCE = 10.0
"""Seconds that a process waits for the others before it leaves."""
LONGEST = 1800.0
"""Seconds that it waits for them to begin, as torch does."""

_c10d: Any = td  # whose types leave the stores out
_store: Any = None
_starts = _turns = 0
_alone = _together = False
_CPU = torch.device("cpu")


def start(device: torch.device) -> None:
    """Join the group when `torchrun` set the environment; does nothing in a single process.

    Raises `GanvasError` in a process group that somebody else has started: it is not ours to end.
    """
    global _store, _starts, _turns
    _check_own()
    if not several_processes() or (td.is_available() and td.is_initialized()):
        return
    # Every optimiser imports this. Imported when there is a group it holds on to it: `stop` would not end the group's threads,
    # and one that drops its last tensor while the interpreter ends aborts the process.
    import_module("torch._dynamo")
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    _starts, _turns = _starts + 1, 0
    try:
        # torch waits for the others outside of Python, ten minutes and more: here at the store, then in building the group.
        store, rank, world = in_a_thread(lambda: next(rendezvous("env://")))
        # The store outlives the group: a second one (a series of runs) must not find the addresses of the first.
        _store = _c10d.PrefixStore(f"ganvas {_attempt()} {_starts}", store)
        _store.set(f"here {rank}", "")
        _wait([f"here {each}" for each in range(world)], LONGEST)
        td.init_process_group(backend, store=_store, rank=rank, world_size=world)
    except (ValueError, RuntimeError) as error:
        raise GanvasError(
            f"WORLD_SIZE says that there are several processes, and they do not find each other: {error}\n"
            "Start them with torchrun, or unset WORLD_SIZE for one."
        ) from error


def _attempt() -> str:
    """How often `torchrun --max-restarts` has started these processes again: its store may hold the addresses of the dead ones.

    Of several machines each counts for itself, so that it says nothing there.
    """
    here, everywhere, count = map(
        os.environ.get, ("LOCAL_WORLD_SIZE", "WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")
    )
    return count if count and here == everywhere else "0"


def _check_own() -> None:
    if world_size() > 1 and _store is None:
        raise GanvasError("A process group is there already; ganvas starts and ends its own for this work.")


def stop() -> None:
    """Leave the group, all together: a process that closes its connections early is a fault to those still talking."""
    global _store
    if _store is None or not td.is_initialized():  # what somebody else has started, of one process, goes on
        return
    with suppress(RuntimeError):  # one that died will not come
        _store.set(f"leaving {td.get_rank()}", "")
        _wait([f"leaving {each}" for each in range(td.get_world_size())], PATIENCE)
    td.destroy_process_group()
    _store = None


class Gone(GanvasError):
    """Another process has stopped: nothing can be had together any more."""


@contextmanager
def _others() -> Iterator[None]:
    """What a process meets whose partner has gone, in words."""
    try:
        yield
    except RuntimeError as error:
        raise Gone(
            "Another process stopped: unless it was killed, it said why. What was saved is there; a run goes on with "
            "ganvas train --resume RUN, by as many processes or fewer."
        ) from error


def _reduce(tensor: Tensor, how: Any = td.ReduceOp.SUM) -> None:
    with _others():
        td.all_reduce(tensor, how)


def _wait(keys: list[str], patience: float = math.inf) -> None:
    """Until the store has the keys. Asking again and again lets signals through, and the library complains of no time-outs."""
    end, pause = time.monotonic() + patience, 0.001
    while not _store.check(keys) and time.monotonic() < end:
        time.sleep(pause)
        pause = min(0.2, 1.5 * pause)


def rank() -> int:
    """Number of this process; 0 when there is one."""
    return td.get_rank() if not _alone and td.is_available() and td.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return td.get_world_size() if not _alone and td.is_available() and td.is_initialized() else 1


def local_device(device: torch.device) -> torch.device:
    """On a machine with several GPUs, the one of this process. Raises `GanvasError` where there is no such one."""
    number = os.environ.get("LOCAL_RANK")
    if device.type != "cuda" or number is None:
        return device
    count = torch.cuda.device_count()
    if not number.isdecimal() or int(number) >= count:
        raise GanvasError(
            f"LOCAL_RANK is {number[:40]!r}, and the GPUs here are numbered from 0 to {count - 1}: start as many processes as "
            "there are GPUs (torchrun --nproc-per-node), or unset LOCAL_RANK for one."
        )
    return torch.device("cuda", int(number))


LATE = 64
"""Turns that rank 0 may be ahead: where nothing is sent between them it waits for nobody, and who came to a word that was gone
would wait for it without end."""


@contextmanager
def turn() -> Iterator[bool]:
    """True on rank 0, which works inside as if it were alone; the others skip the work (False) and wait for its end.

    They wait at the store and not in a collective, so that a long measurement meets no time-out. When rank 0 fails, they fail.
    """
    global _alone, _turns
    if world_size() == 1:
        yield True
        return
    _turns += 1
    key = f"turn {_turns}"
    if rank() > 0:
        yield False
        with _others():
            _wait([key])
            how = _store.get(key)
        if how != b"done":
            raise GanvasError("The first process stopped, and said why.")
        return
    how = "failed"
    _alone = True
    try:
        yield True
        how = "done"
    finally:
        _alone = False
        # With torchrun the store has gone. An error of before is the one to tell.
        with _others() if how == "done" else suppress(RuntimeError):
            _store.set(key, how)
            if _turns > LATE:
                _store.delete_key(f"turn {_turns - LATE}")


def mine(batch: Tensor) -> Tensor:
    """This process's part of a batch that every process drew in full: 2 x B/2 is then the same as 1 x B."""
    size = len(batch) // world_size()
    return batch[rank() * size : (rank() + 1) * size]


def whole(part: Tensor) -> Tensor:
    """The reverse of `mine`: the parts of all processes in order (N B, ...). Differentiable, also twice.

    A loss of the whole batch, computed on every process, gives each of them N times the gradient of its part, of which
    `sync_gradients` makes the mean.
    """
    if world_size() == 1:
        return part
    parts = [torch.zeros_like(part)] * world_size()
    parts[rank()] = part
    return _sum(torch.cat(parts))


class _Sum(torch.autograd.Function):
    """The sum over all processes, of values and of gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous().clone()
        _reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _sum(gradients[0])


_sum: Callable[[Tensor], Tensor] = _Sum.apply


def sync_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients over all processes: one flat all-reduce.

    What has no gradient, like the sizes that a growing network does not draw yet, has none on any process, and is left
    alone: with a gradient of zero an optimiser would begin to count its steps.
    """
    if world_size() == 1:
        return
    trained = [(p, p.grad) for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for _, gradient in trained])
    _reduce(flat)
    flat /= world_size()
    for (parameter, _), part in zip(trained, flat.split([p.numel() for p, _ in trained]), strict=True):
        # Fused optimisers walk through memory: a gradient laid out otherwise than its weight would be misread.
        parameter.grad = torch.empty_like(parameter).copy_(part.view(parameter.shape))


def mean(value: Tensor) -> Tensor:
    """The mean of a tensor over all processes; not differentiable."""
    if world_size() == 1:
        return value
    value = value.detach().contiguous().clone()
    _reduce(value)
    return value / world_size()


def broadcast_buffers(module: nn.Module) -> None:
    """Give every process rank 0's buffers (running averages of batch norm, spectral norm vectors)."""
    _broadcast(module.buffers())


def broadcast_weights(module: nn.Module) -> None:
    """Give every process rank 0's weights and buffers: to begin with, where they were drawn or read from a file of its own."""
    _broadcast(module.state_dict().values())


def _broadcast(tensors: Iterable[Tensor]) -> None:
    if world_size() > 1:
        for tensor in tensors:
            with _others():
                td.broadcast(tensor, 0)


def agree(flag: bool, device: torch.device) -> bool:
    """True everywhere when it is true on any process: all stop at the same step."""
    if world_size() == 1:
        return flag
    tensor = torch.tensor(float(flag), device=device)
    _reduce(tensor, td.ReduceOp.MAX)
    return bool(tensor.item())


def share(text: str) -> str:
    """Rank 0's text on every process."""
    if world_size() == 1:
        return text
    box: list[str] = [text]
    with _others():
        td.broadcast_object_list(box, 0)
    return box[0]


def check_alike(what: str, **given: object) -> None:
    """Raise `GanvasError` on every process unless all have the same: each would do its part of something else."""
    own = {name: repr(value) for name, value in given.items()}
    first = json.loads(share(json.dumps(own)))
    apart = [f"{name} {value} and {own.get(name)}" for name, value in first.items() if value != own.get(name)]
    if agree(first != own, _CPU):
        told = f" ({'; '.join(apart[:3])[:300]})" if apart else ""
        raise GanvasError(
            f"The processes were given different {what}{told}. Start all with one command, on machines that have the same files."
        )


@contextmanager
def together(device: torch.device) -> Iterator[None]:
    """Spread the work inside over the processes of `torchrun`, which all have to enter.

    Does nothing in a single process. Raises `GanvasError` in a process group that somebody else has started:
    it is not ours to end.
    """
    global _together
    if td.is_available() and td.is_initialized():
        raise GanvasError("A process group is there already; ganvas starts and ends its own for this work.")
    start(device)
    _together = True
    try:
        yield
    finally:
        _together = False
        stop()


def spread() -> bool:
    """Whether the work is spread over several processes here."""
    return _together and world_size() > 1


def shard(items: Iterable[T]) -> Iterator[T]:
    """This process's part of any sequence, the same everywhere: every N-th from its rank."""
    return islice(items, rank(), None, world_size()) if spread() else iter(items)


def collect(part: Iterable[T], *, everywhere: bool = True) -> Iterator[T]:
    """The items of all parts (`shard`) in the order of the sequence.

    One of each process at a time, so that few are held. Items are numbers, tensors or tuples of these;
    tensors come back on the CPU. Not `everywhere`: rank 0 alone gets them.
    """
    if not spread():
        yield from part
        return
    mine, over = iter(part), False
    while not over:
        item = next(mine, None)
        found: list[Any] = [None] * world_size()
        with _others():
            if everywhere:
                td.all_gather_object(found, _plain(item))
            else:
                td.gather_object(_plain(item), found if rank() == 0 else None)
            over = agree(item is None, _CPU)
        yield from (_tensors(each) for each in found if each is not None)


def _plain(item: Any) -> Any:
    """Arrays for tensors: a tensor that is a view would be sent with all that it is a view of."""
    if isinstance(item, tuple):
        return tuple(_plain(each) for each in item)
    return item.detach().cpu().numpy() if isinstance(item, Tensor) else item


def _tensors(item: Any) -> Any:
    if isinstance(item, tuple):
        return tuple(_tensors(each) for each in item)
    return torch.from_numpy(item) if isinstance(item, np.ndarray) else item


def total(values: Tensor) -> Tensor:
    """The sum over all processes of what each found in its part; of bools the logical or."""
    if not spread():
        return values
    logical = values.dtype == torch.bool
    summed = values.detach().to(_CPU, torch.uint8 if logical else values.dtype, copy=True).contiguous()
    _reduce(summed, td.ReduceOp.MAX if logical else td.ReduceOp.SUM)
    return summed.to(values)


def copy(module: nn.Module) -> None:
    """Give every process rank 0's weights and buffers of a network that it alone has trained."""
    if spread():
        for tensor in (*module.parameters(), *module.buffers()):
            sent = tensor.detach().cpu()
            with _others():
                td.broadcast(sent, 0)
            tensor.data.copy_(sent)
