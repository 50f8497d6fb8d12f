"""Which modes are hit and how evenly: known modes, points around known centres, and k-means bins of the data."""

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganvas import arrays
from ganvas.arrays import Array
from ganvas.errors import GanvasError, counted


class ModeCoverage(NamedTuple):
    """Modes with at least one sample, KL(samples || target) in nats, and the Jensen-Shannon divergence in nats."""

    modes: int
    reverse_kl: float
    jsd: float


class PointModes(NamedTuple):
    """Points around known centres."""

    high_quality: float
    """Share of the points within `sigmas` standard deviations of their nearest centre."""
    modes: int
    """Centres with at least one such point."""
    jsd: float
    """Between the histogram over centres and "nowhere", and the uniform one over centres; nats, 0 to log 2."""


class Bins(NamedTuple):
    """Statistically different bins."""

    ndb: float
    """Share of the bins whose proportions differ at the 5 % level, 0 to 1."""
    jsd: float
    """Between the two histograms, nats."""


def mode_coverage(modes: Array, num_modes: int, target: Array | None = None) -> ModeCoverage:
    """Modes hit and reverse KL for samples whose mode is known, as with Stacked MNIST (Metz et al. 2017).

    `modes` holds the mode of every sample (N,), whole numbers from 0 to num_modes - 1, as a classifier names them;
    `target` (num_modes,) is the true distribution, uniform by default. For Stacked MNIST the mode is
    100 a + 10 b + c of the three channels and num_modes is 1000.
    """
    found = arrays.as_whole(modes, "modes", arrays.count(num_modes, "num_modes"))
    return mode_coverage_of_counts(torch.bincount(found, minlength=num_modes), target)


def mode_coverage_of_counts(counts: Array, target: Array | None = None) -> ModeCoverage:
    """The same from the number of samples of each mode (K,)."""
    p = _shares(counts, "counts")
    num_modes = len(p)
    q = torch.full((num_modes,), 1 / num_modes, dtype=torch.float64)
    if target is not None:
        q = arrays.as_floats(target, "target").double().cpu()
        if q.shape != (num_modes,) or bool((q < 0).any()) or abs(float(q.sum()) - 1) > 1e-6:
            raise GanvasError(f"target must be a distribution over {num_modes} modes.")
    return ModeCoverage(int((p > 0).sum()), _kl(p, q), jensen_shannon(p, q))


def point_modes(points: Array, centres: Array, sigma: float, sigmas: float = 4.0) -> PointModes:
    """High-quality share, modes hit and mode-JSD of points (N, D) around centres (K, D) (Turner et al. 2019).

    A point farther than `sigmas` standard deviations from its nearest centre belongs to no mode, and counts so in the
    divergence.
    """
    pair = arrays.as_pair(points, centres, names=("points", "centres"))
    (x, c), unit = arrays.apart(*(rows.double() for rows in pair))
    reach = arrays.number(sigma, "sigma", above=0) / unit * arrays.number(sigmas, "sigmas", above=0)
    distances = torch.cdist(x, c, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.min(1)
    good = nearest.values <= reach
    count = len(c)
    where = torch.where(good, nearest.indices, count)
    p = torch.bincount(where.cpu(), minlength=count + 1).double() / len(x)
    q = torch.cat([torch.full((count,), 1 / count), torch.zeros(1)]).double()
    return PointModes(float(good.double().mean()), int((p[:count] > 0).sum()), jensen_shannon(p, q))


def bins(fake: Array, real: Array, *, count: int = 100, seed: int = 0) -> Bins:
    """Number of statistically different bins, as a share (Richardson and Weiss 2018), and the bins' JSD.

    k-means bins of the real features; a two-proportion z-test at 5 % in every bin. Equal distributions give about
    0.05; the share grows with the number of samples, so compare equal N only.
    """
    return bins_of_counts(*bin_counts(fake, real, count=count, seed=seed))


def bin_counts(fake: Array, real: Array, *, count: int = 100, seed: int = 0) -> tuple[Tensor, Tensor]:
    """How many fakes and how many real samples fall in each k-means bin of the real ones: (K,) and (K,)."""
    (x, y), _ = arrays.apart(*arrays.as_pair(fake, real))
    if not 2 <= arrays.count(count, "count") <= len(y):
        raise GanvasError(f"The number of bins must be from 2 to the {len(y)} real rows, got {count}.")
    found = k_means(y, count, seed, "bins")
    assigned = torch.from_numpy(found.predict(x.cpu().numpy()).astype(np.int64))
    own = torch.from_numpy(found.labels_.astype(np.int64))
    return torch.bincount(assigned, minlength=count), torch.bincount(own, minlength=count)


def k_means(rows: Tensor, count: int, seed: int, what: str) -> Any:
    """scikit-learn's k-means with one start. Raises `GanvasError` for fewer different rows than clusters."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            return KMeans(count, n_init=1, random_state=arrays.seed(seed)).fit(rows.cpu().numpy())
        except ConvergenceWarning as error:
            raise GanvasError(
                f"The real data have fewer than {count} different rows, too few for {count} {what}: ask for fewer {what}."
            ) from error


def bins_of_counts(fake: Array, real: Array) -> Bins:
    """The same from how many samples fall in each bin: (K,) and (K,)."""
    p, q = _shares(fake, "fake"), _shares(real, "real")
    if len(p) != len(q):
        raise GanvasError(f"fake has {counted(len(p), 'bin')} and real has {len(q)}.")
    n, m = (float(arrays.as_floats(counts, "counts").double().sum()) for counts in (fake, real))
    a, b = p * n, q * m
    pooled = (a + b) / (n + m)
    error = (pooled * (1 - pooled) * (1 / n + 1 / m)).sqrt()
    # A bin that holds everything, or nothing, of both sets has no error and no difference.
    z = torch.where(error > 0, (p - q).abs() / error, torch.zeros_like(p))
    return Bins(float((z > 1.959963984540054).double().mean()), jensen_shannon(p, q))


def _shares(counts: Array, name: str) -> Tensor:
    """Counts (K,) as shares. Raises `GanvasError` for negative ones and for none at all."""
    found = arrays.as_floats(counts, name).double().cpu()
    if (
        found.dim() != 1
        or len(found) == 0
        or bool((found < 0).any())
        or not 0 < float(found.sum()) < math.inf
    ):
        raise GanvasError(f"{name} must be numbers of samples (K,), none below 0 and not all 0.")
    return found / found.sum()


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """Jensen-Shannon divergence of two distributions, in nats: 0 to log 2."""
    middle = (p + q) / 2
    return min(math.log(2), max(0.0, (_kl(p, middle) + _kl(q, middle)) / 2))


def _kl(p: Tensor, q: Tensor) -> float:
    """KL(p || q); infinite where p has mass and q has none."""
    return float((torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum())
