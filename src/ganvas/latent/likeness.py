"""How real samples look in themselves, not beside their own kind: whether they and real images are one another's neighbours."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.errors import GanvasError
from ganvas.features.base import Extractor, at_once, embed
from ganvas.latent.map import extractor_of
from ganvas.model import Model

MOST = 1000
"""Samples, and real images, that are compared at most: figures of different models are then of equal numbers."""
LEAST = 20
STRANGE = 0.2
"""Likeness below which samples are called noise, or one picture over and over: nothing that looks like the data."""
BATCH = 256


@dataclass(frozen=True)
class Likeness:
    """What `likeness` found."""

    samples: float
    """Share of the samples whose nearest neighbour is a real image, over the share that real images in their place would have."""
    real: float
    """Share of the real images whose nearest neighbour is a sample, over the same."""
    error: float
    """Standard error of `value`."""
    n: int
    """Samples, and as many real images."""

    @property
    def value(self) -> float:
        """The smaller of the two: 1 for samples that cannot be told from real images, 0 for noise and for a collapsed model."""
        return min(self.samples, self.real)

    @property
    def strange(self) -> bool:
        """Whether the samples hardly look like the data at all."""
        return self.value + 2 * self.error < STRANGE

    @property
    def words(self) -> str:
        """In one sentence."""
        if self.strange:
            return (
                f"Likeness {self.value:.0%} ± {self.error:.0%}: the samples look like one another and not like the real images "
                "(0 %: noise or one picture over and over; 100 %: as real images among themselves)."
            )
        return (
            f"Likeness {self.value:.0%} ± {self.error:.0%} (0 %: noise; 100 %: samples and real images are neighbours "
            "as often as real images among themselves)."
        )


def likeness(
    model: Model, real: Tensor, *, n: int = MOST, seed: int = 0, extractor: Extractor | None = None
) -> Likeness:
    """The nearest-neighbour test of two samples, for n samples of `seed` and as many real images (uint8, or points).

    Leave-one-out: the share of each set whose nearest other one, of both sets together, belongs to the other set (Lopez-Paz and
    Oquab 2017; Xu et al. 2018 report the two sets apart, as is done here). Two sets of n from one distribution have n / (2n - 1),
    which counts as 1. Noise has 0 in one set at least, whatever the scale of the features: samples that are all near to one
    another are never the neighbours of real images *and* have them for neighbours. Ranks among a model's own samples (typicality)
    cannot tell that. Above 1 samples lie nearer to real images than those do to each other: copies.

    `extractor` is by default what the map measures distances by: a bundled classifier, else image pyramids, which take blurred
    pictures of the right colours for good ones. Raises `GanvasError` for real images of another size, and for
    fewer than `LEAST`.
    """
    n, real = (
        arrays.count(n, "n, the number of samples,"),
        arrays.as_samples(real, "real", len(model.shape) == 2),
    )
    model.check_shape(real, "real images")
    n = min(n, len(real))
    if n < LEAST:
        raise GanvasError(f"Likeness needs at least {LEAST} samples and real images, got {n}.")
    chosen = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))[:n].sort().values
    see = extractor or extractor_of(model)
    rows = chosen.split(at_once(tuple(real.shape[1:]), BATCH))
    # Part by part: a thousand pictures of 1,024 px are 3 GB, and 256 of them as floats as much.
    sets = (part.cpu() for part in model.batches(n, seed=seed)), (real[each] for each in rows)
    fake, true = (torch.from_numpy(embed(see, parts).features) for parts in sets)
    return neighbours(fake, true)


def neighbours(fake: Tensor, real: Tensor) -> Likeness:
    """The same for features of samples and of as many real images (n, F) each."""
    fake, real = arrays.as_pair(fake, real)
    n = len(fake)
    if n != len(real) or n < 2:
        raise GanvasError(f"Likeness compares equal numbers, got {n} samples and {len(real)} real images.")
    # Part by part: both sets together, and once more in float64, are three times as much.
    parts, nearest, start = [*fake.split(BATCH), *real.split(BATCH)], list[Tensor](), 0
    for part in parts:
        squares = torch.cat([torch.cdist(part.double(), other.double()) for other in parts], 1)
        rows = torch.arange(len(part), device=part.device)
        squares[rows, start + rows] = torch.inf
        nearest.append(squares.argmin(1))
        start += len(part)
    is_real = torch.cat(nearest) >= n
    usual = n / (2 * n - 1)
    shares = (float(is_real[:n].double().mean()), float((~is_real[n:]).double().mean()))
    smaller = min(shares)
    error = max(smaller * (1 - smaller), 1 / n) ** 0.5 / n**0.5 / usual
    return Likeness(shares[0] / usual, shares[1] / usual, error, n)
