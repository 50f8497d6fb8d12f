"""A wide classifier of series that is fitted in a moment: thousands of random convolutions, then a ridge.

Random convolutions are the features of Dempster et al. (2020, ROCKET), which with a linear classifier are among the best for
series; here they see differences of first and second order as well, in which grain shows that a level hides (Tan et al. 2022,
MultiRocket). Nothing is trained by descent, so a thousand permuted labels cost little more than one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ganvas.processes import Floats, Wholes
from ganvas.series import deviations

KERNELS = 400
SIZES = (3, 5, 9)
"""Steps that a kernel looks at."""
RIDGES = 10.0 ** np.arange(-4, 4)
"""Penalties to choose from, in units of the mean variance of a feature."""
MOST_VALUES = 512
"""Values of a series that are features themselves, evenly taken from more."""
ROWS = 512
"""Series that are convolved at a time."""


class Convolved:
    """Random convolutions of series, with what they are standardised by: that of the series given first."""

    def __init__(self, series: Floats, lengths: Wholes, seed: int, kernels: int = KERNELS) -> None:
        random = np.random.default_rng(seed)
        self.scales = [_mean_and_spread(each, alive) for each, alive in _orders(series, lengths)]
        steps, columns = series.shape[1:]
        self.kernels: list[_Kernels] = []
        for order in range(len(self.scales)):
            sizes = [size for size in SIZES if size <= steps - order] or [1]
            for size in sizes:
                most = max(0.0, math.log2((steps - order) / size))
                for dilation in np.unique(2 ** np.arange(int(most) + 1)):
                    self.kernels.append(_Kernels(order, size, int(dilation), columns))
        each = max(1, kernels // len(self.kernels))
        for group in self.kernels:
            group.draw(each, random)
        self.places = np.unique(np.linspace(0, steps * columns - 1, MOST_VALUES).astype(int))

    def __call__(self, series: Floats, lengths: Wholes) -> Floats:
        """Series (N, T, D) and the steps of each (N,) -> features (N, F)."""
        found = []
        for start in range(0, len(series), ROWS):
            part, ends = series[start : start + ROWS], lengths[start : start + ROWS]
            found.append(self._features(part, ends))
        return np.concatenate(found)

    def _features(self, series: Floats, lengths: Wholes) -> Floats:
        orders = [
            ((x - mean) / spread * alive[:, :, None], alive)
            for (x, alive), (mean, spread) in zip(_orders(series, lengths), self.scales, strict=True)
        ]
        values = orders[0][0].reshape(len(series), -1)[:, self.places]
        size = np.log(lengths / series.shape[1])[:, None]
        return np.concatenate([values, size, *(each(*orders[each.order]) for each in self.kernels)], 1)


class _Kernels:
    """Random convolutions of one size and dilation: share of positive steps, and the largest step, of each."""

    def __init__(self, order: int, size: int, dilation: int, columns: int) -> None:
        self.order, self.size, self.dilation, self.columns = order, size, dilation, columns
        self.weight = self.bias = torch.empty(0)

    def draw(self, count: int, random: np.random.Generator) -> None:
        weight = random.standard_normal((count, self.columns, self.size))
        # Few columns at a time, in a random number: what holds between two of them drowns among many.
        among = 2 ** random.uniform(0, math.log2(self.columns) + 1e-9, count)
        rank = random.random((count, self.columns)).argsort(1).argsort(1)
        weight *= (rank < np.maximum(1, np.floor(among))[:, None])[:, :, None]
        weight /= np.linalg.norm(weight, axis=(1, 2), keepdims=True)
        self.weight = torch.from_numpy(weight).float()
        self.bias = torch.from_numpy(random.uniform(-1, 1, count)).float()

    def __call__(self, x: Floats, alive: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
        given = torch.from_numpy(x).float().transpose(1, 2)
        seen = F.conv1d(given, self.weight, self.bias, padding="same", dilation=self.dilation)
        there = torch.from_numpy(alive)[:, None]
        share = ((seen > 0) & there).sum(2) / there.sum(2).clamp(min=1)
        largest = seen.masked_fill(~there, -math.inf).amax(2)
        largest = torch.where(torch.isfinite(largest), largest, 0.0)
        return torch.cat([share, largest], 1).double().numpy()


def _orders(series: Floats, lengths: Wholes) -> Iterator[tuple[Floats, np.ndarray[Any, np.dtype[np.bool_]]]]:
    """The series and its differences of first and second order, as far as there are steps, with the steps that count."""
    steps = np.arange(series.shape[1])
    for order in range(min(3, series.shape[1])):
        alive = steps[: len(steps) - order] < (lengths - order)[:, None]
        yield np.diff(series, order, axis=1), alive


def _mean_and_spread(x: Floats, alive: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[Floats, Floats]:
    rows = x[alive]
    if not len(rows):
        return np.zeros(x.shape[2]), np.ones(x.shape[2])
    spread = deviations(rows)
    return rows.mean(0), np.where(spread > 0, spread, 1.0)


@dataclass(frozen=True)
class Ridge:
    """Least squares with a penalty, for many targets at once; each has the penalty of least leave-one-out error."""

    weight: Floats
    centre: Floats
    spread: Floats
    offset: Floats

    @staticmethod
    def fit(features: Floats, targets: Floats) -> "Ridge":
        """Features (N, F) and targets (N, P)."""
        centre, spread = features.mean(0), features.std(0)
        spread = np.where(
            spread > 1e-9 * (1 + np.abs(centre)), spread, np.inf
        )  # what is constant says nothing
        x = (features - centre) / spread
        offset = targets.mean(0)
        y = targets - offset
        wide = x.shape[1] > len(x)
        # The singular vectors of x, by the smaller of x x^T and x^T x.
        values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
        kept = values > 1e-10 * values[-1]
        values, vectors = values[kept], vectors[:, kept]
        left = vectors if wide else x @ vectors / np.sqrt(values)
        told = left.T @ y
        best, shrunk = np.full(y.shape[1], np.inf), np.zeros(told.shape)
        for ridge in RIDGES * len(x):
            share = values / (values + ridge)
            leverage = np.minimum(left**2 @ share + 1 / len(x), 1 - 1e-9)
            error = (((y - left @ (share[:, None] * told)) / (1 - leverage)[:, None]) ** 2).mean(0)
            better = error < best
            best[better] = error[better]
            shrunk[:, better] = told[:, better] * (np.sqrt(values) / (values + ridge))[:, None]
        right = x.T @ vectors / np.sqrt(values) if wide else vectors
        return Ridge(right @ shrunk, centre, spread, offset)

    def __call__(self, features: Floats) -> Floats:
        """(M, F) -> (M, P)."""
        return np.asarray((features - self.centre) / self.spread @ self.weight + self.offset)
