import math

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from ganvas.data.toy import distribution, grid25_centres
from ganvas.errors import GanvasError
from ganvas.metrics import bins, mode_coverage, point_modes, sliced_wasserstein
from ganvas.metrics.modes import bins_of_counts, jensen_shannon

RNG = np.random.default_rng


def test_mode_coverage_closed_forms() -> None:
    even = torch.arange(1000) % 10
    assert mode_coverage(even, 10) == pytest.approx((10, 0, 0), abs=1e-12)
    one = torch.zeros(50, dtype=torch.long)
    assert mode_coverage(one, 10).modes == 1
    assert mode_coverage(one, 10).reverse_kl == pytest.approx(math.log(10))
    half = torch.arange(100) % 500  # 100 of 1000 modes of a Stacked MNIST
    assert mode_coverage(half, 1000) == pytest.approx((100, math.log(10), jsd_of_share(0.1)))
    assert mode_coverage(one, 2, np.array([0.5, 0.5])).reverse_kl == pytest.approx(math.log(2))
    for bad in (
        torch.tensor([10]),
        torch.tensor([-1]),
        torch.tensor([0.5]),
        torch.tensor([], dtype=torch.long),
    ):
        with pytest.raises(GanvasError, match="modes must"):
            mode_coverage(bad, 10)


def jsd_of_share(share: float) -> float:
    """Uniform on a share of the modes against uniform on all: the two KLs to their middle, written out."""
    inside = (1 + share) / 2  # middle over p, where p has mass: (p + q) / 2 = p (1 + share) / 2
    to_middle = -math.log(inside)
    q_to_middle = share * math.log(2 * share / (1 + share)) + (1 - share) * math.log(2)
    return (to_middle + q_to_middle) / 2


def test_point_modes() -> None:
    centres, sigma = grid25_centres(), 0.05
    draws = distribution("toy:grid25").draw(20_000, torch.Generator().manual_seed(0))[0]
    found = point_modes(draws, centres, sigma)
    # Beyond 4 sigma in two dimensions: exp(-8) of the mass.
    assert found.high_quality == pytest.approx(1 - math.exp(-8), abs=6e-4)
    assert found.modes == 25
    assert found.jsd < 0.001
    lost = draws[draws[:, 0] > -3]  # a column of five modes is gone
    assert point_modes(lost, centres, sigma).modes == 20
    assert point_modes(lost, centres, sigma).jsd == pytest.approx(jsd_of_share(0.8), abs=0.002)
    nowhere = point_modes(torch.full((10, 2), 100.0), centres, sigma)
    assert nowhere == pytest.approx((0, 0, math.log(2)))


def test_bins_known_answers() -> None:
    """z = (0.5 - 0.4) / sqrt(0.45 * 0.55 * (1/1000 + 1/1000)) = 4.49: both bins differ. With 100 samples, 1.42: none."""
    assert bins_of_counts(torch.tensor([500, 500]), torch.tensor([400, 600])).ndb == 1
    assert bins_of_counts(torch.tensor([50, 50]), torch.tensor([40, 60])).ndb == 0
    assert bins_of_counts(torch.tensor([50, 50, 0]), torch.tensor([500, 500, 0])) == pytest.approx((0, 0))
    p, q = torch.tensor([0.5, 0.5]).double(), torch.tensor([0.4, 0.6]).double()
    assert bins_of_counts(torch.tensor([500, 500]), torch.tensor([400, 600])).jsd == pytest.approx(
        jensen_shannon(p, q)
    )


def test_bins_of_equal_and_of_collapsed_samples() -> None:
    real = RNG(0).normal(size=(4000, 4))
    assert bins(RNG(1).normal(size=(4000, 4)), real, count=50).ndb < 0.2
    collapsed = bins(RNG(2).normal(0, 0.1, size=(4000, 4)), real, count=50)
    assert collapsed.ndb > 0.9
    assert 0.4 < collapsed.jsd <= math.log(2)
    with pytest.raises(GanvasError, match="number of bins"):
        bins(real, real, count=1)


@pytest.mark.parametrize("dim", [1, 3, 50])
def test_sliced_wasserstein_of_a_shift(dim: int) -> None:
    """E (theta . v)^2 = |v|^2 / D: a shift by mu in every coordinate costs mu^2."""
    x = RNG(3).normal(size=(200, dim))
    found = sliced_wasserstein(x + 0.5, x, projections=4000)
    assert found == pytest.approx(0.25, rel=0.08)


def test_sliced_wasserstein_of_different_sizes() -> None:
    x, y = RNG(4).normal(size=(30, 1)), RNG(5).normal(1, 2, size=(45, 1))
    # One dimension: every direction is the same. W2 over the joint quantiles, on a common refinement of both.
    fine = lambda v: np.repeat(np.sort(v[:, 0]), 90 // len(v))  # noqa: E731
    expected = np.square(fine(x) - fine(y)).mean()
    assert sliced_wasserstein(x, y, projections=5) == pytest.approx(expected, rel=1e-9)
    assert np.abs(fine(x) - fine(y)).mean() == pytest.approx(wasserstein_distance(x[:, 0], y[:, 0])), (
        "the refinement"
    )
