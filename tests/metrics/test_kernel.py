import sys

import numpy as np
import pytest
import torch

from ganvas.errors import GanvasError
from ganvas.metrics import inception_score, kernel, kid, kid_exact, manifold, sliced_wasserstein
from tools import peers

RNG = np.random.default_rng
sliced = sys.modules["ganvas.metrics.sliced"]


def test_subsets_agree_with_torch_fidelity() -> None:
    x, y = RNG(0).normal(size=(600, 32)), RNG(1).normal(0.2, 1.1, size=(500, 32))
    theirs = peers.torch_fidelity("kid").kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=20, kid_subset_size=100, verbose=False
    )
    found = kid(x, y, subsets=20, subset_size=100)
    assert found.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    assert found.std == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-9)


def test_exact_is_the_double_sum() -> None:
    x, y = RNG(2).normal(size=(40, 5)), RNG(3).normal(0.5, size=(30, 5))
    k = lambda a, b: (a @ b / 5 + 1) ** 3  # noqa: E731
    within_x = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    within_y = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    assert kid_exact(x, y).mean == pytest.approx(within_x + within_y - 2 * across, rel=1e-10)


def test_unbiased_on_equal_distributions() -> None:
    """The mean over many draws is 0 within three standard errors, and some draws fall below 0."""
    draws = [
        kid_exact(RNG(2 * s).normal(size=(60, 8)), RNG(2 * s + 1).normal(size=(50, 8))).mean
        for s in range(200)
    ]
    assert abs(np.mean(draws)) < 3 * np.std(draws) / np.sqrt(len(draws))
    assert min(draws) < 0


def test_the_error_of_the_exact_value_is_its_spread() -> None:
    found = [
        kid_exact(RNG(s).normal(size=(300, 4)), RNG(1000 + s).normal(0.7, 1, size=(300, 4)))
        for s in range(60)
    ]
    assert np.mean([f.std for f in found]) == pytest.approx(np.std([f.mean for f in found]), rel=0.35)


def test_a_shift_of_the_mean_has_a_closed_form() -> None:
    """Constant rows: k = (ab / 1 + 1)^3 with a = 0 and b = 1: 1 + 8 - 2 = 7."""
    assert kid_exact(np.zeros((5, 1)), np.ones((6, 1))).mean == pytest.approx(7)
    assert kid(np.zeros((5, 1)), np.ones((6, 1)), subsets=3, subset_size=4) == pytest.approx((7, 0))


def test_too_few_rows() -> None:
    with pytest.raises(GanvasError, match="kid_exact"):
        kid(np.zeros((10, 2)), np.zeros((2000, 2)))


def test_inception_score_agrees_with_torch_fidelity() -> None:
    logits = torch.randn(1003, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    theirs = peers.torch_fidelity("isc").isc_features_to_metric(logits)
    found = inception_score(logits.softmax(1))
    assert found.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    assert found.std == pytest.approx(theirs["inception_score_std"], rel=1e-9)


def test_inception_score_closed_forms() -> None:
    sure = np.eye(5)[np.arange(100) % 5]
    assert inception_score(sure, splits=1).mean == pytest.approx(5)
    assert inception_score(np.full((100, 5), 0.2)).mean == pytest.approx(1)
    half = np.concatenate([np.tile([1.0, 0, 0], (50, 1)), np.tile([0, 1.0, 0], (50, 1))])
    assert inception_score(half, splits=1).mean == pytest.approx(2)
    with pytest.raises(GanvasError, match="softmax"):
        inception_score(np.ones((20, 3)))


def test_many_rows_are_met_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against 200,000 rows 2,048 at a time took 5 GB."""
    x, y = RNG(0).normal(size=(300, 4)), RNG(1).normal(size=(500, 4))
    whole, sizes, of_all = kid_exact(x, y), list[int](), kernel._kernel

    def watched(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        sizes.append(len(a) * len(b))
        return of_all(a, b)

    monkeypatch.setattr(kernel, "_kernel", watched)
    monkeypatch.setattr(manifold, "MOST", 40_000)
    assert kid_exact(x, y) == pytest.approx(whole)
    assert max(sizes) <= 10_000


def test_sliced_distances_of_many_rows_are_taken_along_a_few_directions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a million rows and fewer others they took 5 GB."""
    x, y = RNG(0).normal(size=(300, 4)), RNG(1).normal(size=(200, 4))
    whole, seen, transport = sliced_wasserstein(x, y, projections=100), list[int](), sliced._transport
    monkeypatch.setattr(sliced, "NUMBERS", 10 * 500)
    monkeypatch.setattr(sliced, "_transport", lambda a, b: seen.append(a.shape[1]) or transport(a, b))
    assert sliced_wasserstein(x, y, projections=100) == pytest.approx(whole, rel=1e-9)
    assert max(seen) == 10
