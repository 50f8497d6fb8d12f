"""Sliced Wasserstein distance: mean over random directions of exact one-dimensional distances."""

import numpy as np
import torch
from torch import Tensor

from ganvas import arrays, dist
from ganvas.arrays import Array

CHUNK = 64
NUMBERS = 2**23
"""Steps of both sets along all directions that are looked at together: sets of a million take gigabytes."""
MOST_PROJECTIONS = 1_000_000


def sliced_wasserstein(fake: Array, real: Array, *, projections: int = 1000, seed: int = 0) -> float:
    """Squared sliced 2-Wasserstein distance (Bonneel et al. 2015), mean over `projections` random directions.

    Features (N, D) and (M, D) of any sizes; 0 is equal, lower is better. A shift by v costs |v|^2 / D on average.
    """
    (x, y), unit = arrays.apart(*arrays.as_pair(fake, real))
    arrays.count(projections, "projections", most=MOST_PROJECTIONS)
    random = torch.Generator().manual_seed(arrays.seed(seed))
    drawn = (
        torch.randn(min(CHUNK, projections - start), x.shape[1], generator=random)
        for start in range(0, projections, CHUNK)
    )

    size = max(1, NUMBERS // (len(x) + len(y)))

    def costs(part: Tensor) -> float:
        found = 0.0
        for some in torch.nn.functional.normalize(part, dim=1).to(x).split(size):
            a, b = (rows @ some.T for rows in (x, y))
            a, b = (each.sort(0).values.double() for each in (a, b))
            found += float(_transport(a, b).sum())
        return found

    total = sum(dist.collect(costs(part) for part in dist.shard(drawn)))
    return arrays.finite(total / projections * unit * unit, "sliced Wasserstein distance")


def _transport(a: Tensor, b: Tensor) -> Tensor:
    """Squared W2 of sorted columns (N, P) and (M, P): both quantile functions are constant between the joint steps."""
    n, m = len(a), len(b)
    if n == m:
        return (a - b).square().mean(0)
    steps = np.unique(
        np.concatenate([np.arange(1, n + 1) * m, np.arange(1, m + 1) * n])
    )  # in units of 1 / (n m)
    widths = torch.from_numpy(np.diff(steps, prepend=0) / (n * m)).to(a)
    last = torch.from_numpy(steps - 1).to(a.device)
    return ((a[last // m] - b[last // n]).square() * widths[:, None]).sum(0)
