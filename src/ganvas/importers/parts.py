"""Tensors by name and numbers of a config, from files that anybody may have written."""

import bisect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas import io
from ganvas.checkpoint import LARGEST_NUMBER
from ganvas.errors import GanvasError
from ganvas.runs import check_beside

MOST = 2**14
"""Tensors of one network, with all that stands beside its weights."""
LONGEST_NAME = 300
SHARED = 2
"""Times that what is taken may be as large as what lies in the file: tensors may share their numbers, which cost once."""


class Weights:
    """The tensors of a state dict, taken by name. Raises `GanvasError` for more than any network has."""

    def __init__(self, content: Mapping[Any, Any], source: str) -> None:
        self.source = source
        self.taken: set[str] = set()
        self.tensors = {
            name: value
            for name, value in content.items()
            if isinstance(name, str) and isinstance(value, Tensor)
        }
        if len(self.tensors) > MOST:
            raise GanvasError(
                f"{source}: the file has {len(self.tensors):,} tensors for one network; {MOST:,} are read at most."
            )
        if (longest := max(map(len, self.tensors), default=0)) > LONGEST_NAME:
            raise GanvasError(
                f"{source}: a tensor has a name of {longest:,} letters; {LONGEST_NAME} are read at most."
            )
        self.names = sorted(self.tensors)
        held = {
            (each.untyped_storage().data_ptr(), each.untyped_storage().nbytes())
            for each in self.tensors.values()
        }
        self.left = SHARED * sum(size for _, size in held)

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def take(self, name: str, dims: int) -> Tensor:
        """The tensor in float32. Raises `GanvasError` where it is missing, or has not so many dimensions."""
        found = self.tensors.get(name)
        if found is None:
            raise GanvasError(f"{self.source}: the file is incomplete, tensor {name!r} is missing.")
        if name not in self.taken:
            self.taken.add(name)
            self.left -= found.numel() * found.element_size()
            if self.left < 0:
                raise GanvasError(f"{self.source}: its tensors are the same numbers again and again.")
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

    def any_of(self, prefix: str) -> bool:
        """Whether a tensor's name begins so."""
        at = bisect.bisect_left(self.names, prefix)
        return at < len(self.names) and self.names[at].startswith(prefix)

    def count(self, name: str, most: int = 64) -> int:
        """How many i there are of which `name.format(i)` begins a tensor's name, from 0 on."""
        found = 0
        while found < most and self.any_of(name.format(found)):
            found += 1
        return found


def json_beside(file: Path | None, name: str) -> io.Json | None:
    """The JSON object in the file `name` beside another; None where there is none.

    Raises `GanvasError` for a damaged one, and for a link that leads out of the folder (`runs.check_beside`).
    """
    if file is None or not (path := file.with_name(name)).is_file():
        return None
    check_beside(path, file)
    return io.read_json(path)


def config_beside(file: Path | None, name: str, source: str) -> io.Json:
    """The same; raises `GanvasError` where there is none, too."""
    if (found := json_beside(file, name)) is None:
        raise GanvasError(
            f"{source}: these weights are read by the {name} that was written beside them. Put it there."
        )
    return found


def whole(
    config: Mapping[str, Any], name: str, source: str, *, least: int = 1, most: int = LARGEST_NUMBER
) -> int:
    """A whole number of a config. Raises `GanvasError` for anything else, or none between `least` and `most`."""
    value = config.get(name)
    if type(value) is not int or not least <= value <= most:
        raise GanvasError(f"{source}: its config needs {name}, a whole number from {least} to {most:,}.")
    return value
