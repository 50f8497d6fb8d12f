"""The state of something that learns as plain tensors, and a file that a long job goes on from. Never a pickle."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ganvas import io

Named = Iterable[tuple[str, nn.Module]]
Optimizers = Iterable[tuple[str, torch.optim.Optimizer]]


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
    random.set_state(tensors["random"])
    for name, module in modules:
        # copy_ inside keeps each tensor's memory format, on which the last bits of a result may depend.
        module.load_state_dict(_part(tensors, name))
    for name, optimizer in optimizers:
        _restore_optimizer(optimizer, _part(tensors, name))


def _part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, value in tensors.items():
        index, slot = key.split(".")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(value).detach()
        elif slot == "step" and parameter.device.type != "cpu":
            value = value.to(parameter.device)
        optimizer.state[parameter][slot] = value


class Checkpoint:
    """Where a long job was: written every so many seconds, read when the same job starts again, removed at its end.

    `job` says which job it is: a file of another one is not touched until this job writes its own. Without a path nothing is
    kept.
    """

    def __init__(self, path: Path | None, job: io.Json, every: float = 20.0) -> None:
        self.path, self.job, self.every = path, job, every
        self.written = time.monotonic()

    def resume(self, random: torch.Generator, modules: Named, optimizers: Optimizers) -> int:
        """Load what there is; the steps done, 0 for a new job."""
        if self.path is None or not self.path.is_file():
            return 0
        tensors, header = io.load_tensors(self.path)
        if header.get("kind") != "checkpoint" or header.get("job") != self.job:
            return 0
        unpack(tensors, random, modules, optimizers)
        return int(header["step"])

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
