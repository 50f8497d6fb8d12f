"""Kernel distance (KID): squared maximum mean discrepancy with the cubic polynomial kernel."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganvas import arrays, dist
from ganvas.arrays import Array
from ganvas.errors import GanvasError
from ganvas.metrics.manifold import at_a_time

BLOCK = 2048
MOST_SUBSETS = 100_000
LARGEST = 1e30
"""Kernel values beyond which float32 features are computed with in float64: float32 ends at 3e38, and values are summed."""


class Kid(NamedTuple):
    """Mean and spread over the subsets; the spread of the exact value is its estimated standard error."""

    mean: float
    std: float


def kid(fake: Array, real: Array, *, subsets: int = 100, subset_size: int = 1000, seed: int = 2020) -> Kid:
    """Unbiased squared MMD with k(a, b) = (a . b / D + 1)^3, mean over random subsets (Binkowski et al. 2018).

    Features (N, D) and (M, D); unbiased, so equal distributions give values around 0, below it too. The default seed
    draws the very subsets that torch-fidelity draws. Raises `GanvasError` when a set is smaller than `subset_size`.
    """
    x, y = _pair(fake, real)
    arrays.count(subsets, "subsets", most=MOST_SUBSETS)
    arrays.count(subset_size, "subset_size", 2)
    if min(len(x), len(y)) < subset_size:
        raise GanvasError(
            f"KID with subsets of {subset_size} needs as many rows; got {len(x)} and {len(y)}. "
            "Give a smaller subset_size (at least 2), or use kid_exact, which takes any number."
        )
    random = np.random.RandomState(arrays.seed(seed))

    def chosen(rows: Tensor) -> Tensor:
        return torch.from_numpy(random.choice(len(rows), subset_size, replace=False)).to(x.device)

    def value(of_x: Tensor, of_y: Tensor) -> float:
        a, b = x[of_x], y[of_y]
        inside = (_kernel(a, a).double(), _kernel(b, b).double())
        within = sum(float(k.sum() - k.diagonal().sum()) for k in inside) / (subset_size * (subset_size - 1))
        return arrays.finite(within - 2 * float(_kernel(a, b).double().mean()), "kernel distance")

    pairs = ((chosen(x), chosen(y)) for _ in range(subsets))
    values = list(dist.collect(value(*pair) for pair in dist.shard(pairs)))
    return Kid(float(np.mean(values)), arrays.finite(float(np.std(values)), "spread of the kernel distance"))


def kid_exact(fake: Array, real: Array) -> Kid:
    """The same over all pairs: no chance of subsets in it. The error is that of a U-statistic to first order.

    Works block by block: memory grows with N, never with N^2.
    """
    x, y = _pair(fake, real)
    n, m = len(x), len(y)
    own_x, own_y = _row_means(x, x, True), _row_means(y, y, True)
    cross_x, cross_y = _row_means(x, y), _row_means(y, x)
    value = own_x.mean() + own_y.mean() - 2 * cross_x.mean()
    # Influence of every row on the value: its mean kernel within minus the one across.
    error = 4 * ((own_x - cross_x).var() / n + (own_y - cross_y).var() / m)
    return Kid(
        arrays.finite(float(value), "kernel distance"),
        arrays.finite(float(error**0.5), "error of the kernel distance"),
    )


def _pair(fake: Array, real: Array) -> tuple[Tensor, Tensor]:
    x, y = arrays.as_pair(fake, real, least=2)
    parts = (part for rows in (x, y) for part in rows.split(BLOCK))  # all of them in float64 may be gigabytes
    longest = max(float(torch.linalg.vector_norm(part.double(), dim=1).max()) for part in parts)
    # The kernel is no function of distances: neither an offset nor a factor can be taken out of it.
    return (x.double(), y.double()) if longest**2 / x.shape[1] > LARGEST ** (1 / 3) else (x, y)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _row_means(a: Tensor, b: Tensor, own: bool = False) -> Tensor:
    """Mean kernel of each row of `a` with the rows of `b`, without itself when they are the same set. (N,) float64."""

    size = at_a_time(4 * len(b), BLOCK)  # four matrices at once, some in float64

    def block(start: int) -> Tensor:
        kernel = _kernel(a[start : start + size], b)
        total = kernel.sum(1, dtype=torch.float64)
        if own:
            total -= kernel.diagonal(start).double()
        return total / (len(b) - own)

    means = dist.collect(block(start) for start in dist.shard(range(0, len(a), size)))
    return torch.cat(list(means)).to(a.device)
