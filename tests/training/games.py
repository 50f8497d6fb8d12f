"""A game ready to step, as the loop makes it."""

import torch

from ganvas.config import Config
from ganvas.training.gan import GanMethod
from ganvas.training.method import DataSpec, build_method


def gan(config: Config, shape: tuple[int, ...], num_classes: int, device: torch.device) -> GanMethod:
    """The `GanMethod` of a config."""
    made = build_method(config, DataSpec(shape, num_classes), device)
    assert isinstance(made, GanMethod)
    return made
