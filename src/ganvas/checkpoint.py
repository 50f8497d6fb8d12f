"""The state of something that learns as plain tensors, and a file that a long job goes on from. Never a pickle.

`rebuild` makes a network again from what its file says of it, which anybody may have written.
"""

import hashlib
import json
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ganvas import io
from ganvas.effort import check_effort, without_dynamo
from ganvas.errors import GanvasError

LARGEST_NUMBER = 2**16
"""In the description of a network: widths, depths, sides, classes."""
LARGEST_SETTING = 2**53
"""Anywhere in the config of a file."""
MOST_TENSORS = 1024
"""Of one network; the largest here have some 300."""

DIGITS, OLD_DIGITS = 16, 8
"""Of a hash of weights: other weights of the same eight could be looked for and found in an hour."""

Named = Iterable[tuple[str, nn.Module]]
Optimizers = Iterable[tuple[str, torch.optim.Optimizer]]


def hash_of(module: nn.Module) -> str:
    """Sixteen digits of the SHA-256 of all weights, the same on every device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:DIGITS]


def is_hash(found: object, own: str) -> bool:
    """Whether what a file says are the weights of a model with the hash `own`; files of before have eight digits of it."""
    return isinstance(found, str) and (found == own or (len(found) == OLD_DIGITS and own.startswith(found)))


def pack(random: torch.Generator, modules: Named, optimizers: Optimizers) -> dict[str, Tensor]:
    """Random numbers, weights and the optimisers' memory under their names."""
    tensors: dict[str, Tensor] = {"random": random.get_state()}
    for name, module in modules:
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    for name, optimizer in optimizers:
        for index, slots in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{key}": torch.as_tensor(value) for key, value in slots.items()}
    return tensors


def unpack(
    tensors: Mapping[str, Tensor], random: torch.Generator, modules: Named, optimizers: Optimizers
) -> None:
    """The reverse of `pack`. Raises KeyError, RuntimeError, ValueError or TypeError when the tensors do not fit."""
    set_random(random, tensors["random"])
    for name, module in modules:
        # copy_ inside keeps each tensor's memory format, on which the last bits of a result may depend.
        module.load_state_dict(_part(tensors, name))
    for name, optimizer in optimizers:
        _restore_optimizer(optimizer, _part(tensors, name))


def set_random(random: torch.Generator, state: Tensor) -> None:
    """A state of the other kind of device is the seed of other numbers. Raises `ValueError` for one that no generator has been
    in: torch would read on past the end of its numbers."""
    sizes = {"cpu": _MERSENNE_BYTES, "cuda": _PHILOX_BYTES}
    other = [size for kind, size in sizes.items() if kind != random.device.type]
    if random.device.type in sizes and state.dtype == torch.uint8 and state.numel() in other:
        digest = hashlib.sha256(state.contiguous().numpy().tobytes()).digest()
        random.manual_seed(int.from_bytes(digest[:7]))
        return
    if random.device.type == "cpu" and state.dtype == torch.uint8 and state.numel() == _MERSENNE_BYTES:
        values = state.contiguous().reshape(-1)
        left, seeded = values[8:16].view(torch.int32).tolist()
        (following,) = values[16:24].view(torch.int64).tolist()
        fresh = left == 1 and following == 0
        if seeded != 1 or not (fresh or (1 <= left <= 624 and following == 625 - left)):
            raise ValueError(f"the random numbers are at {following} with {left} left of 624")
    random.set_state(state)


_MERSENNE_BYTES = 5056
"""Of the state of torch's generator on the CPU: a seed, then how many of 624 numbers are left, and which is the next."""
_PHILOX_BYTES = 16
"""Of one on a GPU: a seed, and how many numbers were drawn."""


def _part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Raises `ValueError` for what the optimiser would not have kept: fused steps believe every size and write past the end."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    expected = _SLOTS.get(type(optimizer).__name__)
    strict = expected is not None or any(group.get("fused") for group in optimizer.param_groups)
    kept: dict[int, set[str]] = {}
    optimizer.state.clear()  # what has gone on since may have taken up more
    for key, value in tensors.items():
        index, slot = key.split(".")
        if not (index.isdecimal() and len(index) < 10 and int(index) < len(parameters)):
            raise ValueError(f"there is no parameter {index[:20]} of {len(parameters)}")
        parameter = parameters[int(index)]
        if strict and value.shape != (torch.Size() if slot == "step" else parameter.shape):
            raise ValueError(f"{key} is {tuple(value.shape)}, its parameter {tuple(parameter.shape)}")
        if strict and not value.is_floating_point():
            raise ValueError(f"{key} is of {value.dtype}")
        kept.setdefault(int(index), set()).add(slot)
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(value).detach()
        elif slot == "step" and parameter.device.type != "cpu":
            value = value.to(parameter.device)
        optimizer.state[parameter][slot] = value
    if expected and (odd := [index for index, slots in kept.items() if slots != expected]):
        raise ValueError(f"of parameter {odd[0]} it keeps {', '.join(sorted(kept[odd[0]]))[:200]}")


_ADAM = {"step", "exp_avg", "exp_avg_sq"}
_SLOTS = {"Adam": _ADAM, "AdamW": _ADAM, "RMSprop": {"step", "square_avg"}}
"""What the optimisers of ganvas keep of a parameter: a number of steps, and tensors as large as it."""


def check_numbers(value: Any, where: str, largest: float = LARGEST_NUMBER) -> None:
    """Raise `GanvasError` for a number in JSON values that is not finite or above `largest` either way."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            check_numbers(each, f"{where}.{name}", largest)
    elif isinstance(value, list | tuple):
        for i, each in enumerate(value):
            check_numbers(each, f"{where}[{i}]", largest)
    elif isinstance(value, int | float) and not abs(value) <= largest:
        raise GanvasError(f"{where} is {value}; a file may say {largest:,} at most.")


def rebuild(
    path: Path, spec: Any, build: Callable[[], nn.Module], tensors: Mapping[str, Tensor],
    run: Callable[[nn.Module], object] | None = None, rows: int = 1,
) -> nn.Module:  # fmt: skip
    """The network that `build` makes of a file's `spec`, with the file's tensors.

    Nothing is allocated for what a header claims: the network is built without memory, stops where it has more parameters
    than the file has tensors, and has to agree with them in names, shapes and types. Raises `GanvasError`, also for weights
    that are not finite. With `run`, which runs the network on one sample on torch's meta device, what that takes is bounded
    too, see `effort.check_effort`.
    """
    if len(tensors) > MOST_TENSORS:
        raise GanvasError(f"{path} holds {len(tensors):,} tensors; a network has {MOST_TENSORS:,} at most.")
    try:
        check_numbers(spec, "its header")
        # A parametrised weight is registered twice. Layers of no width warn; their shapes are refused below.
        with (
            without_dynamo(),
            torch.device("meta"),
            _at_most(2 * len(tensors) + 16),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", UserWarning)
            network = build()
    except GanvasError as error:
        raise GanvasError(f"{path} does not fit its own config: {error}") from error
    except (
        TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError, MemoryError,
        AssertionError,
    ) as error:  # fmt: skip
        raise GanvasError(
            f"{path} does not fit its own config: nothing can be built of it ({error!r})."
        ) from error
    expected = network.state_dict()
    for name in sorted({*expected, *tensors}):
        want, have = (each.get(name) for each in (expected, tensors))
        if want is None or have is None or want.shape != have.shape:
            found, wanted = (
                ("missing" if have is None else tuple(have.shape)),
                ("none" if want is None else tuple(want.shape)),
            )
            raise GanvasError(
                f"{path} does not fit its own config: tensor {name!r} is {found}, expected {wanted}."
            )
        if have.dtype != want.dtype and not (have.dtype in _STORED and want.dtype.is_floating_point):
            raise GanvasError(
                f"{path} does not fit its own config: tensor {name!r} is of {have.dtype}, expected {want.dtype}."
            )
        if not have.numel():
            raise GanvasError(f"{path} does not fit its own config: tensor {name!r} holds no numbers.")
        if not torch.isfinite(have).all():
            raise GanvasError(
                f"{path} holds NaN or infinite weights, in tensor {name!r}. Use another snapshot of the run."
            )
    if run is not None:
        check_effort(str(path), network, lambda: run(network), rows)
    # Packaged weights are stored in bf16 and computed with in fp32.
    try:
        network.load_state_dict(
            {name: t.to(expected[name].dtype) for name, t in tensors.items()}, assign=True
        )
    except GanvasError as error:
        raise GanvasError(f"{path} does not fit its own config: {error}") from error
    return network


_STORED = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


@contextmanager
def _at_most(count: int) -> Iterator[None]:
    """Inside, this thread's modules may register so many parameters in all."""
    thread, left = threading.get_ident(), count

    def counted(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal left
        if threading.get_ident() == thread:
            left -= 1
            if left < 0:
                raise GanvasError("its header describes more layers than it holds tensors for.")

    handle = register_module_parameter_registration_hook(counted)
    try:
        yield
    finally:
        handle.remove()


def told_apart(path: Path, job: io.Json) -> Path:
    """A name beside `path` that no other job has."""
    digest = hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:OLD_DIGITS]
    return path.with_name(f"{path.stem}.{digest}{path.suffix}")


class Checkpoint:
    """Where a long job was: written every so many seconds, read when the same job starts again, removed at its end.

    `job` says which job it is, and is told in the file's name, so that none is written over, or removed, that is another one's.
    Without a path nothing is kept.
    """

    def __init__(self, path: Path | None, job: io.Json, every: float = 20.0) -> None:
        self.path, self.job, self.every = path and told_apart(path, job), job, every
        self.written = time.monotonic()

    def resume(self, random: torch.Generator, modules: Named, optimizers: Optimizers) -> int:
        """Load what there is; the steps done, 0 for a new job. Raises `GanvasError` for a file that is damaged."""
        if self.path is None or not self.path.is_file():
            return 0
        tensors, header = io.load_tensors(self.path)
        if header.get("kind") != "checkpoint" or header.get("job") != self.job:
            return 0
        try:
            step = header["step"]
            if type(step) is not int or step < 0:
                raise ValueError(f"its step is {step!r}")
            unpack(tensors, random, modules, optimizers)
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise GanvasError(
                f"{self.path} is damaged: {error}. Delete it, and the job begins anew."
            ) from error
        return step

    def keep(self, step: int, random: torch.Generator, modules: Named, optimizers: Optimizers) -> None:
        """Write the file when it is time."""
        if self.path is None or time.monotonic() - self.written < self.every:
            return
        with io.atomic(self.path) as temporary:
            header = {"kind": "checkpoint", "job": self.job, "step": step}
            io.save_tensors(temporary, pack(random, modules, optimizers), header)
        self.written = time.monotonic()

    def done(self) -> None:
        """The job is finished."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
