import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganvas.errors import GanvasError
from ganvas.features.stats import Moments, RunningMoments, moments
from ganvas.metrics import frechet
from ganvas.metrics.frechet import frechet_of_moments
from tools import peers

RNG = np.random.default_rng


def correlated(n: int, dim: int, seed: int) -> np.ndarray:
    rng = RNG(seed)
    return rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim)) * 0.3 + rng.normal(size=dim)


def test_equal_covariances_leave_the_means() -> None:
    eye = np.eye(2048)
    zero, one = Moments(10_000, np.zeros(2048), eye), Moments(10_000, np.ones(2048), eye)
    assert frechet_of_moments(zero, one) == pytest.approx(2048, rel=1e-12)
    x = correlated(500, 20, 0)
    assert frechet(x, x + 1) == pytest.approx(20, rel=1e-9)
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=8), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_commuting_covariances(spreads: list[float], seed: int) -> None:
    """Diagonal in one basis: the sum of squared differences of the standard deviations."""
    first = np.array(spreads)
    second = first[::-1] * 2
    basis = np.linalg.qr(RNG(seed).normal(size=(len(first), len(first))))[0]
    a, b = (Moments(1000, np.zeros(len(first)), basis @ np.diag(s**2) @ basis.T) for s in (first, second))
    assert frechet_of_moments(a, b) == pytest.approx(np.square(first - second).sum(), rel=1e-8, abs=1e-9)


@pytest.mark.parametrize(("n", "m", "dim"), [(400, 300, 16), (300, 200, 64), (50, 300, 64), (40, 30, 64)])
def test_agrees_with_pytorch_fid_and_torch_fidelity(n: int, m: int, dim: int) -> None:
    x, y = correlated(n, dim, 1), correlated(m, dim, 2) + 0.5
    fid = peers.torch_fidelity("fid")
    theirs = fid.fid_statistics_to_metric(
        *(fid.fid_features_to_statistics(torch.from_numpy(rows)) for rows in (x, y)), False
    )["frechet_inception_distance"]
    assert frechet(x, y) == pytest.approx(theirs, rel=1e-6)
    # Fewer rows than columns make their matrix square root of a singular product inexact.
    assert frechet(x, y) == pytest.approx(peers.pytorch_fid()(x, y), rel=1e-6 if min(n, m) > dim else 1e-3)
    assert frechet(y, x) == pytest.approx(frechet(x, y), rel=1e-9)


def test_float32_features_lose_nothing() -> None:
    x, y = (correlated(500, 32, seed).astype(np.float32) for seed in (3, 4))
    assert frechet(x, torch.from_numpy(y)) == pytest.approx(
        frechet(x.astype(float), y.astype(float)), rel=1e-9
    )


def test_few_rows_equal_the_singular_closed_form() -> None:
    """One varying direction each, at an angle: covariances a uu' and b vv' give a + b - 2 sqrt(ab) |u'v|."""
    u, v = np.eye(50)[0], np.eye(50)[0] * 0.6 + np.eye(50)[1] * 0.8
    x, y = np.outer([-1, 1, 0], u), np.outer([-2.0, 2, 0], v)
    assert frechet(x, y) == pytest.approx(1 + 4 - 2 * 2 * 0.6, rel=1e-12)


def test_constant_features() -> None:
    x = correlated(200, 8, 5)
    x[:, 3] = 1.5
    assert frechet(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet(np.ones((5, 4)), np.zeros((5, 4))) == pytest.approx(4)
    y = correlated(300, 8, 6)
    y[:, 3] = 0.5
    without = [0, 1, 2, 4, 5, 6, 7]
    assert frechet(x, y) == pytest.approx(frechet(x[:, without], y[:, without]) + 1, rel=1e-6)


@pytest.mark.parametrize(
    ("fake", "real", "message"),
    [
        (np.zeros((1, 3)), np.zeros((5, 3)), "at least 2"),
        (np.zeros((5, 3)), np.zeros((5, 4)), "3 columns and real has 4"),
        (np.full((5, 3), np.nan), np.zeros((5, 3)), "5 of 5 rows of fake hold NaN"),
        (np.zeros((5, 3, 2)), np.zeros((5, 3)), "expected features"),
    ],
)
def test_bad_input(fake: np.ndarray, real: np.ndarray, message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        frechet(fake, real)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_moments_in_parts_are_moments_of_the_whole(sizes: list[int], seed: int) -> None:
    rows = RNG(seed).normal(1e4, 1, size=(sum(sizes) + 2, 5)).astype(np.float32)
    parts = np.split(rows, np.cumsum(sizes))
    running = RunningMoments(5)
    blocks = []
    for part in parts:
        running.update(part)
        block = RunningMoments(5)
        block.update(part)
        blocks.append(block)
    for found in (running.finish(), RunningMoments.merge(blocks), moments(rows)):
        np.testing.assert_allclose(found.mean, rows.mean(0, dtype=float), rtol=1e-12)
        np.testing.assert_allclose(found.cov, np.cov(rows.astype(float), rowvar=False), rtol=1e-6, atol=1e-9)
        assert found.n == len(rows)


@pytest.mark.parametrize("n", [5, 12, 13, 100])
def test_factors_of_many_rows_are_found_part_by_part(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 60,000 rows of 2,048 two float64 copies took 2.5 GB."""
    module = sys.modules["ganvas.metrics.frechet"]
    rows, seen, qr = correlated(n, 12, 0).astype(np.float32), list[int](), np.linalg.qr
    monkeypatch.setattr(module, "CHUNK", 20)
    monkeypatch.setattr(np.linalg, "qr", lambda each, mode: seen.append(len(each)) or qr(each, mode))
    factor = module._sample_factor(rows)
    np.testing.assert_allclose(factor.T @ factor, np.cov(rows.astype(float), rowvar=False), atol=1e-10)
    assert factor.shape == (min(n, 12), 12)
    assert max(seen, default=0) <= 32
