import numpy as np
import pytest
import scipy.signal
import torch
from scipy.stats import mannwhitneyu, norm

from ganvas import arrays
from ganvas.errors import GanvasError
from ganvas.metrics import authenticity, data_copying, memorisation, nearest_training
from ganvas.metrics.memorisation import copying_test, mann_whitney_z

RNG = np.random.default_rng


def test_authenticity_of_copies_of_fresh_samples_and_of_far_ones() -> None:
    train = RNG(0).normal(size=(500, 5))
    assert authenticity(train + 1e-6, train) == 0
    assert authenticity(train + 100, train) == 1
    assert 0.4 < authenticity(RNG(1).normal(size=(500, 5)), train) < 0.75


def test_authenticity_by_hand() -> None:
    train = np.array([[0.0], [1.0], [10.0]])  # nearest others: 1, 1 and 9
    assert authenticity(np.array([[0.4], [2.5], [18.0], [20.0]]), train) == pytest.approx(0.5)


def test_nearest_training() -> None:
    found = nearest_training(np.array([[0.4], [7.0]]), np.array([[0.0], [1.0], [10.0]]))
    assert found.which.tolist() == [0, 2]
    assert found.distance.tolist() == pytest.approx([0.4, 3])
    assert found.spacing.tolist() == pytest.approx([1, 9])


@pytest.mark.parametrize("ties", [False, True])
def test_rank_test_agrees_with_scipy(ties: bool) -> None:
    a, b = RNG(2).normal(size=80), RNG(3).normal(0.3, size=60)
    if ties:
        a, b = a.round(1), b.round(1)
    theirs = mannwhitneyu(a, b, alternative="less", method="asymptotic", use_continuity=False)
    assert norm.cdf(mann_whitney_z(a, b)) == pytest.approx(theirs.pvalue, rel=1e-9)


def test_data_copying_tells_copies_from_fresh_and_from_poor_samples() -> None:
    rng = RNG(4)
    train, held_out, fresh = (rng.normal(size=(n, 8)) for n in (1500, 500, 500))
    assert abs(data_copying(fresh, train, held_out, dim=None)) < 3.5
    assert data_copying(train[:500] + 0.02 * rng.normal(size=(500, 8)), train, held_out) < -10
    assert data_copying(fresh * 2, train, held_out) > 5


@pytest.mark.parametrize(("cells", "expected"), [(1, 0.93), (3, 0.58), (10, 0.36)])
def test_the_error_of_data_copying_is_its_deviation_without_copying(cells: int, expected: float) -> None:
    """`expected` is the deviation over many draws of three equal sets."""
    scores, errors = [], []
    for seed in range(80):
        rng = RNG(100 + seed)
        found = copying_test(
            rng.normal(size=(300, 3)),
            rng.normal(size=(400, 3)),
            rng.normal(size=(300, 3)),
            cells=cells,
            least=10,
        )
        scores.append(found.score)
        errors.append(found.error)
    assert abs(np.mean(scores)) < 4 * np.std(scores) / np.sqrt(len(scores))
    assert np.std(scores) == pytest.approx(expected, rel=0.25)
    assert np.mean(errors) == pytest.approx(expected, rel=0.15)


def test_three_equal_cells_have_the_error_of_a_mean_of_three() -> None:
    centres = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]])
    fake, train, held_out = (np.repeat(centres, 60, 0) + RNG(seed).normal(size=(180, 2)) for seed in range(3))
    assert copying_test(fake, train, held_out).error == pytest.approx(3**-0.5)


def test_bad_input() -> None:
    with pytest.raises(GanvasError, match="No cell holds"):
        data_copying(np.zeros((5, 2)), RNG(5).normal(size=(50, 2)), np.zeros((5, 2)))
    with pytest.raises(GanvasError, match="at least two training"):
        authenticity(np.zeros((5, 2)), np.zeros((1, 2)))


def test_the_axes_of_many_rows_are_found_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the pixels of 200,000 pictures a second copy was 2.5 GB."""
    x, y, z = (torch.randn(n, 8, generator=torch.Generator().manual_seed(n)) + 3 for n in (200, 300, 100))
    whole = copying_test(x, y, z, dim=3, least=5)
    monkeypatch.setattr(arrays, "BLOCK", 64)
    assert copying_test(x, y, z, dim=3, least=5) == pytest.approx(whole)
    values, vectors = arrays.leading(y, 3, y.mean(0))
    off = (y - y.mean(0)).double()
    torch.testing.assert_close(off.T @ off @ vectors, vectors * values, atol=1e-3, rtol=1e-5)


def test_copying_of_windows_has_the_error_of_their_sequences() -> None:
    """Taken for independent, 57 of 100 models that copy nothing were beyond three errors."""
    found = []
    for seed in range(30):
        parts = []
        for part, rows in enumerate((1000, 1500, 400)):
            noise = RNG(3 * seed + part).standard_normal((rows, 2))
            series = torch.from_numpy(scipy.signal.lfilter([0.4], [1, -0.9], noise, axis=0)).float()
            parts.append(series.unfold(0, 24, 1).flatten(1))
        owners = [torch.arange(len(each)) // 48 for each in parts]
        found.append(copying_test(*parts, groups=(owners[0], owners[2])))
    scores, errors = np.array(found).T
    assert np.mean(np.abs(scores) > 3 * errors) < 0.1
    assert np.mean(np.abs(scores) > 3 * 3**-0.5) > 0.3, "or the groups change nothing"
    with pytest.raises(GanvasError, match="single sequence"):
        copying_test(*parts, groups=(None, torch.zeros(len(parts[2]))))


def test_cells_of_many_are_found_among_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library copies what it is given: of 1.9 million rows it took a gigabyte. The distances are to all of them still."""
    rng = RNG(0)
    train, held_out = rng.normal(size=(3000, 4)), rng.normal(size=(300, 4))
    copies = train[:300] + 1e-3 * rng.normal(size=(300, 4))
    whole = copying_test(copies, train, held_out)
    monkeypatch.setattr(memorisation, "MOST_CLUSTERED", 500)
    part = copying_test(copies, train, held_out)
    assert part.score == pytest.approx(whole.score, abs=whole.error)
    assert part.score < -10
