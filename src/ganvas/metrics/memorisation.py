"""Copies of the training data: three tests that look at distances to the nearest training sample."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganvas import arrays
from ganvas.arrays import Array
from ganvas.errors import GanvasError
from ganvas.metrics.manifold import nearest_distances
from ganvas.metrics.modes import k_means
from ganvas.metrics.resample import pick, pulls, spread_of_groups

MOST_CLUSTERED = 2**17
"""Training samples that the cells of C_T are found among."""


class NearestTraining(NamedTuple):
    """For every fake its nearest training sample; all (N,), distances in float64."""

    distance: Tensor
    which: Tensor
    """Position of that sample among the training samples."""
    spacing: Tensor
    """Distance of that sample to its own nearest other training sample."""


def nearest_training(fake: Array, train: Array, spans: Tensor | None = None) -> NearestTraining:
    """Nearest training sample of every fake in feature space. (N, D) and (M, D), M at least 2.

    Give all training samples: a copy of one that is left out looks like a new sample. Windows of longer series have `spans`
    (M, 3), as a `Dataset` has them: the neighbours of one are those that share no step with it.
    """
    (x, y), unit = arrays.apart(*arrays.as_pair(fake, train, names=("fake", "train")))
    if len(y) < 2:
        raise GanvasError("Copies can be told from at least two training samples only.")
    distance, which = nearest_distances(x, y)
    # Only the samples that are somebody's nearest need their own spacing.
    met, place = which.unique(return_inverse=True)
    spacing = nearest_distances(y[met], y, own=met, spans=spans)[0][place]
    if not bool(spacing.isfinite().all()):
        raise GanvasError(
            "Training windows that overlap with all others have no neighbour to be held against."
        )
    return NearestTraining(distance.double() * unit, which, spacing.double() * unit)


def authenticity(fake: Array, train: Array, spans: Tensor | None = None) -> float:
    """Share of the fakes that are no copies (Alaa et al. 2022).

    A fake counts as a copy when it lies nearer to its nearest training sample than that sample lies to its own nearest
    training neighbour. 0 to 1: samples of the very distribution score near 0.5, copies less; what is far from all data more.
    """
    found = nearest_training(fake, train, spans)
    return float((found.distance > found.spacing).double().mean())


class CopyingTest(NamedTuple):
    """C_T and its standard error where nothing is copied: the score over the error is about normal(0, 1) there."""

    score: float
    error: float


def data_copying(
    fake: Array,
    train: Array,
    held_out: Array,
    *,
    cells: int = 3,
    dim: int | None = 64,
    least: int = 20,
    seed: int = 0,
) -> float:
    """The C_T score (Meehan et al. 2020): are fakes nearer to the training data than held-out data are?

    In every k-means cell of the training data, a Mann-Whitney z-score between the two sets of distances to the
    nearest training sample, averaged with the held-out shares of the cells. Below 0 the generator copies, above 0 it
    underfits; `copying_test` says by how many standard errors. `dim` reduces by PCA of the training data first; cells
    with fewer than `least` fakes or held-out samples are left out.
    """
    return copying_test(fake, train, held_out, cells=cells, dim=dim, least=least, seed=seed).score


def copying_test(
    fake: Array,
    train: Array,
    held_out: Array,
    *,
    cells: int = 3,
    dim: int | None = 64,
    least: int = 20,
    seed: int = 0,
    groups: tuple[Tensor | None, Tensor | None] = (None, None),
) -> CopyingTest:
    """`data_copying` with its error: a mean of independent z-scores with weights w has the deviation (sum w^2)^(1/2).

    1 with one cell, 0.58 with three of equal size. Samples share their training data, which makes the true one a little
    different (0.93 and 0.58 by simulation). Beyond three errors below 0 the generator copies. Of fakes and held-out samples in
    `groups`, the numbers of what is independent, as windows of one sequence are not, the error is by the spread of whole groups.
    Raises `GanvasError` for a single group.
    """
    x, y = arrays.as_pair(fake, train, names=("fake", "train"))
    z = arrays.as_pair(held_out, train, names=("held_out", "train"))[0].to(x)
    arrays.count(cells, "cells")
    arrays.count(least, "least")
    if dim is not None:
        arrays.count(dim, "dim")
    if cells >= len(y):
        raise GanvasError(f"cells must be from 1 to below the {len(y)} training samples, got {cells}.")
    (x, z, y), _ = arrays.apart(x, z, y)  # ranks of distances: the unit does not matter
    if dim is not None and dim < min(y.shape):
        mean = y.mean(0)
        basis = arrays.leading(y, dim, mean)[1].to(y.dtype)
        # Part by part: of the pixels of 200,000 pictures a second copy is 2.5 GB.
        x, y, z = (
            torch.cat([(part - mean) @ basis for part in rows.split(arrays.BLOCK)]) for rows in (x, y, z)
        )
    where_fake, where_held = _assign(y, (x, z), cells, seed)
    distance_fake, distance_held = (nearest_distances(rows, y)[0].cpu().numpy() for rows in (x, z))
    scores, weights = [], []
    pulled = np.zeros(len(x)), np.zeros(len(z))
    for cell in range(cells):
        rows = where_fake == cell, where_held == cell
        a, b = distance_fake[rows[0]], distance_held[rows[1]]
        if min(len(a), len(b)) < least:
            continue
        scores.append(mann_whitney_z(a, b))
        weights.append(float(len(b)))
        unit = (12 * len(a) * len(b) / (len(a) + len(b) + 1)) ** 0.5  # z-scores in a share of pairs
        for pull, of, each in zip(pulled, rows, pulls(a, b), strict=True):
            pull[of] = len(b) * unit * each
    if not weights:
        raise GanvasError(
            f"No cell holds {least} fakes and {least} held-out samples. Draw more samples, or ask for fewer cells."
        )
    shares = np.asarray(weights) / sum(weights)
    score, error = float(shares @ np.asarray(scores)), float(np.sqrt(np.square(shares).sum()))
    if any(group is not None for group in groups):
        variances = map(spread_of_groups, pulled, groups)
        error = float(np.sqrt(sum(variances)) / sum(weights))
    if not np.isfinite(error):
        raise GanvasError("C_T has no error for windows of a single sequence or stretch of time.")
    return CopyingTest(score, error)


def mann_whitney_z(first: np.ndarray, second: np.ndarray) -> float:
    """z-score of the rank sum test: negative when `first` tends to be smaller. Ties get their correction."""
    from scipy.stats import rankdata  # slow to import

    n, m = len(first), len(second)
    ranks = rankdata(np.concatenate([first, second]))
    u = ranks[:n].sum() - n * (n + 1) / 2
    ties = np.unique(ranks, return_counts=True)[1].astype(float)
    variance = n * m / 12 * (n + m + 1 - (ties**3 - ties).sum() / ((n + m) * (n + m - 1)))
    return float((u - n * m / 2) / np.sqrt(variance)) if variance > 0 else 0.0


def _assign(
    train: Tensor, parts: tuple[Tensor, Tensor], cells: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    if cells == 1:
        first, second = (np.zeros(len(rows), int) for rows in parts)
        return first, second
    if len(train) > MOST_CLUSTERED:  # the library copies what it is given
        train = train[pick(len(train), MOST_CLUSTERED, seed).to(train.device)]
    found = k_means(train, cells, seed, "cells")
    first, second = (found.predict(rows.cpu().numpy()) for rows in parts)
    return first, second
