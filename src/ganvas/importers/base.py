"""What an importer gives, and what importers share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ganvas.config import NetworkConfig
from ganvas.registry import Registry
from ganvas.types import Shape


@dataclass(frozen=True)
class Imported:
    """A generator found in somebody else's file."""

    source: str
    """The toolkit that made the file: "StyleGAN2-ADA (PyTorch)"."""
    network: NetworkConfig
    """What `build_generator` builds it from."""
    shape: Shape
    num_classes: int
    generator: dict[str, Tensor]
    """The state dict of the family's generator."""
    critic: dict[str, Tensor] | None
    notes: tuple[str, ...]
    """What was found and assumed, in words."""
    encoder: dict[str, Tensor] | None = None
    """The state dict of an autoencoder's encoder, which is the critic of the family."""
    at: "Callable[[int], Imported] | None" = None
    """The same for pictures of another side, where the network draws any."""


Importer = Callable[[Any, Path | None], Imported | None]
"""(content of the file, where it lies) -> what it is, or None where it is of another toolkit."""

importers: Registry[Importer] = Registry("importer")
