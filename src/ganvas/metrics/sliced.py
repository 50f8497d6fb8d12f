"""Sliced Wasserstein distance: mean over random directions of exact one-dimensional distances."""

import numpy as np
import torch
from torch import Tensor

from ganvas.metrics.arrays import Array, as_pair

CHUNK = 64


def sliced_wasserstein(fake: Array, real: Array, *, projections: int = 1000, seed: int = 0) -> float:
    """Squared sliced 2-Wasserstein distance (Bonneel et al. 2015), mean over `projections` random directions.

    Features (N, D) and (M, D) of any sizes; 0 is equal, lower is better. A shift by v costs |v|^2 / D on average.
    """
    x, y = as_pair(fake, real)
    directions = torch.randn(projections, x.shape[1], generator=torch.Generator().manual_seed(seed))
    directions = torch.nn.functional.normalize(directions, dim=1).to(x)
    total = 0.0
    for part in directions.split(CHUNK):
        a, b = (x @ part.T).sort(0).values.double(), (y @ part.T).sort(0).values.double()
        total += float(_transport(a, b).sum())
    return total / projections


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
