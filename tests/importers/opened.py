"""Files of other toolkits, what ganvas makes of them, and what the published code gave.

files/ holds tiny networks with random weights, written by the published code, and the pictures that it drew of them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.checkpoint import rebuild
from ganvas.importers import Imported, recognise
from ganvas.inert import read
from ganvas.networks import CriticBase, GeneratorBase, build_critic, build_generator

FILES = Path(__file__).with_name("files")


def content(name: str) -> Any:
    """What the reader finds in a file below files/."""
    return read(FILES / name)


def imported(name: str) -> Imported:
    return recognise(content(name), FILES / name)


def generator_of(found: Imported) -> GeneratorBase:
    """As a file is opened: built without memory, and checked against the tensors."""

    def build() -> GeneratorBase:
        return build_generator(found.network, found.shape, found.num_classes)

    made = rebuild(Path("file"), found.network.generator, build, found.generator)
    assert isinstance(made, GeneratorBase)
    return made.eval().requires_grad_(False)


def critic_of(found: Imported) -> CriticBase:
    assert found.critic is not None

    def build() -> CriticBase:
        return build_critic(found.network, found.shape, found.num_classes)

    made = rebuild(Path("file"), found.network.critic, build, found.critic)
    assert isinstance(made, CriticBase)
    return made.eval().requires_grad_(False)


def official(name: str) -> dict[str, Tensor]:
    with np.load(FILES / f"{name}.npz") as held:
        return {key: torch.from_numpy(held[key]) for key in held}


def near(found: Tensor, expected: Tensor, within: float = 1e-5) -> None:
    """`within` the largest official value."""
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= within * float(expected.abs().max())
