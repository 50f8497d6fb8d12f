import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.metrics import density_coverage, manifold, precision_recall
from ganvas.metrics.manifold import _joined, nearest_distances, nearest_squares, neighbourhood
from tools import peers

RNG = np.random.default_rng


@pytest.fixture(params=[7, 64, 10_000])
def _block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer must be the same whatever the block size."""
    monkeypatch.setattr(manifold, "BLOCK", request.param)


def test_distances_to_a_million_rows_are_taken_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,024 rows against a million took 6 GB."""
    x, y = torch.randn(40, 33), torch.randn(200, 33)
    whole, own = nearest_distances(x, y), nearest_squares(y, 2)
    seen: list[int] = []
    squares = manifold._squares
    monkeypatch.setattr(manifold, "MOST", 2000)
    monkeypatch.setattr(manifold, "_squares", lambda a, *b: seen.append(a.shape[0]) or squares(a, *b))
    torch.testing.assert_close(nearest_distances(x, y), whole)
    torch.testing.assert_close(nearest_squares(y, 2), own)
    assert set(seen) == {10}


@pytest.mark.usefixtures("_block")
@pytest.mark.parametrize("k", [3, 5])
def test_agrees_with_prdc(k: int, capsys: pytest.CaptureFixture[str]) -> None:
    real, fake = RNG(0).normal(size=(150, 6)), RNG(1).normal(0.3, 0.9, size=(120, 6))
    theirs = peers.prdc()(real_features=real, fake_features=fake, nearest_k=k)
    capsys.readouterr()
    assert density_coverage(fake, real, k) == pytest.approx(
        (theirs["density"], theirs["coverage"]), abs=1e-12
    )
    # Without ties a closed and an open ball hold the same points.
    assert precision_recall(fake, real, k) == pytest.approx(
        (theirs["precision"], theirs["recall"]), abs=1e-12
    )


def test_agrees_with_torch_fidelity() -> None:
    real, fake = RNG(2).normal(size=(200, 8)), RNG(3).normal(0.4, 1.2, size=(150, 8))
    theirs = peers.torch_fidelity("prc").prc_features_to_metric(
        torch.from_numpy(fake), torch.from_numpy(real), verbose=False
    )
    assert precision_recall(fake, real) == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-7)


@pytest.mark.slow
def test_published_values_of_a_normal_distribution() -> None:
    """N(0, I_1000), 10,000 rows each, k = 5 (the example of prdc's authors), up to the chance of another draw.

    In 1000 dimensions a few real rows are neighbours of very many: the density of one draw spreads by 0.06.
    """
    x, y = (torch.randn(10_000, 1000, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    found = neighbourhood(x, y, 5, 5)
    assert float(found.near_real.double().mean()) == pytest.approx(0.4772, abs=0.03)
    assert float(found.near_fake.double().mean()) == pytest.approx(0.4705, abs=0.03)
    assert float(found.balls.mean()) == pytest.approx(1.0555, abs=0.18)
    assert float(found.covered.double().mean()) == pytest.approx(0.9735, abs=0.02)


def test_expected_values_of_equal_distributions() -> None:
    """E[density] = 1; E[coverage] = 1 - prod_{i<k} (M-1-i) / (N+M-1-i), by counting which set the neighbours are of."""
    n, m, k = 300, 200, 5
    draws = [
        density_coverage(RNG(2 * s).normal(size=(n, 2)), RNG(2 * s + 1).normal(size=(m, 2)), k)
        for s in range(40)
    ]
    expected = 1 - np.prod([(m - 1 - i) / (n + m - 1 - i) for i in range(k)])
    for values, wanted in (
        (np.array([d.density for d in draws]), 1),
        (np.array([d.coverage for d in draws]), expected),
    ):
        assert abs(values.mean() - wanted) < 4 * values.std() / np.sqrt(len(draws))


@pytest.mark.usefixtures("_block")
@given(st.integers(0, 999), st.integers(6, 40), st.integers(6, 40), st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_blocks_equal_the_whole_matrix(seed: int, n: int, m: int, k: int) -> None:
    x, y = (
        torch.from_numpy(RNG(seed).normal(size=(n, 3))),
        torch.from_numpy(RNG(seed + 1).normal(size=(m, 3))),
    )
    squares = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
    expected = squares.fill_diagonal_(torch.inf).sort(1).values[:, :k]
    torch.testing.assert_close(nearest_squares(x, k), expected, rtol=1e-9, atol=1e-12)
    full = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    distance, index = nearest_distances(x, y)
    torch.testing.assert_close(distance, full.min(1).values, rtol=1e-9, atol=1e-7)
    assert torch.equal(index, full.min(1).indices)


def test_realism_is_above_one_inside() -> None:
    real = np.concatenate([RNG(4).normal(size=(100, 2)), [[0.0, 0.0]]])
    found = neighbourhood(np.array([[0.0, 0.001], [50.0, 50.0], *RNG(5).normal(size=(10, 2))]), real)
    assert found.realism[0] > 1 > found.realism[1]
    assert torch.equal(found.realism >= 1, found.near_real)


def test_constant_features_and_far_sets() -> None:
    same = np.ones((20, 3))
    assert precision_recall(same, same) == (1, 1), "closed balls of radius 0 hold their centre"
    assert density_coverage(same, same) == (0, 0), "open ones hold nothing"
    far = RNG(6).normal(size=(20, 3))
    assert precision_recall(far + 1000, far) == (0, 0)


@pytest.mark.parametrize(
    ("n", "k", "message"), [(3, 3, "need more rows"), (1, 3, "need more rows"), (10, 0, "must be at least 1")]
)
def test_bad_input(n: int, k: int, message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        precision_recall(np.zeros((n, 2)), np.zeros((10, 2)), k)


def test_no_second_copy_of_many_rows_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the pixels of 200,000 pictures it was 2.5 GB."""
    x, y = torch.randn(40, 3) + 5, torch.randn(3000, 3) + 5
    whole, balls = nearest_distances(x, y), neighbourhood(x, y[:50])
    seen: list[int] = []
    squares = manifold._squares
    monkeypatch.setattr(manifold, "HELD", 100)
    monkeypatch.setattr(manifold, "_squares", lambda a, b, *c: seen.append(b.shape[0]) or squares(a, b, *c))
    torch.testing.assert_close(nearest_distances(x, y), whole)
    assert seen == [1024, 1024, 952]
    for one, other in zip(vars(neighbourhood(x, y[:50])).values(), vars(balls).values(), strict=True):
        torch.testing.assert_close(one, other)


def test_neighbours_of_few_columns_are_told_however_far_apart_the_sets_lie() -> None:
    """In float32 squares of two clusters 1,000 apart had no digits left for neighbours: density and coverage were 0.15."""
    random = torch.Generator().manual_seed(0)
    far = torch.tensor([0.0, 1000.0]).repeat_interleave(600)[:, None]
    x, y = (torch.randn(1200, 2, generator=random) + far for _ in range(2))
    found, true = neighbourhood(x, y), neighbourhood(x.double(), y.double())
    for one, other in zip(vars(found).values(), vars(true).values(), strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=1e-4, atol=1e-6)
    assert nearest_distances(x, y)[1].equal(nearest_distances(x.double(), y.double())[1])
    assert nearest_distances(x, y)[0].dtype == torch.float32


def test_what_each_block_gives_is_let_go() -> None:
    """Kept until the last one they left holes where the distances were: 6.2 GB for a million rows, on some days."""
    known = list[weakref.ref[Tensor]]()

    def blocks() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, 50, 10):
            assert not any(each() is not None for each in known[:-2])
            block = torch.arange(start, start + 10), torch.full((10,), float(start))
            known.extend(map(weakref.ref, block))
            yield block
            del block

    first, second = _joined(blocks(), torch.zeros(50, 3))
    assert first.tolist() == list(range(50))
    assert second.tolist() == [float(i // 10 * 10) for i in range(50)]
    assert second.dtype == torch.float32
