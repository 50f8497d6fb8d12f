"""Scores of membership: which real samples were among the training data? Higher says rather that they were.

All are functions of feature rows: x (N, D) are the samples in question, `fake` (M, D) what the generator draws, and `reference`
(R, D) what nobody trained on and nobody asks about, or samples of a generator that was trained on other data.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.arrays import Array
from ganvas.errors import GanvasError
from ganvas.metrics.manifold import at_a_time, exact, nearest_distances

BLOCK = 512


def distance(x: Array, fake: Array) -> Tensor:
    """Minus the distance to the nearest fake (GAN-Leaks, Chen et al. 2020, full black-box). float64 (N,)."""
    (a, b), unit = arrays.apart(*arrays.as_pair(x, fake, names=("x", "fake")))
    return -nearest_distances(a, b)[0].double() * unit


def calibrated(x: Array, fake: Array, reference: Array) -> Tensor:
    """How much nearer the fakes come than the reference does: `distance` to both, subtracted (Chen et al. 2020, section 5.4).

    What is near to everything is no member for it. float64 (N,)
    """
    return distance(x, fake) - distance(x, reference)


def monte_carlo(x: Array, fake: Array, radius: float | None = None) -> Tensor:
    """Share of the fakes within a radius of each sample (Hilprecht et al. 2019, equation 2). float64 (N,), 0 to 1.

    The radius is by default the median distance of the samples to their nearest fake, their median heuristic (section 3.2).
    """
    (a, b), unit = arrays.apart(*arrays.as_pair(x, fake, names=("x", "fake")))
    chosen = None if radius is None else arrays.number(radius, "radius", above=0) / unit
    reach = chosen or float(nearest_distances(a, b)[0].median())
    middle = b.mean(0)
    a, b = exact(a) - middle, exact(b) - middle  # far from 0, squares would lose the digits of distances
    parts = a.split(at_a_time(2 * len(b), BLOCK))
    return torch.cat([(torch.cdist(rows, b) <= reach).sum(1) for rows in parts]).double() / len(b)


def density(x: Array, samples: Array, dim: int = 16) -> Tensor:
    """Log density of x by Gaussian kernels around samples (M, D), up to a constant of the set. float64 (N,)

    On the `dim` largest principal components of the samples, each of variance 1, with Scott's width M^(-1 / (dim + 4)).
    """
    (a, b), _ = arrays.apart(*arrays.as_pair(x, samples, least=2, names=("x", "samples")))
    rows, around = _whitened((a, b), b, arrays.count(dim, "dim"))
    return _kernels(rows, around)


def domias(x: Array, fake: Array, reference: Array, dim: int = 16) -> Tensor:
    """log p_fake(x) - log p_reference(x), both by kernels (DOMIAS, van Breugel et al. 2023, equation 2). float64 (N,)

    Both densities are taken on the principal components of the reference, with the kernel width of the smaller set: so the
    ratio is of densities alone, and every sample counts, in whatever order they come.
    """
    a, b = arrays.as_pair(x, reference, least=2, names=("x", "reference"))
    _, c = arrays.as_pair(x, fake, least=2, names=("x", "fake"))
    (a, c, b), _ = arrays.apart(a, c.to(a), b)
    asked, drawn, around = _whitened((a, c, b), b, arrays.count(dim, "dim"))
    fewer = min(len(b), len(c))
    return _kernels(asked, drawn, fewer) - _kernels(asked, around, fewer)


def _whitened(sets: Sequence[Tensor], around: Tensor, dim: int) -> list[Tensor]:
    """Sets of rows on the principal components of `around`, each of variance 1; float64.

    Some rows at a time: of 50,000 small pictures in float64 there would be 1.2 GB, twice.
    """
    mean = around.mean(0)
    values, vectors = arrays.leading(around, dim, mean)
    values = values / (len(around) - 1)
    kept = values > 1e-9 * values[-1].clamp_min(1e-300)
    if not bool(kept.any()):
        raise GanvasError("All samples are the same: they have no density.")
    basis = (vectors / values.clamp_min(1e-300).sqrt())[:, kept]
    return [torch.cat([(part - mean).double() @ basis for part in rows.split(arrays.BLOCK)]) for rows in sets]


def _kernels(x: Tensor, around: Tensor, count: int | None = None) -> Tensor:
    """Log density of x by kernels around samples, as wide as suits `count` of them: all, where nobody says it."""
    width = (count or len(around)) ** (-1 / (x.shape[1] + 4))
    parts = [
        torch.logsumexp(torch.cdist(rows, around).square_().mul_(-0.5 / width**2), 1)
        for rows in x.split(at_a_time(4 * len(around), BLOCK))
    ]
    return torch.cat(parts) - math.log(len(around)) - x.shape[1] * math.log(width)
