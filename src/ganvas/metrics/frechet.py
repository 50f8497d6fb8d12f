"""Frechet distance of two Gaussians fitted to features. Called FID only when the features are Inception-2015's."""

import numpy as np
import scipy.linalg

from ganvas import arrays
from ganvas.arrays import Array
from ganvas.features.stats import CHUNK, Matrix, Moments, moments


def frechet(fake: Array, real: Array) -> float:
    """Squared Frechet distance |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (Dowson and Landau 1982; Heusel et al. 2017).

    Features (N, D) and (M, D), at least two rows each; covariances are unbiased; 0 is equal, lower is better. The
    estimate is too high by about b / N, so compare equal N only. Fewer rows than columns are fine: the trace is then
    a nuclear norm of the samples themselves, and no square root of a singular matrix is taken.
    Raises `GanvasError` for NaN, a single row, or different numbers of columns.
    """
    sets, unit = arrays.apart(*arrays.as_pair(fake, real, least=2))
    x, y = (rows.cpu().numpy() for rows in sets)
    if min(len(x), len(y)) > x.shape[1]:
        found = frechet_of_moments(moments(x), moments(y))
    else:
        first, second = (rows.mean(0, dtype=np.float64) for rows in (x, y))
        found = _distance(first, second, _sample_factor(x), _sample_factor(y))
    return arrays.finite(found * unit * unit, "Frechet distance")


def frechet_of_moments(fake: Moments, real: Moments) -> float:
    """The same from means and covariances, as they are kept for a reference.

    With S1 = L L^T the matrix L^T S2 L is symmetric and has the eigenvalues of S1 S2, so the trace needs neither a
    matrix square root nor complex numbers.
    """
    if real.root is None and fake.root is None:
        return _distance(fake.mean, real.mean, _factor(fake), _factor(real))
    known, other = (real, fake) if real.root is not None else (fake, real)
    root = known.root
    assert root is not None
    inner, _ = scipy.linalg.lapack.dsygst(other.cov, root, itype=2, lower=1)  # its lower half
    eigenvalues = scipy.linalg.eigh(
        inner, lower=True, eigvals_only=True, overwrite_a=True, check_finite=False, driver="ev"
    )
    shared = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    distance = np.square(fake.mean - real.mean).sum() + np.trace(fake.cov) + np.trace(real.cov) - 2 * shared
    return max(0.0, float(distance))


def frechet_of_few(fake: np.ndarray, real: np.ndarray, known: Moments) -> float:
    """The same of no more fakes than columns, to a reference with its moments: of many rows these take the place of the rows."""
    factor = _factor(known) if len(real) > real.shape[1] else _sample_factor(real)
    return _distance(fake.mean(0, dtype=np.float64), known.mean, _sample_factor(fake), factor)


def _distance(mean_fake: Matrix, mean_real: Matrix, fake: Matrix, real: Matrix) -> float:
    """From factors A with covariance A^T A: tr (S1 S2)^(1/2) is the sum of the singular values of A1 A2^T."""
    shared = scipy.linalg.svdvals(fake @ real.T).sum()
    spread = np.square(fake).sum() + np.square(real).sum()
    return max(0.0, float(np.square(mean_fake - mean_real).sum() + spread - 2 * shared))


def _sample_factor(rows: np.ndarray) -> Matrix:
    """(min(N, D), D) with A^T A = the covariance of the rows."""
    mean, step = rows.mean(0, dtype=np.float64), max(CHUNK, rows.shape[1])
    factor = np.empty((0, rows.shape[1]))
    for start in range(0, len(rows), step):  # of all rows in float64 there would be two copies
        part = rows[start : start + step].astype(np.float64)
        part -= mean
        factor = np.concatenate([factor, part])
        if len(factor) > rows.shape[1]:
            factor = np.asarray(np.linalg.qr(factor, mode="r"))
    return np.asarray(factor / np.sqrt(len(rows) - 1))


def _factor(given: Moments) -> Matrix:
    if given.root is not None:
        return given.root.T
    values, vectors = np.linalg.eigh(given.cov)
    factor: Matrix = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    return factor
