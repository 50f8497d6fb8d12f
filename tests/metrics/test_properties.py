"""Every public function of `ganvas.metrics` on arrays as people have them: the right value, or a `GanvasError`."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from ganvas import metrics
from ganvas.errors import GanvasError

RNG = np.random.default_rng
FAKE, REAL, HELD = (RNG(seed).integers(-40, 40, (90, 4)).astype(np.float64) for seed in range(3))
CENTRES = np.array([[10.0, 10, 10, 10], [-10, -10, -10, -10]])
Function = Callable[[Any, Any], Any]

DISTANCES: dict[str, Function] = {
    "precision_recall": metrics.precision_recall,
    "density_coverage": metrics.density_coverage,
    "authenticity": metrics.authenticity,
    "data_copying": lambda x, y: metrics.data_copying(x, y, metrics_held(y), cells=1, least=5),
    "bins": lambda x, y: metrics.bins(x, y, count=5),
    "nearest": lambda x, y: metrics.nearest_training(x, y).which.double().mean(),
}
"""Of ratios and ranks of distances: neither an offset nor a factor changes them."""
SQUARES: dict[str, Function] = {
    "frechet": metrics.frechet,
    "sliced_wasserstein": lambda x, y: metrics.sliced_wasserstein(x, y, projections=20),
}
"""A factor changes them by its square."""
OTHERS: dict[str, Function] = {
    "kid": lambda x, y: metrics.kid(x, y, subsets=3, subset_size=40),
    "kid_exact": metrics.kid_exact,
    "point_modes": lambda x, y: metrics.point_modes(x, y, 10.0),
}
ALL = {**DISTANCES, **SQUARES, **OTHERS}
CLOTHES: dict[str, Callable[[np.ndarray], Any]] = {
    "float16": lambda x: x.astype(np.float16),
    "big-endian": lambda x: x.astype(">f4"),
    "int16": lambda x: x.astype(np.int16),
    "int64": lambda x: x.astype(np.int64),
    "negative strides": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "list": lambda x: x.tolist(),
    "bfloat16": lambda x: torch.from_numpy(x).bfloat16(),
    "gradient": lambda x: torch.from_numpy(x).float().requires_grad_(True),
    "read-only": lambda x: np.broadcast_to(x, x.shape),
}


def metrics_held(real: Any) -> Any:
    """Held-out rows where the real ones lie: every other one of them."""
    rows = real.detach().double().numpy() if isinstance(real, torch.Tensor) else np.asarray(real)
    return rows[::-2]


def numbers(found: Any) -> np.ndarray:
    parts: Iterator[Any] = iter(found) if isinstance(found, tuple) else iter([found])
    return np.array([float(part) for part in parts])


@pytest.mark.parametrize("clothes", CLOTHES)
@pytest.mark.parametrize("name", ALL)
def test_the_value_does_not_depend_on_the_type(name: str, clothes: str) -> None:
    expected = numbers(ALL[name](FAKE, REAL))
    found = numbers(ALL[name](CLOTHES[clothes](FAKE), CLOTHES[clothes](REAL)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", {**DISTANCES, **SQUARES})
@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_an_offset_changes_nothing(name: str, kind: type) -> None:
    """Whole numbers that float32 cannot tell apart: 2^40 and more made all of them one."""
    function = ALL[name]
    moved = numbers(function((FAKE + 2**40).astype(kind), (REAL + 2**40).astype(kind)))
    np.testing.assert_allclose(moved, numbers(function(FAKE, REAL)), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", {**DISTANCES, **SQUARES})
@given(power=st.integers(-140, 140), kind=st.sampled_from([np.float32, np.float64]))
@settings(max_examples=12, deadline=None)
def test_a_factor_changes_what_it_should(name: str, power: int, kind: type) -> None:
    power = max(-30, min(30, power)) if kind is np.float32 else power
    factor = 10.0**power
    x, y = ((rows * factor).astype(kind) for rows in (FAKE, REAL))
    expected = numbers(ALL[name](FAKE, REAL)) * (factor**2 if name in SQUARES else 1)
    np.testing.assert_allclose(
        numbers(ALL[name](x, y)), expected, rtol=1e-3, atol=1e-6 * (expected.max() or 1)
    )


def test_the_kernel_of_large_features_is_that_of_exact_numbers() -> None:
    """(a . b / D + 1)^3 of 1e10 is 1e60: float32 gave NaN. Against Python's whole numbers, which have no end."""
    x, y = (rows.astype(int) * 10**9 for rows in (FAKE[:8], REAL[:9]))

    def k(a: np.ndarray, b: np.ndarray) -> int:
        return (sum(int(p) * int(q) for p, q in zip(a, b, strict=True)) // 4 + 1) ** 3

    def within(z: np.ndarray) -> float:
        pairs = [k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]
        return sum(pairs) / len(pairs)

    expected = within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / 72
    assert metrics.kid_exact(x.astype(np.float32), y.astype(np.float32)).mean == pytest.approx(
        expected, rel=1e-6
    )
    with pytest.raises(GanvasError, match="beyond a float's range"):
        metrics.kid_exact(FAKE * 1e150, REAL)


@given(
    arrays_of.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.complex128]),
        st.one_of(st.just((9, 3)), arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9)),
    ),
    st.sampled_from([np.zeros((9, 3)), np.ones((1, 3)), RNG(7).normal(size=(9, 3)), np.zeros((9, 0))]),
    st.sampled_from(sorted(ALL)),
    st.booleans(),
)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_anything_gives_a_finite_value_or_says_why_not(
    values: np.ndarray, other: np.ndarray, name: str, swapped: bool
) -> None:
    first, second = (other, values) if swapped else (values, other)
    function = (
        ALL[name] if name != "data_copying" else lambda x, y: metrics.data_copying(x, y, x, cells=2, least=2)
    )
    try:
        found = function(first, second)
    except GanvasError:
        return  # anything else is an error from inside
    assert all(math.isfinite(number) for number in numbers(found))


COUNTS: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    *((metrics.kid, {"subsets": value}) for value in (0, 10**9, 2.5, -1)),
    *((metrics.kid, {"subset_size": value}) for value in (1, 10**9)),
    (metrics.kid, {"subsets": 2, "subset_size": 20, "seed": -1}),
    *((metrics.sliced_wasserstein, {"projections": value}) for value in (0, 10**12)),
    (metrics.sliced_wasserstein, {"seed": 2**40}),
    *((metrics.precision_recall, {"k": value}) for value in (0, 10**9)),
    *((metrics.density_coverage, {"k": value}) for value in (-1, 1.5)),
    *((metrics.bins, {"count": value}) for value in (1, 91, math.nan)),
]


@pytest.mark.parametrize(("function", "options"), COUNTS)
def test_counts_that_are_none(function: Callable[..., Any], options: dict[str, Any]) -> None:
    with pytest.raises(GanvasError):
        function(FAKE, REAL, **options)


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.inception_score(np.full((20, 4), 0.25), splits=0),
        lambda: metrics.inception_score(np.full((20, 4), 0.25), splits=21),
        lambda: metrics.inception_score(np.full((20, 4), np.nan)),
        lambda: metrics.inception_score(np.full((20, 4), 0.3)),
        lambda: metrics.mode_coverage(np.zeros(5, int), 0),
        lambda: metrics.mode_coverage(np.zeros(5, int), 10**12),
        lambda: metrics.mode_coverage(np.zeros(5, int), 2, target=np.array([np.nan, 1])),
        lambda: metrics.mode_coverage(np.zeros(5, int), 2, target=np.array([1.5, -0.5])),
        lambda: metrics.mode_coverage(np.zeros(5), 2),
        lambda: metrics.mode_coverage(np.array([0, 2]), 2),
        lambda: metrics.mode_coverage(np.zeros(0, int), 2),
        lambda: metrics.point_modes(FAKE, CENTRES, float("nan")),
        lambda: metrics.point_modes(FAKE, CENTRES, 0.0),
        lambda: metrics.point_modes(FAKE, CENTRES, 1.0, sigmas=-1.0),
        lambda: metrics.point_modes(FAKE, np.zeros((0, 4)), 1.0),
        lambda: metrics.modes.bins_of_counts(np.zeros(3), np.ones(3)),
        lambda: metrics.modes.bins_of_counts(np.ones(3), np.ones(4)),
        lambda: metrics.modes.mode_coverage_of_counts(np.array([-1, 3])),
        lambda: metrics.data_copying(FAKE, REAL, HELD, cells=0),
        lambda: metrics.data_copying(FAKE, REAL, HELD, least=0),
        lambda: metrics.data_copying(FAKE, REAL, HELD, dim=0),
        lambda: metrics.data_copying(FAKE, REAL, HELD[:, :2]),
        lambda: metrics.data_copying(FAKE, np.ones((50, 4)), HELD),
        lambda: metrics.bins(FAKE, np.ones((50, 4)), count=5),
        lambda: metrics.kid(FAKE, REAL),
        lambda: metrics.path_length(None, n=0),  # type: ignore[arg-type]
        lambda: metrics.path_length(None, batch=0),  # type: ignore[arg-type]
        lambda: metrics.path_length(None, epsilon=float("nan")),  # type: ignore[arg-type]
        lambda: metrics.path_length(None, at="middle"),  # type: ignore[arg-type]
    ],
)
def test_what_has_no_value_is_said(call: Callable[[], object]) -> None:
    with pytest.raises(GanvasError):
        call()


def test_constant_sets_have_their_values() -> None:
    """Nothing varies: no distance, every sample on a copy, closed balls hold their centre and open ones nothing."""
    same = np.full((30, 3), 7)
    assert metrics.frechet(same, same) == 0
    assert metrics.sliced_wasserstein(same, same) == 0
    assert metrics.kid_exact(same, same).mean == 0
    assert metrics.precision_recall(same, same) == (1, 1)
    assert metrics.density_coverage(same, same) == (0, 0)
    assert metrics.authenticity(same, same) == 0


def test_all_public_functions_are_tried_here() -> None:
    """A new function of arrays belongs into the tables above."""
    functions = {name for name in metrics.__all__ if callable(getattr(metrics, name)) and name.islower()}
    elsewhere = {"compare", "embed_reference", "evaluate", "registry"}
    here = {*ALL, "inception_score", "mode_coverage", "path_length", "nearest_training"} - {"nearest"}
    assert functions - elsewhere == here
