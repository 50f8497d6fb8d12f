"""Means and covariances that grow batch by batch, in float64."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ganvas import dist
from ganvas.lazy import lazy

Matrix = NDArray[np.float64]
CHUNK = 4096
MAX_DIM = 4096
"""Features beyond which a covariance is not kept: its memory grows with the square."""


@dataclass(frozen=True)
class Moments:
    """Mean (D,) and unbiased covariance (D, D) of `n` rows."""

    n: int
    mean: Matrix
    cov: Matrix

    @lazy
    def root(self) -> Matrix | None:
        """Lower Cholesky factor of the covariance; None when it is singular. Computed once: a reference is met often."""
        if self.n <= len(self.mean):
            return None
        try:
            root = np.asarray(np.linalg.cholesky(self.cov), np.float64)
        except np.linalg.LinAlgError:  # constant or dependent features
            return None
        return root


class RunningMoments:
    """Collects rows and forgets them. Merging is exact (Chan et al. 1979), so blocks may be combined later."""

    def __init__(self, dim: int) -> None:
        self.n = 0
        self.mean = np.zeros(dim)
        self.scatter = np.zeros((dim, dim))
        """Sum of outer products of the deviations from the mean."""

    def update(self, rows: np.ndarray) -> None:
        """Add rows (B, D)."""
        if len(rows) == 0:
            return
        values = rows.astype(np.float64)
        mean = values.mean(0)
        values -= mean
        # NumPy sees that this is a matrix times its own transpose and computes one half only.
        self._add(len(values), mean, values.T @ values)

    def _add(self, n: int, mean: Matrix, scatter: Matrix) -> None:
        total = self.n + n
        shift = mean - self.mean
        self.scatter += scatter
        if self.n:
            self.scatter += np.outer(shift, shift) * (self.n * n / total)
        self.mean = self.mean + shift * (n / total)
        self.n = total

    def whole(self) -> "RunningMoments":
        """With the rows of all processes that share the work (`dist.together`), on each of them."""
        if not dist.spread():
            return self
        found = RunningMoments(len(self.mean))
        found.n = int(_total(np.asarray(self.n)))
        found.mean = _total(self.n * self.mean) / max(1, found.n)
        shift = self.mean - found.mean
        found.scatter = _total(self.scatter + self.n * np.outer(shift, shift))
        return found

    def finish(self) -> Moments:
        """What was collected; needs two rows at least."""
        return Moments(self.n, self.mean, self.scatter / (self.n - 1))

    @staticmethod
    def merge(parts: Iterable["RunningMoments"]) -> Moments:
        """The moments of all parts together."""
        filled = [part for part in parts if part.n]
        merged = RunningMoments(len(filled[0].mean))
        for part in filled:
            merged._add(part.n, part.mean, part.scatter)
        return merged.finish()


def _total(values: np.ndarray) -> np.ndarray:
    """The sum over all processes."""
    return dist.total(torch.from_numpy(values)).numpy()


def moments(rows: np.ndarray) -> Moments:
    """Of all rows (N, D), without a float64 copy of them all."""
    running = RunningMoments(rows.shape[1])
    for start in dist.shard(range(0, len(rows), CHUNK)):
        running.update(rows[start : start + CHUNK])
    return running.whole().finish()
