"""What every network family has in common, and how a family is built from a config."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.registry import Registry, did_you_mean
from ganvas.types import Shape


class GeneratorBase(nn.Module):
    """Latents z (B, latent_dim) and labels (B,) -> samples (B, *shape) within `value_range`."""

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        num_classes: int = 0,
        value_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        super().__init__()
        self.shape = shape
        self.latent_dim = latent_dim
        self.num_classes = num_classes
        self.value_range = value_range
        # A label enters as a learned vector beside z.
        self.embed = nn.Embedding(num_classes, latent_dim) if num_classes else None
        self.input_dim = latent_dim * (2 if num_classes else 1)

    def with_labels(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """z, or z and the label's vector side by side (B, input_dim)."""
        if self.embed is None:
            return z
        if labels is None:
            raise GanvasError("This generator is conditional: give labels, a long tensor of shape (B,).")
        return torch.cat([z, self.embed(labels)], dim=1)


class CriticBase(nn.Module):
    """Samples (B, *shape) and labels (B,) -> logits (B,), higher for real."""

    def __init__(self, shape: Shape, num_classes: int = 0, features: int = 1) -> None:
        super().__init__()
        self.shape = shape
        self.num_classes = num_classes
        self.embed = nn.Embedding(num_classes, features) if num_classes else None

    def features(self, x: Tensor) -> Tensor:
        """The last hidden layer, flattened (B, F)."""
        raise NotImplementedError

    def head(self, features: Tensor) -> Tensor:
        """Features (B, F) -> unconditional logits (B, 1)."""
        raise NotImplementedError

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.features(x)
        logits = self.head(features).squeeze(1)
        if self.embed is not None:
            if labels is None:
                raise GanvasError("This critic is conditional: give labels, a long tensor of shape (B,).")
            # The projection critic of Miyato and Koyama (2018), equation 3.
            logits = logits + (self.embed(labels) * features).sum(1) / features.shape[1] ** 0.5
        return logits


@dataclass(frozen=True)
class Family:
    """A generator and the critic that goes with it."""

    generator: Callable[..., GeneratorBase]
    critic: Callable[..., CriticBase]


families: Registry[Family] = Registry("network")


def build_generator(config: NetworkConfig, shape: Shape, num_classes: int, seed: int = 0) -> GeneratorBase:
    """The generator of a config, its weights drawn from `seed` alone."""
    build = families.get(config.name).generator
    options = _check_options(build, config.generator, f"{config.name} generator")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(shape, config.latent_dim, num_classes=_classes(config, num_classes), **options)


def build_critic(config: NetworkConfig, shape: Shape, num_classes: int, seed: int = 0) -> CriticBase:
    """The critic of a config, its weights drawn from `seed` alone."""
    build = families.get(config.name).critic
    options = _check_options(build, config.critic, f"{config.name} critic")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return build(shape, num_classes=_classes(config, num_classes), **options)


def _classes(config: NetworkConfig, num_classes: int) -> int:
    return num_classes if config.conditional else 0


def _check_options(build: Callable[..., Any], options: Mapping[str, Any], what: str) -> dict[str, Any]:
    known = list(inspect.signature(build).parameters)
    known = [name for name in known if name not in ("self", "shape", "latent_dim", "num_classes")]
    for name in options:
        if name not in known:
            raise GanvasError(
                f"Unknown option {name!r} of the {what}.{did_you_mean(name, known)} Known: {', '.join(known)}."
            )
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def square_side(shape: Shape, family: str, low: int, high: int) -> int:
    """The side of a square image that `family` can draw; raises `GanvasError` saying which sizes it can."""
    if len(shape) != 3:
        raise GanvasError(f"Network {family!r} draws images, not points of shape {shape}. Use --network mlp.")
    side = shape[1]
    if shape[1] != shape[2] or not low <= side <= high or (side > 7 and side % 2):
        raise GanvasError(
            f"Network {family!r} draws square images of {low} to {high} px with an even side, the data has {shape[1]} x "
            f"{shape[2]}. Add --resolution {min(high, max(low, 2 ** round(math.log2(side))))} --resize crop."
        )
    return side


def halvings(side: int, smallest: int = 4) -> int:
    """How often a side can be halved before it is odd or smaller than 2 x `smallest`: 28 -> 2 (7), 32 -> 3 (4)."""
    count = 0
    while side % 2 == 0 and side >= 2 * smallest:
        side, count = side // 2, count + 1
    return count


def from_uint8(images: Tensor, value_range: tuple[float, float]) -> Tensor:
    """uint8 images -> floats within `value_range`."""
    low, high = value_range
    return images.to(torch.get_default_dtype()) * ((high - low) / 255) + low


def to_uint8(images: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Floats within `value_range` -> uint8 images, rounded and clipped."""
    low, high = value_range
    return ((images.float() - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)
