"""The densities against numerical integrals, known entropies and known statistics."""

import math

import pytest
import torch

from ganvas.data import load_dataset
from ganvas.data.toy import Mixture, SwissRoll, distribution, grid25_centres, ring8_centres

NAMES = ["toy:grid25", "toy:ring8", "toy:swissroll"]


def test_centres_are_the_published_ones() -> None:
    assert sorted({float(x) for x in grid25_centres().flatten()}) == [-4, -2, 0, 2, 4]
    assert len(grid25_centres().unique(dim=0)) == 25
    torch.testing.assert_close(ring8_centres().norm(dim=1), torch.ones(8))
    assert len(ring8_centres().round(decimals=4).unique(dim=0)) == 8


@pytest.mark.parametrize(("name", "sigma", "modes"), [("toy:grid25", 0.05, 25), ("toy:ring8", 0.01, 8)])
def test_mixture_entropy_is_the_closed_form(name: str, sigma: float, modes: int) -> None:
    """Far apart, a mixture's entropy is log K plus that of one Gaussian, log(2 pi e sigma^2)."""
    data = load_dataset(name)
    assert data.log_density is not None
    points, labels = data.take(torch.arange(20_000))
    expected = math.log(modes) + math.log(2 * math.pi * math.e * sigma**2)
    assert -data.log_density(points).mean().item() == pytest.approx(expected, abs=0.03)
    assert labels is not None
    assert labels.bincount().min() > 20_000 / modes * 0.8


@pytest.mark.parametrize(
    "exact", [Mixture(grid25_centres(), 0.3), Mixture(ring8_centres(), 0.2), SwissRoll(0.1)], ids=NAMES
)
def test_density_integrates_to_one(exact: Mixture | SwissRoll) -> None:
    """On a fine grid; the noise is widened so that the grid resolves it, the formula is the same."""
    axis = torch.linspace(-6, 6, 241)
    points = torch.cartesian_prod(axis, axis)
    log_density = exact(points, nodes=500) if isinstance(exact, SwissRoll) else exact(points)
    assert (log_density.exp().sum() * (12 / 240) ** 2).item() == pytest.approx(1.0, abs=1e-3)


def test_swissroll_integral_has_converged() -> None:
    exact = SwissRoll()
    points, _ = exact.draw(200, torch.Generator().manual_seed(1))
    torch.testing.assert_close(exact(points), exact(points, nodes=40_000), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_same_points_every_time(name: str) -> None:
    first, second = load_dataset(name), load_dataset(name)
    assert torch.equal(first.items, second.items)  # type: ignore[arg-type]
    assert first.fingerprint == second.fingerprint
    assert first.shape == (2,)
    assert type(distribution(name)) is type(first.log_density)
