"""Tensors by name and numbers of a config, from files that anybody may have written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas import io
from ganvas.checkpoint import LARGEST_NUMBER
from ganvas.errors import GanvasError


class Weights:
    """The tensors of a state dict, taken by name."""

    def __init__(self, content: Mapping[Any, Any], source: str) -> None:
        self.source = source
        self.taken: set[str] = set()
        self.tensors = {
            name: value
            for name, value in content.items()
            if isinstance(name, str) and isinstance(value, Tensor)
        }

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def take(self, name: str, dims: int) -> Tensor:
        """The tensor in float32. Raises `GanvasError` where it is missing, or has not so many dimensions."""
        found = self.tensors.get(name)
        self.taken.add(name)
        if found is None:
            raise GanvasError(f"{self.source}: the file is incomplete, tensor {name!r} is missing.")
        if found.dim() != dims or not found.is_floating_point():
            raise GanvasError(
                f"{self.source}: tensor {name!r} is {str(found.dtype).removeprefix('torch.')} of shape "
                f"{tuple(found.shape)}; expected {dims} dimensions of floats."
            )
        return found.detach().to(torch.float32)

    def all_taken(self, prefixes: tuple[str, ...], but: tuple[str, ...] = ()) -> None:
        """Raise `GanvasError` where names that begin with a prefix were not taken, but those that end with one of `but`.

        What is left over would belong to a network that draws something else.
        """
        left = [
            each for each in self.tensors if each.startswith(prefixes) and not each.endswith(but or ("\0",))
        ]
        if left := sorted({*left} - self.taken):
            raise GanvasError(
                f"{self.source}: {len(left)} of the file's tensors have no place in the network that ganvas knows, as "
                f"{left[0][:100]!r}. It may be of another version."
            )

    def count(self, name: str, most: int = 64) -> int:
        """How many i there are of which `name.format(i)` begins a tensor's name, from 0 on."""
        prefixes = [name.format(i) for i in range(most)]
        found = 0
        while found < most and any(each.startswith(prefixes[found]) for each in self.tensors):
            found += 1
        return found


def config_beside(folder: Path | None, name: str, source: str) -> io.Json:
    """The JSON object in the file `name` of the folder. Raises `GanvasError` where there is none."""
    path = None if folder is None else folder / name
    if path is None or not path.is_file():
        raise GanvasError(
            f"{source}: these weights are read by the {name} that was written beside them. Put it there."
        )
    return io.read_json(path)


def whole(
    config: Mapping[str, Any], name: str, source: str, *, least: int = 1, most: int = LARGEST_NUMBER
) -> int:
    """A whole number of a config. Raises `GanvasError` for anything else, or none between `least` and `most`."""
    value = config.get(name)
    if type(value) is not int or not least <= value <= most:
        raise GanvasError(f"{source}: its config needs {name}, a whole number from {least} to {most:,}.")
    return value
