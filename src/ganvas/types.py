"""What the parts expect of each other. `B` is the batch size, `C H W` an image, `Z` the latent length."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from ganvas.errors import counted

Shape = tuple[int, ...]
"""(C, H, W) of an image, (C, T) of a series or (D,) of a point."""
Kind = Literal["images", "series", "points"]


def kind_of(shape: Sequence[int]) -> Kind:
    """What samples of a shape are."""
    return "images" if len(shape) == 3 else "series" if len(shape) == 2 else "points"


def described(shape: Sequence[int]) -> str:
    """`images of 3 x 32 x 32`"""
    return f"{kind_of(shape)} of {' x '.join(map(str, shape))}"


def counted_samples(count: int, shape: Sequence[int]) -> str:
    """`1 image`, `2 series`: so many samples of a shape."""
    kind = kind_of(shape)
    return counted(count, kind if kind == "series" else kind.removesuffix("s"), kind)


Batch = tuple[Tensor, Tensor | None]
"""Samples (B, ...) and labels (B,) or None."""
Progress = Callable[[str, int, int], None]
"""Hears (what is being done, how much of it is done, of how much): `progress` of every function that takes long."""


class Guarantee(NamedTuple):
    """(epsilon, delta)-differential privacy of what was trained, for one sample more or less in the data."""

    epsilon: float
    delta: float

    def __str__(self) -> str:
        return f"epsilon {self.epsilon:.3g} at delta {self.delta:.1g}"


def silent(what: str, done: int, total: int) -> None:
    """A `Progress` that nobody hears."""


def counting(tell: Progress, what: str, total: int) -> Callable[[int], None]:
    """Tells `tell` how much is done whenever it hears how much more is; begins with nothing."""
    done = 0
    tell(what, done, total)

    def advance(more: int) -> None:
        nonlocal done
        done += more
        tell(what, done, total)

    return advance


@runtime_checkable
class Generator(Protocol):
    """Draws samples from latents. Every network in `ganvas.networks` has these."""

    latent_dim: int
    shape: Shape
    num_classes: int
    value_range: tuple[float, float]
    """Lowest and highest value of an image it draws: (-1, 1), or (0, 1) behind a sigmoid."""

    def __call__(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """z (B, Z) and labels (B,) -> samples (B, *shape)."""


@runtime_checkable
class Critic(Protocol):
    """Scores samples; higher is more real. Returns logits, never probabilities."""

    def __call__(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """x (B, *shape) and labels (B,) -> logits (B,)."""
