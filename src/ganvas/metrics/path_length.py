"""Perceptual path length: how far the picture moves when the latent moves a little."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from ganvas import arrays, dist
from ganvas.errors import GanvasError, counted
from ganvas.geometry import lerp, slerp
from ganvas.latent.paths import rows_seen
from ganvas.latent.space import LatentSpace
from ganvas.metrics.resample import standard_error


class Space(Protocol):
    """A latent space that can be sampled and decoded."""

    flat: bool
    """True where straight lines are natural (w); False for normal latents, which live near a sphere (z)."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n latents (n, Z)."""

    def decode(self, latents: Tensor) -> Tensor:
        """(n, Z) -> float images (n, C, H, W) or points (n, D), never rounded to bytes."""


class PairedSpace:
    """A latent space of a model, both ends of a path getting the same class. Points are flattened."""

    def __init__(self, space: LatentSpace) -> None:
        self.space, self.flat = space, space.flat

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n points (n, D): the second half is of the classes of the first."""
        return self.space.sample(n, generator, self._labels(n)).flatten(1)

    def decode(self, latents: Tensor) -> Tensor:
        """(n, D) -> float samples; pictures within a range of 2, whatever the generator's is."""
        return self._drawn(latents, self._labels(len(latents)))

    def pairs(self, first: Tensor, second: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """What `decode` gives of both, of large pictures some at a time: 128 pairs of 1,024 px take 14 GB."""
        labels = self._labels(2 * len(first))
        for rows in torch.arange(len(first)).split(max(1, rows_seen(self.space) // 2)):
            both = torch.cat([first[rows], second[rows]])
            yield _halves(self._drawn(both, None if labels is None else labels[rows].repeat(2)))

    def _drawn(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        drawn = self.space.decode(latents.reshape(-1, *self.space.shape), labels)
        low, high = self.space.model.generator.value_range
        return drawn if drawn.dim() != 4 else drawn * (2 / (high - low))

    def _labels(self, n: int) -> Tensor | None:
        half, classes = -(-n // 2), self.space.model.generator.num_classes
        # Of more classes than samples some of all, not the first ones.
        spread = torch.arange(half) * classes // half if classes > half else None
        labels = self.space.labels(half, spread)
        return None if labels is None else torch.cat([labels, labels])[:n]


class PathLength(NamedTuple):
    """Mean over paths and its standard error."""

    mean: float
    error: float


Distance = Callable[[Tensor, Tensor], Tensor]
"""Two batches of decoded samples -> squared distances (n,)."""


def squared_pixels(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of the values of two samples."""
    return (a - b).flatten(1).double().square().mean(1)


def _halves(samples: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the second half of samples."""
    half = len(samples) // 2
    return samples[:half], samples[half:]


def _decoded(space: Space, first: Tensor, second: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    """What both ends of paths are decoded to."""
    if isinstance(space, PairedSpace):
        return space.pairs(first, second)
    return [_halves(space.decode(torch.cat([first, second])))]


def path_length(
    space: Space,
    *,
    n: int = 10_000,
    epsilon: float = 1e-4,
    at: Literal["full", "end"] = "full",
    distance: Distance = squared_pixels,
    trim: bool = True,
    batch: int = 128,
    seed: int = 0,
) -> PathLength:
    """E d(G(l(t)), G(l(t + epsilon))) / epsilon^2 over random paths l (Karras et al. 2019).

    t is uniform on [0, 1] (`full`) or 0 (`end`); paths are great circles in a normal z and straight lines in a flat
    space. `distance` must return squared distances, as LPIPS does. `trim` drops the lowest and the highest hundredth,
    as published. Samples stay floats: rounding to bytes before the difference is taken swamps it.
    """
    arrays.count(n, "n")
    arrays.count(batch, "batch")
    arrays.number(epsilon, "epsilon", above=0)
    if at not in ("full", "end"):
        raise GanvasError(f"Unknown place {at!r}: a path is measured over its full length or at its end.")
    random = torch.Generator().manual_seed(arrays.seed(seed))

    def ends() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for start in range(0, n, batch):
            count = min(batch, n - start)
            first, second = space.sample(2 * count, random).chunk(2)
            full = at == "full"
            t = torch.rand(count, 1, generator=random).to(first) if full else first.new_zeros(count, 1)
            yield first, second, t

    def lengths(first: Tensor, second: Tensor, t: Tensor) -> Tensor:
        walk = lerp if space.flat else slerp
        ends = walk(first, second, t), walk(first, second, t + epsilon)
        found = list[Tensor]()
        for a, b in _decoded(space, *ends):
            if not a.is_floating_point():
                raise GanvasError(f"path_length needs float samples, the space decoded {a.dtype}.")
            squares = distance(a, b)
            if squares.shape != (len(a),):
                raise GanvasError(
                    f"distance gave {tuple(squares.shape)} for {counted(len(a), 'pair')}; expected one squared distance "
                    "a pair."
                )
            found.append(squares.double().cpu() / epsilon**2)
        return torch.cat(found)

    with torch.inference_mode():
        values = torch.cat(list(dist.collect(lengths(*each) for each in dist.shard(ends()))))
    if not torch.isfinite(values).all():
        raise GanvasError(
            "The generator drew NaN or infinity on a path, or epsilon is too small for its square."
        )
    if trim and n >= 100:
        low, high = values.quantile(torch.tensor([0.01, 0.99], dtype=values.dtype))
        values = values[(values >= low) & (values <= high)]
    return PathLength(float(values.mean()), standard_error(values))
