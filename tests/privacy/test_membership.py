"""Scores of membership: closed forms, and scipy's kernel densities as judges."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import gaussian_kde

from ganvas.errors import GanvasError
from ganvas.privacy import membership

X = torch.tensor([[0.0, 0.0], [3.0, 4.0], [10.0, 0.0]])
FAKE = torch.tensor([[0.0, 0.0], [0.0, 1.0], [3.0, 0.0]])


def test_closed_forms() -> None:
    assert membership.distance(X, FAKE).tolist() == [0, -4, -7]
    reference = torch.tensor([[3.0, 4.0], [10.0, 3.0]])
    assert membership.calibrated(X, FAKE, reference).tolist() == [5, -4, -4]
    assert membership.monte_carlo(X, FAKE, 1.0).tolist() == [pytest.approx(2 / 3), 0, 0]
    # The median distance to the nearest fake is 4.
    assert membership.monte_carlo(X, FAKE).tolist() == [1, pytest.approx(1 / 3), 0]


def whiten(rows: np.ndarray, around: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(np.cov(around.T))
    return (rows - around.mean(0)) @ vectors / np.sqrt(values)


def test_densities_are_those_of_scipy() -> None:
    """Up to a constant: scipy's kernels have the covariance of the samples, which is 1 on their principal components."""
    rng = np.random.default_rng(0)
    around, x = rng.normal(size=(200, 3)) * [1, 2, 3], rng.normal(size=(20, 3))
    ours = membership.density(x, around).numpy()
    theirs = gaussian_kde(whiten(around, around).T, "scott").logpdf(whiten(x, around).T)
    assert np.ptp(ours - theirs) < 1e-6
    fake = rng.normal(size=(300, 3)) + 0.5
    ratio = membership.domias(x, fake, around).numpy()
    width = 200 ** (-1 / 7)  # of the smaller set
    kernels = [
        np.log(
            np.exp(-0.5 * ((whiten(x, around)[:, None] - whiten(s, around)) ** 2).sum(2) / width**2).mean(1)
        )
        for s in (fake, around)
    ]
    assert np.abs(ratio - (kernels[0] - kernels[1])).max() < 1e-6


def test_the_order_of_samples_does_not_matter() -> None:
    """Folders are read class by class, and planted copies come last: none may be left out for where it stands."""
    random = torch.Generator().manual_seed(0)
    x, reference = (torch.randn(n, 4, generator=random) for n in (60, 50))
    fake = torch.randn(200, 4, generator=random)
    fake = fake[fake[:, 0].argsort()]
    found = membership.domias(x, fake, reference)
    assert (membership.domias(x, fake.flip(0), reference) - found).abs().max() < 1e-9
    assert (
        membership.domias(x, reference, fake.flip(0)) - membership.domias(x, reference, fake)
    ).abs().max() < 1e-6
    near = membership.domias(x, torch.cat([fake, x[:30]]), reference)
    assert bool((near[:30] - near[30:].mean() > found[:30] - found[30:].mean()).all())


def test_more_numbers_than_samples() -> None:
    """No more components than samples, and the densities on them; 30,000 numbers take no square of that."""
    rng = np.random.default_rng(0)
    around, x = rng.normal(size=(9, 40)), rng.normal(size=(5, 40))
    found = membership.density(x, around, 6).numpy()
    _, lengths, axes = np.linalg.svd(around - around.mean(0), full_matrices=False)
    a, b = ((rows - around.mean(0)) @ axes[:6].T / lengths[:6] * 8**0.5 for rows in (x, around))
    theirs = gaussian_kde(b.T, "scott").logpdf(a.T)
    assert np.ptp(found - theirs) < 1e-6
    assert torch.isfinite(membership.density(torch.rand(3, 30_000), torch.rand(10, 30_000))).all()


def test_samples_without_spread() -> None:
    with pytest.raises(GanvasError, match="same"):
        membership.density(X, torch.zeros(5, 2))


def test_points_far_from_zero() -> None:
    """Years around 2000: in float32 their squares have no digits left for distances of a tenth."""
    x, fake = (torch.randn(n, 3, generator=torch.Generator().manual_seed(n)) for n in (50, 2000))
    found = membership.monte_carlo(x, fake, 0.5)
    assert (membership.monte_carlo(x + 2048, fake + 2048, 0.5) - found).abs().max() < 0.002


def test_clusters_far_apart() -> None:
    far = torch.tensor([0.0, 2000.0]).repeat_interleave(500)[:, None]
    x, fake = (torch.randn(1000, 2, generator=torch.Generator().manual_seed(n)) + far for n in (1, 2))
    exact = membership.monte_carlo(x.double(), fake.double(), 0.05)
    assert (membership.monte_carlo(x, fake, 0.05) - exact).abs().max() < 0.0015


def test_densities_hold_no_second_copy_of_the_samples() -> None:
    """In float64 there were two of all of them: of 50,000 small pictures 2.5 GB."""
    code = (
        "import resource, torch; from ganvas.privacy import membership; torch.set_num_threads(1); "
        "fake, x, known = torch.rand(60_000, 512), torch.rand(5, 512), torch.rand(600, 512); "
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "membership.density(x, known); before = most(); "
        "membership.density(x, fake); membership.domias(x, fake, known); print((most() - before) >> 10)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 240  # they have 117 MB; it was 500
